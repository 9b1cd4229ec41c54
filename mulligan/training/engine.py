"""A recipe on a task as compiled programs: a chunk of training, and sampling."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec
from jaxtyping import Array, Float, UInt8

from mulligan.averaging.weights import several
from mulligan.errors import MulliganError
from mulligan.game.augment import POLICIES, augment
from mulligan.game.critics import Critics
from mulligan.game.dynamics import DYNAMICS
from mulligan.game.losses import LOSSES
from mulligan.game.matching import energy
from mulligan.game.penalties import PENALTIES, lazy, r1r2_piecewise
from mulligan.game.step import Data, Game, GanState, initial_state, step, to_bytes
from mulligan.networks.architecture import FAMILIES, Networks, abstract, computing_in
from mulligan.networks.convolution import default_lowering, lowered
from mulligan.networks.features import critics_of, load_features
from mulligan.networks.piecewise import is_piecewise_linear, lifted
from mulligan.networks.pretrained import initial_networks, load_initial
from mulligan.online.opponents import queue
from mulligan.recipe import Architecture, Recipe
from mulligan.schedules.closed import schedule
from mulligan.schedules.gap import gap_aware
from mulligan.schedules.learned import learned, shipped
from mulligan.training.latents import LatentPrior
from mulligan.training.mesh import replicated
from mulligan.types import Key, Pytree, StepInfo

SAMPLE_BATCH = 100
PENALTY_FACTOR = 3.0  # of the penalty on critics' slopes, over the discriminator's


class ChunkInfo(NamedTuple):
    """What a chunk of training tells."""

    means: StepInfo  # without signs
    finite: Array  # true when every loss and every parameter of both players is


class Engine(NamedTuple):
    """Compiled programs of one recipe on images of one shape.

    Attributes:
      game: the static choices.
      chunk: `(state, data, steps) -> (state, ChunkInfo)`; the state's buffers are given away.
      flops_per_step: as the compiler counts the program, on all devices together.
      compile_seconds: what compiling, or loading from the cache, took.
    """

    game: Game
    chunk: Callable[[GanState, Data, int], tuple[GanState, ChunkInfo]]
    flops_per_step: float
    compile_seconds: float


@lru_cache(maxsize=64)  # one object for one game: programs are kept by it
def make_game(recipe: Recipe, shape: tuple[int, int, int], classes: int, horizon_nimg: float) -> Game:
    """The static choices of a recipe on images of this shape.

    Args:
      horizon_nimg: images of the whole run, where schedules without an end of their own end.

    Raises:
      MulliganError: a name that no family has, or a choice that contradicts another.
    """
    dynamics = _choose(DYNAMICS, recipe.dynamics, "dynamics")
    if dynamics.simultaneous and recipe.disc_steps != 1:
        raise MulliganError(f"{recipe.dynamics} dynamics move both players once a step: set disc_steps to 1.")
    if recipe.matching and recipe.architecture.family not in FAMILIES:
        raise MulliganError("matching looks into mulligan's own discriminators: set it to 0 for models of your own.")
    if recipe.precision != "float32" and recipe.architecture.family not in FAMILIES:
        raise MulliganError("precision is for mulligan's own networks: set it to float32 for models of your own.")
    if recipe.features and recipe.dynamics != "alternating":
        raise MulliganError(
            "critics are asked between the players' turns: set dynamics to alternating, or features to ''."
        )
    policies = [name for name in recipe.augmentation if _choose(POLICIES, name, "augmentation")]
    loss = _choose(LOSSES, recipe.loss, "loss")()

    penalty = _choose(PENALTIES, recipe.penalty, "penalty").penalty
    networks = abstract(recipe.architecture, shape, classes)
    if recipe.penalty == "r1r2" and is_piecewise_linear(networks.disc):
        penalty = r1r2_piecewise(lifted)  # the same numbers from two thirds of the work

    followed = schedule(recipe.schedules, horizon_nimg)
    if recipe.gap_aware:
        followed = gap_aware(followed, loss.ideal)
    if recipe.learned_schedule:
        followed = learned(followed, loss, shipped(recipe.learned_schedule), horizon_nimg)

    seen = lambda disc, images, labels: (images, *disc.hidden(images))  # noqa: E731
    return Game(
        loss=loss,
        penalty=lazy(penalty, recipe.penalty_every),
        augment=augment(policies) if policies else None,
        dynamics=dynamics,
        schedule=followed,
        averager=several(recipe.averages),
        batch=recipe.batch,
        disc_steps=recipe.disc_steps,
        latent=recipe.architecture.latent,
        opponents=queue(recipe.opponents) if recipe.opponents else None,
        critics=_critics(recipe, shape, classes) if recipe.features else None,
        matching=energy(seen, recipe.matching) if recipe.matching else None,
    )


def _critics(recipe: Recipe, shape: tuple[int, int, int], classes: int) -> Critics:
    """The critics of a recipe, whose penalty is R1 and R2 whatever the discriminator's: that is what was measured."""
    features = load_features(recipe.features)
    make = critics_of(features.shapes(shape), classes)
    return Critics(
        features,
        make,
        r1r2_piecewise(lifted),
        PENALTY_FACTOR,
        weight=recipe.features_weight,
        every=recipe.features_every,
    )


def _choose(family: dict[str, Any], name: str, kind: str) -> Any:
    if name not in family:
        raise MulliganError(f"{name!r} is not a {kind}; choose {', '.join(family)}.")
    return family[name]


def start_state(
    game: Game,
    recipe: Recipe,
    shape: tuple[int, int, int],
    classes: int,
    seed: int,
    players: tuple[Pytree, Pytree] | None = None,
) -> GanState:
    """The state before the first step: one program, since eager calls are slow.

    Args:
      players: generator and discriminator to start from; None for those that the recipe begins with.
    """

    make = _starting(game, recipe, shape, classes)
    return make(jax.random.key(seed), players, None if players else load_initial(recipe, shape))


