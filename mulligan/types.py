"""Aliases and NamedTuples that the floors share: the interfaces that everything hangs on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from jaxtyping import Array, Float, UInt8

Pytree = Any
Key = Array  # a jax.random key
Images = UInt8[Array, "n h w c"]
Pixels = Float[Array, "n h w c"]  # in [-1, 1]
Logits = Float[Array, " n"]


class Loss(NamedTuple):
    """A game: what each player minimises, one value an example, not averaged.

    Both take `(real_logits [n], fake_logits [n])`; a loss that looks at one kind only ignores the other. `ideal` is
    the discriminator's loss at the end of the game, where it can tell nothing: `min_c disc(c, c)`. Where
    `gen_sees_real`, the generator's loss depends on the real logits, and its step pays for them.
    """

    gen: Callable[[Logits, Logits], Logits]
    disc: Callable[[Logits, Logits], Logits]
    ideal: float
    gen_sees_real: bool = False


class Dynamics(NamedTuple):
    """How the two players move.

    `init(gen, disc) -> memory`, what the dynamics needs to remember, () where that is nothing; `step(game, state,
    batch) -> (state, info)` moves both networks, their optimisers and the memory, `state.dynamics`, and leaves
    everything else alone. Where `simultaneous`, both players move once a step, so that
    several discriminator steps have no meaning. `gradients` is what a step costs, in gradients of both players.
    """

    init: Callable[[Pytree, Pytree], Pytree]
    step: Callable[..., tuple[Any, Any]]
    simultaneous: bool
    gradients: int = 1


class Opponents(NamedTuple):
    """Past players that the present ones are trained against as well.

    `init(gen, disc) -> state`; `past(state) -> Past`; `observe(state, gen, disc) -> state` after each round. All are
    jit clean; the size of the state never changes.
    """

    init: Callable[[Pytree, Pytree], Pytree]
    past: Callable[[Pytree], Any]
    observe: Callable[[Pytree, Pytree, Pytree], Pytree]


class Past(NamedTuple):
    """The past players of one round: pytrees like the networks, with a leading axis of `k`."""

    gens: Pytree
    discs: Pytree
    share: Float[Array, " k"]  # of each in the average that a player minimises; the rest is the present opponent's
    weight_decay: Float[Array, ""]  # weight of the squared norm of the player's own parameters in what it minimises


class Schedule(NamedTuple):
    """Hyperparameters as they change while training.

    `init(hyperparameters) -> state`; `value(state, nimg) -> Hyperparameters` of the step that begins after `nimg`
    images; `observe(state, info) -> state` after that step, where `info` is its `StepInfo`. Where `reads_stats`, that
    has `stats`.
    """

    init: Callable[[Any], Pytree]
    value: Callable[[Pytree, Any], Any]
    observe: Callable[[Pytree, Any], Pytree]
    reads_stats: bool = False


class StepInfo(NamedTuple):
    """What one step tells; every number a float32 scalar, so that a chunk of steps stacks to `[steps]`."""

    nimg: Any
    gen_loss: Any
    disc_loss: Any  # without the penalty
    real_logit: Any  # mean
    fake_logit: Any  # mean
    penalty: Any  # unweighted; 0 in a step without penalty
    accuracy: Any  # share of pairs in which the real image has the higher logit
    stats: Any  # StepStats where the schedule reads them, else ()


class StepStats(NamedTuple):
    """What else a learned schedule sees of a step; float32 scalars. RMS is the root of the mean square over entries."""

    real_logit_std: Any  # standard deviation of the logits over the batch
    fake_logit_std: Any
    diversity: Any  # RMS distance of the fakes from their mean, over that of the real images
    contrast: Any  # RMS distance of the real images from their mean; pixels lie in [-1, 1]
    edges: Any  # mean absolute difference of neighbouring pixels of the real images
    gen_grad_rms: Any  # RMS of the gradient
    disc_grad_rms: Any
    gen_grad_cosine: Any  # cosine between the gradient and what the optimiser remembers of those before
    disc_grad_cosine: Any
    gen_param_rms: Any  # RMS of the parameters
    disc_param_rms: Any


class Averager(NamedTuple):
    """A running average over the generators of a run.

    `init(params) -> state`; `update(state, params, nimg, halflife_nimg) -> state` after each step, where `nimg` is the
    number of images seen so far; `value(state) -> params`. All are jit clean; `params` is any pytree of float arrays.
    """

    init: Callable[[Pytree], Pytree]
    update: Callable[[Pytree, Pytree, Any, Any], Pytree]
    value: Callable[[Pytree], Pytree]


class Ftrl(NamedTuple):
    """Follow-the-regularised-leader.

    `init(...) -> state`; `play(state, hint) -> w`; `observe(state, loss) -> state`.
    """

    init: Callable[..., Pytree]
    play: Callable[..., Pytree]
    observe: Callable[..., Pytree]
