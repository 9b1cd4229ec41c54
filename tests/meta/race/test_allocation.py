"""Who gets the next slice of a race, and who wins it."""

import numpy as np
import pytest

from mulligan.meta.race.allocation import ALLOCATIONS, ArmStatus, ftrl, halving, single, uniform

ENDS = np.log([0.05, 0.02, 0.1, 0.3])  # what each arm comes to
NOBODY = [ArmStatus(0, float("inf"), alive=False)] * 3


def played(allocation, ends, predict=None, slices=32):
    """Slices of each arm, the winner and the moves of a race in which arms come to `ends`."""
    predict = predict or (lambda arm, given: ends[arm] + 2.0 * 0.7**given)
    given = [0] * len(ends)
    state, moves = allocation.init(), []
    for _ in range(slices + 1):
        statuses = [ArmStatus(given[arm], predict(arm, given[arm])) for arm in range(len(ends))]
        state, move = allocation.decide(state, statuses)
        moves.append(move)
        if move.won:
            return given, move.arms[0], moves
        for arm in move.arms:
            given[arm] += 1
    raise AssertionError("the race does not end")


@pytest.mark.parametrize("name", ALLOCATIONS)
class TestEvery:
    """What holds for every allocation."""

    def test_spends_no_more_than_there_is(self, name):
        given, _, _ = played(ALLOCATIONS[name]([0.25] * 4, 32), ENDS)
        assert sum(given) <= 32

    def test_weights_sum_to_one(self, name):
        _, _, moves = played(ALLOCATIONS[name]([0.4, 0.3, 0.2, 0.1], 32), ENDS)
        for move in moves:
            assert sum(move.weights) == pytest.approx(1)
            assert min(move.weights) >= 0

    def test_one_arm_wins(self, name):
        given, winner, _ = played(ALLOCATIONS[name]([1.0], 8), [-1.0], slices=8)
        assert winner == 0
        assert given[0] <= 1

    def test_ends_where_nobody_can_go_on(self, name):
        allocation = ALLOCATIONS[name]([0.2, 0.5, 0.3], 8)
        _, move = allocation.decide(allocation.init(), NOBODY)
        assert move.won

    def test_is_the_same_for_the_same_standings(self, name):
        def again():
            return played(ALLOCATIONS[name]([0.4, 0.3, 0.2, 0.1], 32), ENDS)

        assert again() == again()


@pytest.mark.parametrize("lanes", [2, 3, 8])
@pytest.mark.parametrize("allocation", [ftrl, halving, uniform])
def test_a_round_gives_slices_to_different_arms_and_keeps_the_total(allocation, lanes):
    given, winner, moves = played(allocation([0.25] * 4, 48, lanes), ENDS, slices=48)
    assert winner == 1
    assert sum(given) <= 48
    for move in moves[:-1]:
        assert 0 < len(move.arms) <= min(lanes, 4)
        assert len(set(move.arms)) == len(move.arms)
    assert any(len(move.arms) == min(lanes, 4) for move in moves)


def test_rounds_of_two_take_as_many_moves_as_single_slices():
    one, two = (played(ftrl([0.25] * 4, 24 * lanes, lanes), ENDS, lambda arm, given: ENDS[arm]) for lanes in (1, 2))
    assert len(one[2]) == len(two[2])
    np.testing.assert_allclose(one[2][-1].weights, two[2][-1].weights)


def test_an_arm_that_has_ended_takes_no_lane():
    allocation = ftrl([0.4, 0.3, 0.3], 16, 2)
    _, move = allocation.decide(allocation.init(), [ArmStatus(1, -2.0, alive=False), *[ArmStatus(0, -2.0)] * 2])
    assert sorted(move.arms) == [1, 2]


@pytest.mark.parametrize("allocation", [ftrl, halving, uniform])
def test_the_best_arm_wins_although_the_prior_is_wrong(allocation):
    _, winner, _ = played(allocation([0.4, 0.1, 0.4, 0.1], 32), ENDS)
    assert winner == 1


def test_the_single_winner_is_the_priors():
    given, winner, _ = played(single([0.4, 0.1, 0.45, 0.05], 32), ENDS)
    assert (given, winner) == ([0, 0, 0, 0], 2)


def test_uniform_gives_all_the_same():
    given, _, _ = played(uniform([0.25] * 4, 32), ENDS)
    assert given == [8, 8, 8, 8]


def test_halving_drops_the_worse_half_of_each_rung():
    given, winner, _ = played(halving([0.25] * 4, 32), ENDS)
    assert winner == 1
    assert given[2] == given[3] < given[0] == given[1]
    assert sum(given) == 32


def test_the_leader_takes_most_of_what_ftrl_shares_out():
    given, winner, _ = played(ftrl([0.25] * 4, 32), ENDS)
    assert winner == 1
    assert given[1] == max(given)
    assert given[3] < given[0]


def test_a_good_prior_saves_slices():
    informed, _, _ = played(ftrl([0.05, 0.85, 0.05, 0.05], 32), ENDS)
    ignorant, _, _ = played(ftrl([0.25] * 4, 32), ENDS)
    assert sum(informed) < sum(ignorant)


def test_nobody_wins_unseen():
    given, winner, _ = played(ftrl([0.98, 0.02], 32), [-3.0, -1.0])
    assert (given, winner) == ([1, 0], 0)


def test_equal_arms_share_by_the_prior():
    given, _, _ = played(ftrl([0.5, 0.25, 0.25], 40), np.zeros(3), predict=lambda arm, given: 0.0, slices=40)
    assert given == [20, 10, 10]


def test_an_arm_that_fails_gets_no_more():
    allocation = ftrl([0.8, 0.2], 16)
    state = allocation.init()
    state, move = allocation.decide(state, [ArmStatus(0, -2.0), ArmStatus(0, -2.0)])
    assert move.arms == (0,)
    _, move = allocation.decide(state, [ArmStatus(1, float("inf"), alive=False), ArmStatus(0, -2.0)])
    assert move.arms == (1,)
    assert move.weights[0] == 0


def test_an_arm_that_has_converged_may_win():
    allocation = ftrl([0.5, 0.5], 4)
    state = allocation.init()
    for slices in range(10):
        ended, other = ArmStatus(1, -5.0, alive=False), ArmStatus(slices, -2.0)
        state, move = allocation.decide(state, [ended, other])
        if move.won:
            break
        assert move.arms == (1,)
    assert (move.won, move.arms) == (True, (0,))


def test_predictions_that_are_no_numbers_count_as_failures():
    allocation = ftrl([0.5, 0.5], 8)
    _, move = allocation.decide(allocation.init(), [ArmStatus(0, float("nan")), ArmStatus(0, -1.0)])
    assert move.weights[1] > 0.9
