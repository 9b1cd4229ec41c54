"""The games against their formulas, written out with probabilities."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mulligan.game.losses import LOSSES

LOGIT = st.floats(-8, 8, width=32)


def sigmoid(logit):
    return 1 / (1 + np.exp(-np.float64(logit)))


FORMULAS = {
    "minimax": (lambda r, f: np.log(1 - sigmoid(f)), lambda r, f: -np.log(sigmoid(r)) - np.log(1 - sigmoid(f))),
    "nonsaturating": (lambda r, f: -np.log(sigmoid(f)), lambda r, f: -np.log(sigmoid(r)) - np.log(1 - sigmoid(f))),
    "hinge": (lambda r, f: -f, lambda r, f: max(0, 1 - r) + max(0, 1 + f)),
    "wasserstein": (lambda r, f: -f, lambda r, f: f - r),
    "least_squares": (lambda r, f: (f - 1) ** 2 / 2, lambda r, f: ((r - 1) ** 2 + f**2) / 2),
    "relativistic": (lambda r, f: -np.log(sigmoid(f - r)), lambda r, f: -np.log(sigmoid(r - f))),
}


def test_every_loss_has_a_formula_here():
    assert FORMULAS.keys() == LOSSES.keys()


@pytest.mark.parametrize("name", LOSSES)
@given(real=LOGIT, fake=LOGIT)
def test_values(name, real, fake):
    loss = LOSSES[name]()
    real_logits, fake_logits = jnp.array([real, 0.0]), jnp.array([fake, 1.0])
    for player, formula in zip((loss.gen, loss.disc), FORMULAS[name], strict=True):
        values = player(real_logits, fake_logits)
        assert values.shape == (2,)
        np.testing.assert_allclose(values[0], formula(real, fake), rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(values[1], formula(0.0, 1.0), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", LOSSES)
def test_extreme_logits_stay_finite(name):
    extremes = jnp.array([-1e4, 1e4])
    for player in LOSSES[name]()[:2]:
        value, slope = jax.value_and_grad(lambda f, player=player: jnp.sum(player(extremes, f)))(-extremes)
        assert jnp.isfinite(value)
        assert jnp.isfinite(slope).all()


@pytest.mark.parametrize("name", LOSSES)
def test_the_players_oppose_each_other(name):
    """A fake that looks more real (below the targets' reach) helps the generator and hurts the discriminator."""
    loss = LOSSES[name]()
    slope = [jax.grad(lambda f, player=player: player(jnp.zeros(1), f)[0])(jnp.array([0.1]))[0] for player in loss[:2]]
    assert slope[0] < 0 < slope[1]


@pytest.mark.parametrize("name", LOSSES)
def test_the_ideal_is_the_least_loss_of_a_discriminator_that_can_tell_nothing(name):
    loss = LOSSES[name]()
    same = jnp.linspace(-3, 3, 601)
    assert float(jnp.min(loss.disc(same, same))) == pytest.approx(loss.ideal, abs=1e-6)


def test_minimax_saturates_where_its_remedy_does_not():
    lost = jnp.array([-10.0])
    slope = {
        name: abs(float(jax.grad(lambda f, name=name: LOSSES[name]().gen(lost, f)[0])(lost)[0]))
        for name in ("minimax", "nonsaturating")
    }
    assert slope["minimax"] < 1e-4
    assert slope["nonsaturating"] > 0.99


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_says_whether_its_generator_sees_real_images(name):
    loss, fake = LOSSES[name](), jnp.linspace(-2.0, 2.0, 5)
    moved = loss.gen(jnp.ones(5), fake) != loss.gen(-jnp.ones(5), fake)
    assert bool(moved.any()) is loss.gen_sees_real
