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

    Both take `(real_logits [n], fake_logits [n])`; a loss that looks at one kind only ignores the other.
    """

    gen: Callable[[Logits, Logits], Logits]
    disc: Callable[[Logits, Logits], Logits]


class Schedule(NamedTuple):
    """Hyperparameters as they change while training.

    `init(hyperparameters) -> state`; `update(state, info) -> (Hyperparameters, state)`, where `info` is a `StepInfo`.
    """

    init: Callable[[Any], Pytree]
    update: Callable[[Pytree, Any], tuple[Any, Pytree]]


class StepInfo(NamedTuple):
    """What one step tells; every entry a float32 scalar, so that a chunk of steps stacks to `[steps]`."""

    nimg: Any
    gen_loss: Any
    disc_loss: Any
    real_logit: Any  # mean
    fake_logit: Any  # mean
    penalty: Any  # unweighted; 0 in a step without penalty
    accuracy: Any  # share of pairs in which the real image has the higher logit


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
