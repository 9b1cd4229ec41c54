"""The dynamics against theory, on games whose rates are known, and as members of one family."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from game.test_step import IMAGES, advance, assert_close, game, start
from quick import quick_of

from benchmarks.common.toy_games import ETA, EVERY, OUTER, bilinear, dirac, path, rate, theory
from mulligan.game.dynamics import DYNAMICS, consensus
from mulligan.game.lookahead import lookahead
from mulligan.game.losses import LOSSES
from mulligan.game.penalties import lazy, r1r2, r1r2_piecewise
from mulligan.game.step import Data, adam, step
from mulligan.networks.piecewise import lifted
from mulligan.online.parameters import ftrl, optimistic_ftrl

PERIOD = {"lookahead": EVERY, "nested_lookahead": OUTER}
STEPS = {"alternating": 2000, "consensus": 20, "lookahead": 3000, "nested_lookahead": 8000}


@pytest.mark.parametrize("name", DYNAMICS)
def test_rates_on_the_bilinear_game_are_those_of_theory(name):
    distances = bilinear(name, STEPS.get(name, 400))
    assert math.log(rate(distances, PERIOD.get(name, 1))) == pytest.approx(math.log(theory(name)), rel=0.01, abs=1e-5)


def test_simultaneous_descent_diverges_alternating_descent_cycles_and_all_others_converge():
    """At two rates, so that what theory says is not one number's luck."""
    for eta in (0.05, 0.2):
        assert rate(bilinear("simultaneous", 400, eta)) == pytest.approx(math.sqrt(1 + eta**2), rel=1e-5)
        assert 0.9 < bilinear("alternating", 3000, eta)[1000:].min() / math.sqrt(2) < 1.2
        for name in ("extragradient", "past_extragradient", "optimistic", "lookahead"):
            period = PERIOD.get(name, 1)
            assert rate(bilinear(name, 1500, eta), period) == pytest.approx(_theory(name, eta), abs=1e-4)


def _theory(name, eta):
    """Eigenvalues once more, as those of the matrices that map what a step reads to what it writes."""
    turn, zero, one = np.array([[0.0, -1.0], [1.0, 0.0]]), np.zeros((2, 2)), np.eye(2)
    field = -turn
    matrix = {
        "extragradient": one - eta * field @ (one - eta * field),
        "optimistic": np.block([[one - 2 * eta * field, eta * field], [one, zero]]),
        "past_extragradient": np.block([[one - eta * field, eta**2 * field @ field], [one, -eta * field]]),
    }
    if name == "lookahead":
        alternate = np.array([[1.0, 0.0], [eta, 1.0]]) @ np.array([[1.0, -eta], [0.0, 1.0]])
        inner = (one + np.linalg.matrix_power(alternate, EVERY)) / 2
        return np.abs(np.linalg.eigvals(inner)).max() ** (1 / EVERY)
    return np.abs(np.linalg.eigvals(matrix[name])).max()


@pytest.mark.parametrize(("weight", "eta"), [(0.5, 0.1), (1.0, 0.3), (3.0, 0.05)])
def test_consensus_converges_at_its_rate(weight, eta):
    points = path(dirac(consensus(weight), LOSSES["wasserstein"]()), 200, eta)
    assert rate(np.hypot(*points.T)) == pytest.approx(math.hypot(1 - eta * weight, eta), rel=1e-5)


@pytest.mark.parametrize(("every", "share"), [(3, 0.5), (10, 0.2), (7, 1.0)])
def test_lookahead_goes_back_its_share_of_the_way_from_every_kth_step(every, share):
    fast = DYNAMICS["simultaneous"]
    points = path(dirac(lookahead(fast, every, share), LOSSES["wasserstein"]()), 60 - 60 % every)
    slow = points[::every]
    turned = np.array([[1.0, ETA], [-ETA, 1.0]])  # one simultaneous step, (x, y) -> (x + eta y, y - eta x)
    expected = slow[:-1] + share * (slow[:-1] @ np.linalg.matrix_power(turned, every).T - slow[:-1])
    np.testing.assert_allclose(slow[1:], expected, rtol=1e-4)
    np.testing.assert_allclose(points[every + 1], turned @ points[every], rtol=1e-5)


def test_lookahead_counts_generator_steps_however_often_the_discriminator_moves():
    of = dataclasses.replace(game(disc_steps=2), dynamics=lookahead(DYNAMICS["alternating"], 3, 0.5))
    state, returned = start(of), []
    compiled = advance(of)
    for _ in range(7):
        slow = state.dynamics
        state, _ = compiled(state)
        moved = zip(*map(jax.tree.leaves, (slow.gen, state.dynamics.gen)), strict=True)
        returned.append(not all((a == b).all() for a, b in moved))
    assert returned == [False, False, True, False, False, True, False]


