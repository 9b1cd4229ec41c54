"""One step against the same step written out by hand, and what a step must not do."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from benchmarks.common.toy_games import descent
from mulligan.game.augment import augment
from mulligan.game.dynamics import DYNAMICS
from mulligan.game.losses import LOSSES
from mulligan.game.penalties import PENALTIES, lazy
from mulligan.game.step import (
    Data,
    Game,
    Players,
    Strategy,
    Turn,
    disc_gradient,
    draw,
    gen_loss_and_gradient,
    initial_state,
    pixels,
    scheduled,
    step,
    step_info,
    to_bytes,
)
from mulligan.networks.architecture import build
from mulligan.recipe import Architecture, Hyperparameters
from mulligan.types import Averager, Schedule

ARCHITECTURE = Architecture(family="mlp", gen_width=8, disc_width=8, gen_depth=1, disc_depth=1, latent=3)
NUMBERS = Hyperparameters(gen_lr=0.01, disc_lr=0.02, gen_beta1=0.5, disc_beta1=0.1, gamma=0.7, ema_nimg=100.0)
IMAGES = jax.random.randint(jax.random.key(9), (20, 8, 8, 1), 0, 256).astype(jnp.uint8)
BATCH = 4

constant = Schedule(
    init=lambda numbers: jax.tree.map(jnp.float32, numbers),
    value=lambda state, nimg: state,
    observe=lambda state, info: state,
)
last = Averager(init=lambda params: params, update=lambda state, params, nimg, half: params, value=lambda state: state)


def game(loss="relativistic", penalty="r1r2", dynamics="alternating", disc_steps=1, every=1):
    return Game(
        loss=LOSSES[loss](),
        penalty=lazy(PENALTIES[penalty].penalty, every),
        augment=augment([]),
        dynamics=DYNAMICS[dynamics],
        schedule=constant,
        averager=last,
        batch=BATCH,
        disc_steps=disc_steps,
        latent=3,
    )


def start(of, classes=0):
    networks = build(ARCHITECTURE, (8, 8, 1), classes, jax.random.key(0))
    return initial_state(of, networks.gen, networks.disc, NUMBERS, jax.random.key(1))


def advance(of):
    """The step of a game on these images as one program, not one for each operation."""
    return jax.jit(lambda state: step(of, state, Data(IMAGES)))


def latents_of(key, index, disc_steps):
    return jax.random.normal(jax.random.fold_in(jax.random.split(key, disc_steps)[index], 0), (BATCH, 3))


@partial(jax.jit, static_argnums=(0, 2, 3))
def by_hand(of, state, disc_steps, simultaneous=False):
    """Textbook alternating (or simultaneous) descent: separate forward passes, optax's own Adam."""
    loss, sigma = of.loss, NUMBERS
    _, batch_key, game_key = jax.random.split(state.key, 3)
    real = draw(Data(IMAGES), disc_steps, BATCH, batch_key)[0]
    gen_adam = optax.adam(sigma.gen_lr, sigma.gen_beta1, sigma.gen_beta2)
    disc_adam = optax.adam(sigma.disc_lr, sigma.disc_beta1, sigma.disc_beta2)
    disc, disc_opt = state.disc, disc_adam.init(state.disc)
    for index in range(disc_steps):
        key = game_key if simultaneous else None
        z = (
            jax.random.normal(jax.random.fold_in(key, 0), (BATCH, 3))
            if simultaneous
            else latents_of(game_key, index, disc_steps)
        )
        fake = state.gen(z)

        def disc_loss(disc, real=real[index], fake=fake):
            slopes = [jax.grad(lambda x: disc(x[None])[0]) for _ in range(2)]
            squares = sum(jnp.sum(jax.vmap(slope)(x) ** 2) for slope, x in zip(slopes, (real, fake), strict=True))
            return jnp.mean(loss.disc(disc(real), disc(fake))) + sigma.gamma / 2 * squares / BATCH

        move, disc_opt = disc_adam.update(jax.grad(disc_loss)(disc), disc_opt)
        moved = optax.apply_updates(disc, move)
        answered, disc = (disc if simultaneous else moved), moved

    def gen_loss(gen):
        return jnp.mean(loss.gen(answered(real[-1]), answered(gen(z))))

    move, _ = gen_adam.update(jax.grad(gen_loss)(state.gen), gen_adam.init(state.gen))
    return optax.apply_updates(state.gen, move), disc


def assert_close(a, b):
    for left, right in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_allclose(left, right, rtol=2e-4, atol=1e-6)


# Not the relativistic loss: there the gradients of some biases cancel, and Adam makes a full step of the rounding.
@pytest.mark.parametrize("disc_steps", [1, 3])
def test_alternating_is_the_textbook_step(disc_steps):
    of = game(loss="nonsaturating", disc_steps=disc_steps)
    state = start(of)
    after, info = advance(of)(state)
    gen, disc = by_hand(of, state, disc_steps)
    assert_close(after.disc, disc)
    assert_close(after.gen, gen)
    assert int(after.nimg) == BATCH * disc_steps
    assert 0 <= float(info.accuracy) <= 1


def test_accuracy_is_the_share_of_pairs_in_which_the_real_image_has_the_larger_logit():
    of = game(loss="nonsaturating", penalty="none")
    state = start(of)
    (real,), _ = draw(Data(IMAGES), 1, BATCH, state.key)
    fake = state.gen(jax.random.normal(state.key, (BATCH, 3)))
    pairs = state.disc(real, None) > state.disc(fake, None)
    turn = Turn(real, None, NUMBERS, state.key, 0)

    def accuracy(fake):
        gradient, seen = disc_gradient(of, state, fake, turn)
        return float(step_info(of, state, Players(state.gen, gradient), jnp.zeros(()), seen).accuracy)

    assert accuracy(fake) == pytest.approx(float(jnp.mean(pairs)))
    assert accuracy(fake) != 0.5  # else the other way round would pass as well
    assert accuracy(real) == 0  # a pair of equals is not told apart


