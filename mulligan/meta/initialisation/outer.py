"""Outer algorithms: what one episode says about the initial weights. Each is a function and one line in `OUTER`.

An algorithm is `(objective, learned, episode, key) -> OuterGradient`; its gradient is averaged over the tasks of a
batch and followed by Adam. What differs is what they look at: Reptile at where the inner game went, MAML at how a query
is met from there, with or without the derivative of the way, and the multi-task GAN at no inner game at all.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, UInt8

from mulligan.game.dynamics import both_gradients
from mulligan.game.step import Batch, Data, Players, draw, pixels
from mulligan.meta.initialisation.adaptation import Initialisation, InnerGame, adapt, initial_inner_state
from mulligan.meta.initialisation.episodes import Episode, EpisodeSpec, sample_episode
from mulligan.meta.initialisation.objectives import QueryObjective
from mulligan.types import Key, Pytree


class MetaObjective(NamedTuple):
    """The static choices of learning: what is played on a task, and what is asked of it afterwards."""

    inner: InnerGame
    objective: QueryObjective


class OuterGradient(NamedTuple):
    """What an episode says: which way is uphill, and how well it went (the query's loss, where there is one)."""

    gradient: Initialisation
    loss: Float[Array, ""]


Algorithm = Callable[[MetaObjective, Initialisation, Episode, Key], OuterGradient]


def reptile(task_objective: MetaObjective, learned: Initialisation, episode: Episode, key: Key) -> OuterGradient:
    """Away from where the inner game went: `centre - adapted` (Nichol et al. 2018, arXiv 1803.02999, algorithm 1).

    The query images only tell how it went; the scale is not learned.
    """
    inner_key, outer_key = jax.random.split(key)
    adapted = adapt(task_objective.inner, learned, Data(episode.support), inner_key)
    loss = task_objective.objective.losses(adapted, pixels(episode.query), outer_key)
    way = jax.tree.map(jnp.subtract, learned.centre, adapted)
    return OuterGradient(Initialisation(way, jax.tree.map(jnp.zeros_like, learned.log_scale)), loss.gen)


def fomaml(task_objective: MetaObjective, learned: Initialisation, episode: Episode, key: Key) -> OuterGradient:
    """The query's gradient at the adapted players, as if the inner gradients were constants.

    Then `w = centre - scale * G` gives `dw/dcentre = 1` and `dw/dlog scale = w - centre` (Finn et al. 2017, arXiv
    1703.03400, section 5.2).
    """
    inner_key, outer_key = jax.random.split(key)
    adapted = adapt(task_objective.inner, learned, Data(episode.support), inner_key)
    query = pixels(episode.query)
    gradient, loss = _player_gradients(
        task_objective.objective, lambda players: task_objective.objective.losses(players, query, outer_key), adapted
    )
    way = jax.tree.map(jnp.subtract, adapted, learned.centre)
    return OuterGradient(Initialisation(gradient, jax.tree.map(jnp.multiply, gradient, way)), loss)


def maml(task_objective: MetaObjective, learned: Initialisation, episode: Episode, key: Key) -> OuterGradient:
    """The query's gradient through all inner updates: exact, for about three times the work (Finn et al. 2017)."""
    inner_key, outer_key = jax.random.split(key)

    def losses(learned: Initialisation) -> Players:
        adapted = adapt(task_objective.inner, learned, Data(episode.support), inner_key)
        return task_objective.objective.losses(adapted, pixels(episode.query), outer_key)

    return OuterGradient(*_player_gradients(task_objective.objective, losses, learned))


def multitask(task_objective: MetaObjective, learned: Initialisation, episode: Episode, key: Key) -> OuterGradient:
    """One GAN for all tasks together: the game's own gradient at the centre, on images of either set.

    The plain baseline: what it learns is only fine-tuned on a new task.
    """
    state = initial_inner_state(task_objective.inner, learned, key)
    everything = Data(jnp.concatenate(episode))
    batch_key, game_key = jax.random.split(key)
    game, numbers = task_objective.inner.game, task_objective.inner.hyperparameters
    batch = Batch(*draw(everything, 1, game.batch, batch_key), numbers, game_key)
    gradients, loss, _ = both_gradients(game, state, batch)
    return OuterGradient(Initialisation(gradients, jax.tree.map(jnp.zeros_like, learned.log_scale)), loss)


OUTER: dict[str, Algorithm] = {"reptile": reptile, "fomaml": fomaml, "maml": maml, "multitask": multitask}
MAX_GRADIENT = 10.0  # the longest gradient of one task; those of calm games have lengths of 1 to 5
LEARN_SCALE = ("fomaml", "maml")  # those that learn the scale, too


def _player_gradients(
    objective: QueryObjective, losses: Callable[[Any], Players], at: Pytree
) -> tuple[Any, Float[Array, ""]]:
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


# --- many episodes


class OuterConfig(NamedTuple):
    """How learning goes on: which algorithm, on how many tasks an outer step, and how fast.

    Attributes:
      algorithm: a name in `OUTER`.
      tasks: of a batch.
      episode: how episodes are made.
      optimiser: of what is learned.
      halflife: of the running average of what is learned, in outer steps.
    """

    algorithm: str
    tasks: int
    episode: EpisodeSpec
    optimiser: optax.GradientTransformation
    halflife: float


class OuterState(NamedTuple):
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

    def faster(updates: Any, _: Any) -> Any:
        return updates._replace(log_scale=jax.tree.map(lambda leaf: scale_factor * leaf, updates.log_scale))

    return optax.chain(optax.adam(rate, beta1, beta2), optax.stateless(faster))


def initial_outer_state(config: OuterConfig, learned: Initialisation, key: Key) -> OuterState:
    """Before the first outer step."""
    return OuterState(
        jnp.zeros((), jnp.int32), learned, jax.tree.map(jnp.copy, learned), config.optimiser.init(learned), key
    )


def outer_steps(
    task_objective: MetaObjective, config: OuterConfig, state: OuterState, pool: UInt8[Array, "t n h w c"], steps: Any
) -> tuple[OuterState, Float[Array, ""]]:
    """`steps` outer steps, a traced number, and the mean of their losses. Pure; one compiled program for any number."""

    def body(_: Any, carry: tuple[OuterState, Array]) -> tuple[OuterState, Array]:
        state, total = carry
        state, loss = outer_step(task_objective, config, state, pool)
        return state, total + loss

    state, total = jax.lax.fori_loop(0, steps, body, (state, jnp.zeros(())))
    return state, total / steps


def outer_step(
    task_objective: MetaObjective, config: OuterConfig, state: OuterState, pool: UInt8[Array, "t n h w c"]
) -> tuple[OuterState, Float[Array, ""]]:
    """One batch of tasks, and one step of what is learned.

    Non-finite task gradients are dropped and the others clipped to norm 10: near chaos, gradients through the inner
    loop are thousands of times longer.
    """
    key, batch_key = jax.random.split(state.key)
    quieter = optax.clip_by_global_norm(MAX_GRADIENT)

    def of_task(key: Key) -> OuterGradient:
        episode_key, inner_key = jax.random.split(key)
        found = OUTER[config.algorithm](
            task_objective, state.learned, sample_episode(config.episode, pool, episode_key), inner_key
        )
        gradient, _ = quieter.update(found.gradient, optax.EmptyState())
        return found._replace(gradient=gradient)

    # The mean over the tasks whose gradient is finite in every number; not a number where none is.
    found = over_tasks(of_task)(jax.random.split(batch_key, config.tasks))
    finite = [jnp.all(jnp.isfinite(leaf), axis=tuple(range(1, leaf.ndim))) for leaf in jax.tree.leaves(found)]
    sound = jnp.all(jnp.stack(finite), axis=0)
    masked = lambda leaf: jnp.where(sound.reshape(-1, *[1] * (leaf.ndim - 1)), leaf, 0.0)  # noqa: E731
    gradient, loss = jax.tree.map(lambda leaf: jnp.sum(masked(leaf), axis=0) / jnp.sum(sound), found)
    moves, optimiser = config.optimiser.update(gradient, state.optimiser, state.learned)
    learned: Any = optax.apply_updates(state.learned, moves)
    halflife = jnp.minimum(config.halflife, 0.1 * state.steps)  # early steps are soon forgotten
    share = -jnp.expm1(-jnp.log(2.0) / jnp.maximum(halflife, 1e-6))
    average = jax.tree.map(lambda mean, now: mean + share * (now - mean), state.average, learned)
    return OuterState(state.steps + 1, learned, average, optimiser, key), loss


def over_tasks(of_task: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Tasks side by side on an accelerator; one after the other on a CPU, where products of many weights are slow."""
    if jax.default_backend() == "cpu":
        return partial(jax.lax.map, of_task)
    return jax.vmap(of_task)
