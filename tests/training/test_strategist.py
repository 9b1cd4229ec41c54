"""The leader among strategies: what it learns from forks, switches and failures."""

import numpy as np
import pytest

from mulligan.errors import MulliganError
from mulligan.training.progress import Evaluation
from mulligan.training.strategist import BEHIND, CERTAINTY, FAILED, FORKS, PLAIN, STRATEGIES, Strategist, due


def look(kid, blur=0.01):
    return Evaluation(kid, kid - blur, kid + blur, diversity=1.0, nimg=1000, average="ema", sequence=1)


def test_the_prior_is_played_before_anything_is_known():
    total = sum(arm.prior for arm in STRATEGIES.values())
    for mode in ("fork", "switch"):
        weights = Strategist.make(mode).weights()
        np.testing.assert_allclose(
            [weights[name] for name in STRATEGIES], [a.prior / total for a in STRATEGIES.values()], atol=1e-4
        )
        assert Strategist.make(mode).leader() == PLAIN


def test_forks_lead_to_the_strategy_that_does_best_again_and_again():
    strategist = Strategist.make("fork")
    for _ in range(4):
        strategist, _ = strategist.compared({name: look(0.05 if name == "gamma x 5" else 0.1) for name in STRATEGIES})
    assert strategist.leader() == "gamma x 5"
    assert strategist.weights()["gamma x 5"] > 0.8


def test_a_lead_must_outweigh_the_prior():
    """The recipe's own numbers have twice the weight: a KID lower by a factor of 2^(1 / eta) makes up for it."""
    for factor, leader in ((0.97, PLAIN), (1.03, "gamma / 5")):
        strategist = Strategist.make("fork")
        strategist = strategist.begun([PLAIN, "gamma / 5"])
        ahead = 0.1 / 2 ** (factor / CERTAINTY)
        strategist, _ = strategist.compared({PLAIN: look(0.1, 1e-6), "gamma / 5": look(ahead, 1e-6)})
        assert strategist.leader() == leader


def test_each_fork_is_a_game_of_its_own_among_those_that_take_part():
    strategist = Strategist.make("fork", prior=[("rates x 3", 0.0)])
    strategist = strategist.begun([PLAIN, "rates / 3", "rates x 3"])
    assert strategist.awake() == [PLAIN, "rates / 3"]
    strategist, _ = strategist.compared({PLAIN: look(0.4), "rates / 3": look(0.1)})
    assert strategist.leader() == "rates / 3"
    strategist = strategist.begun([PLAIN, "gamma / 5"])
    assert strategist.awake() == [PLAIN, "gamma / 5"]
    weights = strategist.weights()
    assert weights[PLAIN] == pytest.approx(2 / 3)
    assert weights["gamma / 5"] == pytest.approx(1 / 3)
    assert weights["rates / 3"] == 0


def test_rates_that_were_raised_have_no_privilege():
    strategist = Strategist.make("fork")
    strategist = strategist.begun([PLAIN, "rates / 3"], raised=True)
    assert strategist.weights()[PLAIN] == pytest.approx(0.5)
    strategist, _ = strategist.compared({PLAIN: look(0.1, 1e-6), "rates / 3": look(0.0999, 1e-6)})
    assert strategist.leader() == "rates / 3"


def test_who_is_left_behind_in_a_fork_gives_up():
    strategist = Strategist.make("fork").begun([PLAIN, "gamma x 5", "gamma / 5"])
    names = strategist.awake()
    strategist, _ = strategist.compared({PLAIN: look(0.1), "gamma x 5": look(0.11), "gamma / 5": look(0.2)})
    weights = strategist.weights()
    assert strategist.survivors(names) == [PLAIN, "gamma x 5"]
    assert weights["gamma / 5"] < BEHIND * weights[PLAIN] < weights["gamma x 5"]
    strategist, _ = strategist.compared({PLAIN: look(0.1), "gamma x 5": look(0.05)})
    assert strategist.leader() == "gamma x 5"


