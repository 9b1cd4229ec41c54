"""A game with past opponents, against the same step written out with one forward pass for each."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import pytest
from game.test_step import BATCH, IMAGES, NUMBERS, advance, assert_close, game, start
from quick import quick_of

from benchmarks.common.toy_games import descent
from mulligan.game.dynamics import DYNAMICS
from mulligan.game.step import Data, draw, step
from mulligan.networks.architecture import build
from mulligan.online.opponents import queue
from mulligan.recipe import Architecture

PULL = 0.3
UNPENALISED = game(penalty="none").penalty  # for what does not ask about it, and compiles twice as fast without


def facing(k, dynamics="alternating", spacing=1, loss="nonsaturating"):
    """A game under plain descent whose players face `k` past ones; `k` of 0 is the plain game."""
    opponents = queue(k, spacing, 0, PULL) if k else None
    return dataclasses.replace(game(loss=loss, dynamics=dynamics), opponents=opponents, optimiser=descent)


def others(seed):
    architecture = Architecture(family="mlp", gen_width=8, disc_width=8, gen_depth=1, disc_depth=1, latent=3)
    return build(architecture, (8, 8, 1), 0, jax.random.key(seed))


def with_past(of, seeds):
    """A state whose queue holds the networks of these seeds."""
    state = start(of)
    for seed in seeds:
        networks = others(seed)
        state = state._replace(opponents=of.opponents.observe(state.opponents, networks.gen, networks.disc))
    return state


@partial(jax.jit, static_argnums=0)
def by_hand(of, state, past, rounds):
    """Simultaneous descent on the mean over the present opponent and the past ones, plus the pull."""
    loss = of.loss
    _, batch_key, game_key = jax.random.split(state.key, 3)
    real = draw(Data(IMAGES), 1, BATCH, batch_key)[0][0]
    latents = jax.random.normal(jax.random.fold_in(game_key, 0), (BATCH, 3))
    gens, discs = [state.gen, *(p.gen for p in past)], [state.disc, *(p.disc for p in past)]
    pull = PULL / jnp.sqrt(rounds + 1.0)

    def norm(params):
        return sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(params))

    def gen_loss(gen):
        fake = gen(latents)
        return jnp.mean(jnp.stack([jnp.mean(loss.gen(d(real), d(fake))) for d in discs])) + pull * norm(gen)

    def against(disc, gen):
        fake = gen(latents)
        slopes = jax.vmap(jax.grad(lambda x: disc(x[None])[0]))
        squares = (jnp.sum(slopes(real) ** 2) + jnp.sum(slopes(fake) ** 2)) / BATCH
        return jnp.mean(loss.disc(disc(real), disc(fake))) + NUMBERS.gamma / 2 * squares

    def disc_loss(disc):
        return jnp.mean(jnp.stack([against(disc, gen) for gen in gens])) + pull * norm(disc)

    def moved(w, slope, rate):
        return jax.tree.map(lambda leaf, g: leaf - rate * g, w, slope)

    gen = moved(state.gen, jax.grad(gen_loss)(state.gen), NUMBERS.gen_lr)
    return gen, moved(state.disc, jax.grad(disc_loss)(state.disc), NUMBERS.disc_lr)


@pytest.mark.parametrize("held", [0, 1, 2])
def test_players_descend_the_mean_loss_against_present_and_past(held):
    of = facing(2, "simultaneous")
    state = with_past(of, range(10, 10 + held))
    after, _ = advance(of)(state)
    gen, disc = by_hand(of, state, [others(seed) for seed in range(10, 10 + held)], held)
    assert_close(after.gen, gen)
    assert_close(after.disc, disc)


def test_the_present_players_enter_the_queue():
    of = facing(2)
    compiled = advance(of)
    after, _ = compiled(start(of))
    twice, _ = compiled(after)
    assert_close(jax.tree.map(lambda leaf: leaf[0], twice.opponents.gens), after.gen)
    assert_close(jax.tree.map(lambda leaf: leaf[1], twice.opponents.discs), twice.disc)


def test_without_opponents_it_is_the_plain_step():
    """The same program to the letter, and no state."""
    plain = dataclasses.replace(game(loss="nonsaturating"), optimiser=descent)
    state = start(facing(0))
    assert state.opponents == ()
    programs = {str(jax.make_jaxpr(lambda s, of=of: step(of, s, Data(IMAGES)))(state)) for of in (plain, facing(0))}
    assert len(programs) == 1


def flops(of):
    state = start(of)
    return advance(of).lower(state).cost_analysis()["flops"]


def test_cost_is_linear_in_the_opponents():
    none, two, four, eight = (flops(facing(k)) for k in (0, 2, 4, 8))
    assert four - two == pytest.approx((eight - four) / 2, rel=0.05)
    assert 0.5 < (eight - none) / 8 / none < 1.2  # each as much as a step, at most


@pytest.mark.parametrize("name", quick_of(DYNAMICS, "alternating", "optimistic"))
def test_every_dynamics_can_face_the_past(name):
    of = dataclasses.replace(facing(1, name), penalty=UNPENALISED)
    compiled = advance(of)
    once, _ = compiled(start(of))
    again, _ = compiled(once)
    alone = dataclasses.replace(of, opponents=None)
    other, _ = advance(alone)(once._replace(opponents=()))
    assert jax.tree.structure(again) == jax.tree.structure(once)
    assert all(jnp.isfinite(leaf).all() for leaf in jax.tree.leaves((again.gen, again.disc)))
    differs = jax.tree.map(lambda a, b: bool((a != b).any()), again.gen, other.gen)
    assert all(jax.tree.leaves(differs))