def test_simultaneous_answers_the_old_discriminator():
    of = game(loss="nonsaturating", dynamics="simultaneous")
    state = start(of)
    after, _ = advance(of)(state)
    gen, disc = by_hand(of, state, 1, True)
    assert_close(after.disc, disc)
    assert_close(after.gen, gen)


def test_the_generator_is_judged_against_its_real_partner():
    of = game(loss="relativistic")
    state = start(of)
    real, fake = pixels(IMAGES[:4]), pixels(IMAGES[4:8])
    value, slope = gen_loss_and_gradient(of, state.disc, fake, Turn(real, None, NUMBERS, jax.random.key(3), 0))
    partners = jax.nn.softplus(state.disc(real) - state.disc(fake))
    assert float(value) == pytest.approx(float(partners.mean()), rel=1e-6)
    weight = -jax.nn.sigmoid(state.disc(real) - state.disc(fake)) / 4
    expected = jax.vmap(jax.grad(lambda x: state.disc(x[None])[0]))(fake) * weight[:, None, None, None]
    np.testing.assert_allclose(slope, expected, rtol=1e-4, atol=1e-8)


def test_jit_equals_eager_and_changing_numbers_does_not_recompile():
    """Under plain descent: Adam's first step is the sign of a gradient, which rounding turns where it is nearly 0."""
    of = dataclasses.replace(game(), optimiser=descent)
    state = start(of)
    compiled = advance(of)
    assert_close(compiled(state)[0].gen, step(of, state, Data(IMAGES))[0].gen)
    compiled(state._replace(strategy=Strategy(*map(jnp.float32, (0.5, 0.5, 2.0)))))
    compiled(state._replace(schedule=state.schedule._replace(gen_lr=jnp.float32(0.5), augment=jnp.float32(0.1))))
    assert compiled._cache_size() == 1


def test_same_key_same_step_and_another_key_another():
    of = game()
    state = start(of)
    compiled = advance(of)
    first, again = (compiled(state)[0] for _ in range(2))
    other, _ = compiled(state._replace(key=jax.random.key(77)))
    for left, right in zip(jax.tree.leaves(first.gen), jax.tree.leaves(again.gen), strict=True):
        np.testing.assert_array_equal(left, right)
    assert any((a != b).any() for a, b in zip(jax.tree.leaves(first.gen), jax.tree.leaves(other.gen), strict=True))


def test_strategy_multiplies_the_schedule():
    of = game()
    state = start(of)._replace(strategy=Strategy(*map(jnp.float32, (0.5, 0.25, 3.0))))
    numbers = scheduled(of, state)
    expected = NUMBERS._replace(gen_lr=0.005, disc_lr=0.005, gamma=2.1)
    np.testing.assert_allclose(np.array(numbers), np.array(expected), rtol=1e-6)


def test_zero_rates_leave_the_networks_alone():
    of = game()
    state = start(of)
    still = state._replace(strategy=Strategy(*map(jnp.float32, (0.0, 0.0, 1.0))))
    after, _ = advance(of)(still)
    assert_close((after.gen, after.disc), (state.gen, state.disc))


def test_lazy_penalty_falls_on_the_right_discriminator_steps():
    of = game(disc_steps=2, every=4)
    state, compiled = start(of), advance(of)
    seen = []
    for _ in range(4):
        state, info = compiled(state)
        seen.append(float(info.penalty))
    # Steps 0 and 4 of the discriminator carry it; what a step reports is its last discriminator step, 1, 3, 5, 7.
    assert seen == [0.0, 0.0, 0.0, 0.0]
    of = game(disc_steps=1, every=2)
    state, compiled = start(of), advance(of)
    seen = []
    for _ in range(4):
        state, info = compiled(state)
        seen.append(float(info.penalty) > 0)
    assert seen == [True, False, True, False]


def test_labels_reach_both_networks():
    of = game()
    state = start(of, classes=3)
    data = Data(IMAGES, jnp.arange(20, dtype=jnp.int32) % 3)
    compiled = jax.jit(lambda data: step(of, state, data))
    after, _ = compiled(data)
    other, _ = compiled(data._replace(labels=(data.labels + 1) % 3))
    changed = [(a != b).any() for a, b in zip(jax.tree.leaves(after), jax.tree.leaves(other), strict=True)]
    assert any(changed)


def test_vmap_over_seeds_equals_a_loop():
    of = game()
    states = [start(of)._replace(key=jax.random.key(seed)) for seed in range(2)]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *states)
    compiled = advance(of)
    together, _ = jax.jit(jax.vmap(compiled))(stacked)
    for index, state in enumerate(states):
        alone, _ = compiled(state)
        assert_close(jax.tree.map(lambda leaf, index=index: leaf[index], together.gen), alone.gen)


def test_bytes_and_pixels_are_inverse():
    values = jnp.arange(256, dtype=jnp.uint8).reshape(1, 16, 16, 1)
    np.testing.assert_array_equal(to_bytes(pixels(values)), values)
    np.testing.assert_array_equal(to_bytes(jnp.array([[[[-2.0, 2.0]]]]))[0, 0, 0], [0, 255])


def test_the_schedule_is_told_of_each_step():
    heard = Schedule(
        init=lambda numbers: jnp.float32(0),
        value=lambda state, nimg: NUMBERS,
        observe=lambda state, info: info.disc_loss,
    )
    of = dataclasses.replace(game(), schedule=heard)
    after, info = advance(of)(start(of))
    assert float(after.schedule) == float(info.disc_loss) > 0