def test_a_lookahead_inside_another_begins_anew_where_the_outer_one_went_back_to():
    nested = lookahead(lookahead(DYNAMICS["simultaneous"], 2, 0.5), 4, 0.5)
    points = path(dirac(nested, LOSSES["wasserstein"]()), 6)
    turned = np.array([[1.0, ETA], [-ETA, 1.0]])
    inner = (np.eye(2) + turned @ turned) / 2
    outer = (np.eye(2) + inner @ inner) / 2
    np.testing.assert_allclose(points[4], outer @ points[0], rtol=1e-5)
    np.testing.assert_allclose(points[6], inner @ points[4], rtol=1e-5)


@pytest.mark.parametrize(("rule", "alternate"), [(optimistic_ftrl, False), (ftrl, True)])
def test_the_average_of_ftrls_plays_nears_the_equilibrium_at_one_over_t(rule, alternate):
    """Optimism at once, or plain FTRL in turns: on the bilinear game both keep the sum of their plays bounded."""
    rounds = 4000
    player = rule(ETA)

    def play(carry, _):
        x, y, of_x, of_y = carry
        move, of_y = player.update(x, of_y, y)
        seen = y + move if alternate else y
        y = y + move
        move, of_x = player.update(-seen, of_x, x)
        x = x + move
        return (x, y, of_x, of_y), jnp.stack([x, y])

    one = jnp.ones(())
    _, plays = jax.lax.scan(play, (one, one, player.init(one), player.init(one)), None, rounds)
    times = np.arange(1, rounds + 1)
    distances = np.hypot(*(np.cumsum(np.asarray(plays, np.float64), axis=0) / times[:, None]).T)
    worst = [distances[t : 2 * t].max() for t in (125, 250, 500, 1000, 2000)]
    assert np.polyfit(np.log(times[[125, 250, 500, 1000, 2000]]), np.log(worst), 1)[0] < -0.9


# --- the Dirac-GAN


@pytest.mark.parametrize("gamma", [0.5, 2.0])
def test_the_dirac_gan_converges_with_r1_at_the_rate_of_its_linearisation(gamma):
    points = path(dirac(DYNAMICS["simultaneous"], LOSSES["nonsaturating"](), "r1"), 800, ETA, gamma)
    jacobian = np.array([[0.0, 0.5], [-0.5, -gamma]])  # at the equilibrium, where both losses' slopes are 1/2
    eigenvalues = np.linalg.eigvals(np.eye(2) + ETA * jacobian)
    half_turn = math.pi / np.abs(np.angle(eigenvalues)).max() if gamma < 1 else 1  # steps; compare like with like
    distances = np.hypot(*points.T)
    assert distances[-1] < 1e-4
    assert rate(distances, round(half_turn)) == pytest.approx(np.abs(eigenvalues).max(), abs=1e-3)


def test_the_dirac_gan_cycles_without_a_penalty():
    distances = np.hypot(*path(dirac(DYNAMICS["alternating"], LOSSES["minimax"]()), 8000).T)
    assert distances.min() > 1
    assert distances[6000:].mean() == pytest.approx(distances[1000:3000].mean(), rel=0.02)
    diverging = np.hypot(*path(dirac(DYNAMICS["simultaneous"], LOSSES["minimax"]()), 8000).T)
    assert diverging[-1] > 2 * distances.max()


# --- with Adam, and as a family


def test_with_adam_optimism_is_optimistic_adam():
    """Daskalakis et al. 2018, algorithm 1, written out."""
    b1, b2, eps = 0.0, 0.99, 1e-8
    points = path(dirac(DYNAMICS["optimistic"], LOSSES["wasserstein"](), optimiser=adam), 50)
    w, m, v, before = np.ones(2), np.zeros(2), np.zeros(2), np.zeros(2)
    for t in range(1, 51):
        slope = np.array([-w[1], w[0]])
        m, v = b1 * m + (1 - b1) * slope, b2 * v + (1 - b2) * slope**2
        direction = m / (1 - b1**t) / (np.sqrt(v / (1 - b2**t)) + eps)
        w = w - 2 * ETA * direction + ETA * before
        before = direction
        np.testing.assert_allclose(points[t], w, rtol=1e-3, atol=1e-4)