@lru_cache(maxsize=64)
def _starting(game: Game, recipe: Recipe, shape: tuple[int, int, int], classes: int) -> Callable[..., GanState]:
    @jax.jit
    def make(key: Key, given: Any, learned: Any) -> GanState:
        network_key, game_key = jax.random.split(key)
        gen, disc = given or initial_networks(recipe, shape, classes, network_key, learned)
        gen, disc = computing_in(recipe.precision, Networks(gen, disc))
        return initial_state(game, gen, disc, recipe.hyperparameters, game_key)

    return make


def compile_engine(game: Game, state: GanState, data: Data) -> Engine:
    """A compiled chunk of training for states and data of these shapes; a process compiles each once.

    Args:
      game: the static choices.
      state: whose shapes and types count.
      data: arrays, or their shapes (`Feed.shapes`). Where the game has a mesh, chunks want them on all of its devices;
        states get there by themselves.

    Raises:
      JaxRuntimeError: the device has no memory for it.
    """
    started = time.monotonic()
    # Shapes instead of arrays: the cache below would keep the arrays alive.
    leaves, structure = jax.tree.flatten((state, data))
    shapes = tuple(jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for leaf in leaves)
    compiled = _compiled(game, structure, shapes, default_lowering())
    cost: Any = compiled.cost_analysis() or {}
    return Engine(
        game=game,
        chunk=lambda state, data, steps: compiled(replicated(state, game.mesh), data, jnp.int32(steps)),
        # The compiler counts one device's share.
        flops_per_step=float(cost.get("flops", 0.0)) * (game.mesh.size if game.mesh else 1),
        compile_seconds=time.monotonic() - started,
    )


@lru_cache(maxsize=16)
def _compiled(game: Game, structure: Any, shapes: tuple[jax.ShapeDtypeStruct, ...], lowering: str) -> Any:
    everywhere = NamedSharding(game.mesh, PartitionSpec()) if game.mesh else None
    shapes = tuple(jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=everywhere) for leaf in shapes)
    state, data = jax.tree.unflatten(structure, shapes)
    # The state's buffers are given away, so that a chunk needs the memory of one state and not of two.
    program = jax.jit(
        lambda state, data, steps: chunk(game, state, data, steps), donate_argnums=0, out_shardings=everywhere
    )
    with lowered(lowering):
        return program.lower(state, data, jnp.int32(1)).compile()


def chunk(game: Game, state: GanState, data: Data, steps: Array | int) -> tuple[GanState, ChunkInfo]:
    """`steps` steps and the means of what they tell.

    Traced, the number leaves one program for all lengths; a Python number can be differentiated through.

    Args:
      game: the static choices.
      state: before the first step.
      data: that batches are drawn from.
      steps: >= 1.
    """

    def body(_: Any, carry: tuple[GanState, StepInfo]) -> tuple[GanState, StepInfo]:
        state, total = carry
        state, info = step(game, state, data)
        return state, jax.tree.map(jnp.add, total, info._replace(stats=()))

    nothing = StepInfo(*(jnp.zeros(()) for _ in StepInfo._fields))._replace(stats=())
    state, total = jax.lax.fori_loop(0, steps, body, (state, nothing))
    means = jax.tree.map(lambda value: value / steps, total)
    # A sum is finite only where all that is summed is, and is cheaper to compile than a test of each number.
    numbers = [jnp.sum(leaf) for leaf in jax.tree.leaves((means, state.gen, state.disc))]
    return state, ChunkInfo(means, jnp.isfinite(jnp.stack(numbers)).all())


@jax.jit
def _draw(gen: Pytree, latents: Float[Array, "n latent"], labels: Any) -> UInt8[Array, "n h w c"]:
    return to_bytes(gen(latents, labels))


@dataclass(frozen=True)
class Sampler:
    """Images from generators of one architecture, image shape and number of classes."""

    architecture: Architecture
    classes: int
    program: Callable[[Pytree, Float[Array, "n latent"], Any], UInt8[Array, "n h w c"]]
    prior: LatentPrior | None = field(default=None, compare=False)  # None draws normal latents

    @staticmethod
    def make(architecture: Architecture, classes: int) -> Sampler:
        """Compiles on first use, once for each image shape."""
        return Sampler(architecture, classes, _draw)

    def latents(self, n: int, seed: int) -> Float[np.ndarray, "n latent"]:
        """The latents of samples 0 to n - 1 of this seed; the first are the same for every `n`."""
        normal = np.random.default_rng(seed).standard_normal((n, self.architecture.latent), np.float32)
        return normal if self.prior is None else self.prior.around(normal, np.random.default_rng([seed, 1]).random(n))

    def __call__(
        self, gen: Pytree, latents: Float[np.ndarray, "n latent"], labels: np.ndarray | None = None
    ) -> UInt8[np.ndarray, "n h w c"]:
        """Images of these latents; when conditional, labels left out run through the classes in turn."""
        if self.classes and labels is None:
            labels = np.arange(len(latents)) % self.classes
        images = []
        for start in range(0, len(latents), SAMPLE_BATCH):
            # The last batch is filled up with the last latent: one compiled program serves every number of images.
            rows = np.minimum(np.arange(start, start + SAMPLE_BATCH), len(latents) - 1)
            chosen = None if labels is None else jnp.asarray(labels[rows], jnp.int32)
            images.append(self.program(gen, jnp.asarray(latents[rows]), chosen))
        return np.concatenate([np.asarray(batch) for batch in images])[: len(latents)]