def test_only_ratios_of_kid_count():
    one, other = Strategist.make("fork"), Strategist.make("fork")
    kids = dict(zip(STRATEGIES, np.linspace(0.1, 0.2, len(STRATEGIES)), strict=True))
    one, _ = one.compared({name: look(kid, 0.01) for name, kid in kids.items()})
    other, _ = other.compared({name: look(10 * kid, 0.1) for name, kid in kids.items()})
    np.testing.assert_allclose(list(one.weights().values()), list(other.weights().values()), rtol=1e-4)


def test_a_failed_continuation_is_worse_than_the_worst():
    strategist = Strategist.make("fork")
    looks = {name: look(0.1) for name in STRATEGIES} | {"rates x 3": None, "gamma / 5": look(0.4)}
    _, losses = strategist.compared(looks)
    assert losses["rates x 3"] == pytest.approx(losses["gamma / 5"] + FAILED)


def test_kids_of_zero_and_below_are_compared_too():
    _, losses = Strategist.make("fork").compared({PLAIN: look(-0.002), "gamma x 5": look(0.0), "gamma / 5": look(0.02)})
    assert losses[PLAIN] == losses["gamma x 5"] < losses["gamma / 5"]


def test_a_switch_learns_of_the_strategy_that_was_played_alone():
    strategist = Strategist.make("switch")
    before = strategist.weights()
    strategist, loss = strategist.judged("rates x 3", look(0.1), look(0.3))
    after = strategist.weights()
    assert 0.5 < loss <= 1
    assert after["rates x 3"] < before["rates x 3"]
    assert all(after[name] > before[name] for name in STRATEGIES if name != "rates x 3")
    assert strategist.judged(PLAIN, look(0.1), look(0.1))[1] == pytest.approx(0.5)


def test_switches_come_to_prefer_what_helps():
    strategist = Strategist.make("switch")
    for turn in range(300):
        name = strategist.drawn(0, turn)
        strategist, _ = strategist.judged(name, look(0.1), look(0.07 if name == "disc rate / 3" else 0.12))
    assert strategist.leader() == "disc rate / 3"


def test_draws_are_those_of_the_seed_and_follow_the_weights():
    strategist = Strategist.make("switch")
    names = [strategist.drawn(3, turn) for turn in range(400)]
    assert names == [strategist.drawn(3, turn) for turn in range(400)]
    assert names != [strategist.drawn(4, turn) for turn in range(400)]
    assert names.count(PLAIN) / 400 == pytest.approx(strategist.weights()[PLAIN], abs=0.08)


def test_what_failed_is_not_played_again_but_one_strategy_stays():
    strategist = Strategist.make("fork", prior=[("gamma / 5", 0.0)])
    assert "gamma / 5" not in strategist.names
    for name in list(strategist.names):
        strategist = strategist.without(name)
    assert strategist.awake() == [strategist.names[-1]]
    assert strategist.weights()[strategist.names[-1]] == pytest.approx(1.0)


def test_none_has_nothing_to_choose_from_and_nothing_to_keep():
    strategist = Strategist.make("none")
    assert strategist.state == ()
    assert strategist.awake() == []


@pytest.mark.parametrize(
    ("mode", "prior", "words"),
    [
        ("forks", [], "choose none, fork, switch"),
        ("fork", [("rates", 1.0)], "name one of"),
        ("fork", [("rates x 3", -1.0)], "0 or more"),
        ("fork", [(name, 0.0) for name in STRATEGIES], "weight 0"),
    ],
)
def test_what_cannot_be_meant_is_said(mode, prior, words):
    with pytest.raises(MulliganError, match=words):
        Strategist.make(mode, prior)


def test_forks_come_at_their_times():
    assert due(0, 0, 1e6) == FORKS[0]
    assert due(1, int(FORKS[1].at * 1e6) - 1, 1e6) is None
    assert due(1, int(FORKS[1].at * 1e6), 1e6) == FORKS[1]
    assert due(len(FORKS), 10**6, 1e6) is None
    assert due(0, 100, 0.0) is None


def test_forks_cost_a_small_share_of_the_run():
    dearest = sum(sum(fork.rungs) * (len(fork.names) - 1) for fork in FORKS)
    assert dearest <= 0.15
    assert all(PLAIN in fork.names and set(fork.names) <= set(STRATEGIES) for fork in FORKS)