def test_with_adam_extragradient_updates_the_moments_twice_a_step():
    """Gidel et al. 2019, algorithm 4, written out."""
    b2, eps = 0.99, 1e-8
    points = path(dirac(DYNAMICS["extragradient"], LOSSES["wasserstein"](), optimiser=adam), 50)
    w, v, count = np.ones(2), np.zeros(2), 0
    for t in range(1, 51):
        at = w
        for _ in range(2):
            slope = np.array([-at[1], at[0]])
            v, count = b2 * v + (1 - b2) * slope**2, count + 1
            at = w - ETA * slope / (np.sqrt(v / (1 - b2**count)) + eps)
        w = at
        np.testing.assert_allclose(points[t], w, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", DYNAMICS)
def test_members_keep_the_states_shape_and_jit_and_scan_agree(name):
    of = game(loss="nonsaturating", dynamics=name)
    state, compiled = start(of), advance(of)
    once, info = compiled(state)
    assert jax.tree.structure(once) == jax.tree.structure(state)
    assert [leaf.shape for leaf in jax.tree.leaves(once)] == [leaf.shape for leaf in jax.tree.leaves(state)]
    assert [leaf.dtype for leaf in jax.tree.leaves(once)] == [leaf.dtype for leaf in jax.tree.leaves(state)]
    twice, _ = compiled(once)
    scanned, infos = jax.jit(lambda state: jax.lax.scan(lambda state, _: compiled(state), state, None, 2))(state)
    assert_close((scanned.gen, scanned.disc), (twice.gen, twice.disc))
    assert float(infos.disc_loss[0]) == pytest.approx(float(info.disc_loss), rel=1e-4)
    moved = jax.tree.map(lambda a, b: bool((a != b).any()), (once.gen, once.disc), (state.gen, state.disc))
    assert all(jax.tree.leaves(moved))


@pytest.mark.parametrize("name", quick_of(DYNAMICS, "optimistic"))
def test_jit_and_eager_agree(name):
    of = game(loss="nonsaturating", dynamics=name)
    (one, _), (other, _) = step(of, start(of), Data(IMAGES)), advance(of)(start(of))
    assert_close((one.gen, one.disc), (other.gen, other.disc))


def test_only_what_remembers_has_a_memory():
    without = [name for name in DYNAMICS if start(game(dynamics=name)).dynamics == ()]
    assert without == ["alternating", "simultaneous", "extragradient", "consensus"]


def test_no_memory_shares_a_buffer_with_the_players():
    """A state whose leaves share a buffer cannot be given away to a compiled chunk."""
    for name in DYNAMICS:
        leaves = jax.tree.leaves(start(game(dynamics=name))._replace(averages=()))  # the test's own are shared
        assert len({id(leaf) for leaf in leaves}) == len(leaves)


def test_consensus_differentiates_the_cheap_penalty_as_the_plain_one():
    of = game(loss="nonsaturating", dynamics="consensus")
    cheap = game(loss="nonsaturating", dynamics="consensus")
    object.__setattr__(cheap, "penalty", lazy(r1r2_piecewise(lifted), 1))
    expected, _ = advance(of)(start(of))
    found, _ = advance(cheap)(start(of))
    assert_close((found.gen, found.disc), (expected.gen, expected.disc))


def bent(images, strength, key):
    """An augmentation that depends on nothing but the image, and is not linear in it."""
    return images * (1 + jnp.mean(images, axis=(1, 2, 3), keepdims=True))


@pytest.mark.parametrize("penalty", [r1r2, r1r2_piecewise(lifted)], ids=["plain", "cheap"])
@pytest.mark.parametrize(("name", "loss"), [("simultaneous", "relativistic"), ("optimistic", "nonsaturating")])
def test_one_look_at_the_fakes_tells_both_players_what_two_do(name, loss, penalty):
    of = dataclasses.replace(game(loss=loss, dynamics=name), penalty=lazy(penalty, 1), augment=bent)
    twice = dataclasses.replace(of, penalty=lambda *shown: of.penalty(*shown)._replace(fake_slopes=None))
    state = start(of)
    (once, info), (expected, of_both) = advance(of)(state), advance(twice)(state)
    assert_close((once.gen, once.disc), (expected.gen, expected.disc))
    assert float(info.gen_loss) == pytest.approx(float(of_both.gen_loss), rel=1e-6)
    flops = [advance(each).lower(state).cost_analysis()["flops"] for each in (of, twice)]
    assert flops[0] < 0.95 * flops[1]


@pytest.mark.parametrize("change", [{"penalty": "r1"}, {"penalty": "none"}, {"every": 2}])
def test_where_nobody_took_slopes_the_generator_looks_for_itself(change):
    of = game(dynamics="simultaneous", **change)
    state, _ = advance(of)(start(of))
    assert all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(state.gen))
    moved = [
        float(jnp.abs(a - b).max()) for a, b in zip(*map(jax.tree.leaves, (state.gen, start(of).gen)), strict=True)
    ]
    assert max(moved) > 0


def test_the_discriminators_loss_is_told_without_the_penalty():
    of = game(loss="nonsaturating")
    state = start(of)
    heavy = state._replace(schedule=state.schedule._replace(gamma=jnp.float32(1e4)))
    (_, light), (_, weighed) = map(advance(of), (state, heavy))
    assert float(weighed.penalty) > 0
    assert float(weighed.disc_loss) == pytest.approx(float(light.disc_loss), rel=1e-6)
