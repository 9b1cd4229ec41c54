"""Outer algorithms: what one episode says about the initial weights. Each is a function and one line in `OUTER`.

An algorithm is `(lesson, learned, episode, key) -> Verdict`; its gradient is averaged over the tasks of a batch and
followed by Adam. What differs is what they look at: Reptile at where the inner game went, MAML at how a query is met
from there, with or without the derivative of the way, and the multi-task GAN at no inner game at all.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, UInt8

from mulligan.game.gradients import Players, both_gradients
from mulligan.game.state import Data, draw, pixels
from mulligan.meta.initialisation.adaptation import Initialisation, Inner, adapt, begun
from mulligan.meta.initialisation.episodes import Deal, Episode, deal
from mulligan.meta.initialisation.objectives import Objective
from mulligan.types import Key, Pytree


class Lesson(NamedTuple):
    """The static choices of learning: what is played on a task, and what is asked of it afterwards."""

    inner: Inner
    objective: Objective


class Verdict(NamedTuple):
    """What an episode says: which way is uphill, and how well it went (the query's loss, where there is one)."""

    gradient: Initialisation
    loss: Float[Array, ""]


Algorithm = Callable[[Lesson, Initialisation, Episode, Key], Verdict]


def reptile(lesson: Lesson, learned: Initialisation, episode: Episode, key: Key) -> Verdict:
    """Away from where the inner game went: `centre - adapted` (Nichol et al. 2018, arXiv 1803.02999, algorithm 1).

    The query images only tell how it went; the scale is not learned.
    """
    inner_key, outer_key = jax.random.split(key)
    adapted = adapt(lesson.inner, learned, Data(episode.support), inner_key)
    loss = lesson.objective.losses(adapted, pixels(episode.query), outer_key)
    return Verdict(Initialisation(_less(learned.centre, adapted), _zeros(learned.log_scale)), loss.gen)


def fomaml(lesson: Lesson, learned: Initialisation, episode: Episode, key: Key) -> Verdict:
    """The query's gradient at the adapted players, as if the inner gradients were constants.

    Then `w = centre - scale * G` gives `dw/dcentre = 1` and `dw/dlog scale = w - centre` (Finn et al. 2017, arXiv
    1703.03400, section 5.2).
    """
    inner_key, outer_key = jax.random.split(key)
    adapted = adapt(lesson.inner, learned, Data(episode.support), inner_key)
    query = pixels(episode.query)
    gradient, loss = _uphill(
        lesson.objective, lambda players: lesson.objective.losses(players, query, outer_key), adapted
    )
    way = _less(adapted, learned.centre)
    return Verdict(Initialisation(gradient, jax.tree.map(jnp.multiply, gradient, way)), loss)


def maml(lesson: Lesson, learned: Initialisation, episode: Episode, key: Key) -> Verdict:
    """The query's gradient through all inner updates: exact, for about three times the work (Finn et al. 2017)."""
    inner_key, outer_key = jax.random.split(key)

    def losses(learned: Initialisation) -> Players:
        adapted = adapt(lesson.inner, learned, Data(episode.support), inner_key)
        return lesson.objective.losses(adapted, pixels(episode.query), outer_key)

    return Verdict(*_uphill(lesson.objective, losses, learned))


def multitask(lesson: Lesson, learned: Initialisation, episode: Episode, key: Key) -> Verdict:
    """One GAN for all tasks together: the game's own gradient at the centre, on images of either set.

    The plain baseline: what it learns is only fine-tuned on a new task.
    """
    state = begun(lesson.inner, learned, key)
    everything = Data(jnp.concatenate(episode))
    batch_key, game_key = jax.random.split(key)
    batch = draw(everything, 1, lesson.inner.game.batch, batch_key)
    gradients, loss, _ = both_gradients(lesson.inner.game, state, batch, lesson.inner.hyperparameters, game_key)
    return Verdict(Initialisation(gradients, _zeros(learned.log_scale)), loss)


OUTER: dict[str, Algorithm] = {"reptile": reptile, "fomaml": fomaml, "maml": maml, "multitask": multitask}
LOUDEST = 10.0  # the longest gradient of one task; those of calm games have lengths of 1 to 5
SCALING = ("fomaml", "maml")  # those that learn the scale, too


def _uphill(objective: Objective, losses: Callable[[Any], Players], at: Pytree) -> tuple[Any, Float[Array, ""]]:
    """Each player's part of the gradient of its own loss; `at` holds the parts of both, wherever `Players` occur."""
    value, pullback = jax.vjp(losses, at)
    zero, one = jnp.zeros(()), jnp.ones(())
    (of_gen,) = pullback(Players(one, zero))
    if objective.shared:
        return of_gen, value.gen
    (of_disc,) = pullback(Players(zero, one))
    is_players = lambda node: isinstance(node, Players)  # noqa: E731
    own = jax.tree.map(lambda g, d: Players(g.gen, d.disc), of_gen, of_disc, is_leaf=is_players)
    return own, value.gen


def _less(a: Pytree, b: Pytree) -> Pytree:
    return jax.tree.map(jnp.subtract, a, b)


def _zeros(tree: Pytree) -> Pytree:
    return jax.tree.map(jnp.zeros_like, tree)


# --- many episodes


class Study(NamedTuple):
    """How learning goes on: which algorithm, on how many tasks an outer step, and how fast.

    Attributes:
      algorithm: a name in `OUTER`.
      tasks: of a batch.
      deal: how episodes are dealt.
      optimiser: of what is learned.
      halflife: of the running average of what is learned, in outer steps.
    """

    algorithm: str
    tasks: int
    deal: Deal
    optimiser: optax.GradientTransformation
    halflife: float


class Learning(NamedTuple):
    """All that learning reads and a checkpoint saves."""

    steps: Int[Array, ""]
    learned: Initialisation
    average: Initialisation  # of what was learned so far: what is used
    optimiser: Pytree
    key: Key


def outer_adam(
    rate: Any, scale_factor: float = 10.0, beta1: float = 0.9, beta2: float = 0.99
) -> optax.GradientTransformation:
    """Adam that moves logarithms of scales `scale_factor` times as fast as weights, since those have further to go.

    Args:
      rate: a number, or a function of the outer steps made.
    """

    def faster(updates: Any) -> Any:
        return updates._replace(log_scale=jax.tree.map(lambda leaf: scale_factor * leaf, updates.log_scale))

    return optax.chain(
        optax.adam(rate, beta1, beta2),
        optax.stateless(lambda updates, _: faster(updates)),
    )


def start(study: Study, learned: Initialisation, key: Key) -> Learning:
    """Before the first outer step."""
    return Learning(
        jnp.zeros((), jnp.int32), learned, jax.tree.map(jnp.copy, learned), study.optimiser.init(learned), key
    )


def go_on(
    lesson: Lesson, study: Study, state: Learning, pool: UInt8[Array, "t n h w c"], steps: Any
) -> tuple[Learning, Float[Array, ""]]:
    """`steps` outer steps, a traced number, and the mean of their losses. Pure; one compiled program for any number."""

    def body(_: Any, carry: tuple[Learning, Array]) -> tuple[Learning, Array]:
        state, total = carry
        state, loss = outer_step(lesson, study, state, pool)
        return state, total + loss

    state, total = jax.lax.fori_loop(0, steps, body, (state, jnp.zeros(())))
    return state, total / steps


def outer_step(
    lesson: Lesson, study: Study, state: Learning, pool: UInt8[Array, "t n h w c"]
) -> tuple[Learning, Float[Array, ""]]:
    """One batch of tasks, and one step of what is learned. A game that ran away has no say, and one that nearly did no
    more than others: gradients through a game on the edge of chaos are thousands of times as long.
    """
    key, batch_key = jax.random.split(state.key)
    quieter = optax.clip_by_global_norm(LOUDEST)

    def of_task(key: Key) -> Verdict:
        deal_key, inner_key = jax.random.split(key)
        verdict = OUTER[study.algorithm](lesson, state.learned, deal(study.deal, pool, deal_key), inner_key)
        gradient, _ = quieter.update(verdict.gradient, optax.EmptyState())
        return verdict._replace(gradient=gradient)

    verdicts = over_tasks(of_task)(jax.random.split(batch_key, study.tasks))
    gradient, loss = _mean(verdicts)
    moves, optimiser = study.optimiser.update(gradient, state.optimiser, state.learned)
    learned: Any = optax.apply_updates(state.learned, moves)
    halflife = jnp.minimum(study.halflife, 0.1 * state.steps)  # early steps are soon forgotten
    share = -jnp.expm1(-jnp.log(2.0) / jnp.maximum(halflife, 1e-6))
    average = jax.tree.map(lambda mean, now: mean + share * (now - mean), state.average, learned)
    return Learning(state.steps + 1, learned, average, optimiser, key), loss


def _mean(verdicts: Verdict) -> Verdict:
    """Of those along the first axis that are finite in every number; not a number where none is."""
    finite = [jnp.all(jnp.isfinite(leaf), axis=tuple(range(1, leaf.ndim))) for leaf in jax.tree.leaves(verdicts)]
    sound = jnp.all(jnp.stack(finite), axis=0)
    masked = lambda leaf: jnp.where(sound.reshape(-1, *[1] * (leaf.ndim - 1)), leaf, 0.0)  # noqa: E731
    return jax.tree.map(lambda leaf: jnp.sum(masked(leaf), axis=0) / jnp.sum(sound), verdicts)


def over_tasks(of_task: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Tasks side by side on an accelerator; one after the other on a CPU, where products of many weights are slow."""
    if jax.default_backend() == "cpu":
        return partial(jax.lax.map, of_task)
    return jax.vmap(of_task)
