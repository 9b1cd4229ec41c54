"""Running averages of weights, in images seen. Each is a factory of an `Averager` and one line in `AVERAGES`.

Parameters are any pytree of floating-point arrays; averages keep their structure and dtypes. No average gives
any weight to the parameters that `init` was called with.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from mulligan.errors import MulliganError
from mulligan.types import Averager, Pytree

Share = Callable[[Float[Array, ""], Float[Array, ""], Float[Array, ""]], Float[Array, ""]]


class AverageState(NamedTuple):
    """An average and when it was last updated."""

    nimg: Float[Array, ""]  # exact below 2**24 images, and beyond in multiples of the batch's power of two
    params: Pytree


def last() -> Averager:
    """The null average: the last iterate."""
    return _running(lambda before, now, _: jnp.ones_like(now))


def ema(ramp: float = 0.05) -> Averager:
    """Exponential moving average whose half-life is given in images, whatever the batch.

    What was seen `halflife_nimg` images ago has half the weight of the present. Early in a run the half-life
    is `ramp` times the images seen before the step, so that the beginning is soon forgotten (the rule of
    StyleGAN2-ADA and EDM; Karras et al. 2020, arXiv 2006.06676).

    Args:
      ramp: share of the images seen that the half-life may not exceed, > 0.
    """

    def share(before: Array, now: Array, halflife_nimg: Array) -> Array:
        halflife_nimg = jnp.minimum(halflife_nimg, ramp * before)
        # Below a millionth of an image the average is the last iterate; this also avoids 0 / 0.
        return -jnp.expm1(-math.log(2.0) * (now - before) / jnp.maximum(halflife_nimg, 1e-6))

    return _running(share)


def uniform() -> Averager:
    """Mean over all images seen (Polyak and Juditsky 1992): every step weighs as much as its batch."""
    return _running(lambda before, now, _: (now - before) / now)


def power(width: float) -> Averager:
    """Power-function average: what was seen at time `s` weighs `s ** exponent(width)`.

    Its width stays the same share of the run for ever, and any width can be rebuilt from snapshots of two of
    them: see `mulligan.averaging.posthoc` (Karras et al. 2024, arXiv 2312.02696, section 3.1, equation 127).

    Args:
      width: standard deviation of the weights in time, as a share of the images seen, 0 < width < 0.28.

    Raises:
      MulliganError: a width that no power average has.
    """
    gamma = exponent(width)
    # 1 - (before / now) ** (gamma + 1), without the cancellation.
    return _running(lambda before, now, _: -jnp.expm1((gamma + 1) * jnp.log1p((before - now) / now)))


def slow(every_nimg: float = 1000.0, alpha: float = 0.5) -> Averager:
    """Lookahead's slow weights: every `every_nimg` images they go the share `alpha` towards the fast ones.

    Zhang et al. 2019, arXiv 1907.08610, algorithm 1, seen from outside: the fast weights are not reset to the
    slow ones (the lookahead dynamics do that).
    """

    def share(before: Array, now: Array, halflife_nimg: Array) -> Array:
        # A share of 1 at the start, where there are no slow weights yet.
        syncs = jnp.floor(now / every_nimg) - jnp.floor(before / every_nimg)
        return jnp.where(before > 0, 1 - (1 - alpha) ** syncs, 1.0)

    return _running(share)


def exponent(width: float) -> float:
    """The power whose average has relative standard deviation `width`.

    `width**2 = (g + 1) / ((g + 2)**2 (g + 3))` is a cubic in `g` with one root above -1 (arXiv 2312.02696,
    equations 123 and 126).

    Example:
      >>> round(exponent(0.05), 2), round(exponent(0.10), 2)
      (16.97, 6.94)

    Raises:
      MulliganError: a width that no power average has.
    """
    if not 0 < width < 12**-0.5:
        raise MulliganError(f"a power average cannot have width {width}; it lies above 0 and below 0.288.")
    inverse = width**-2.0
    return float(np.roots([1.0, 7.0, 16.0 - inverse, 12.0 - inverse]).real.max())


def power_name(width: float) -> str:
    """The name of the power average of this width.

    Example:
      >>> power_name(0.05)
      'power_05'
    """
    return f"power_{round(100 * width):02d}"


POWER_WIDTHS = {power_name(width): width for width in (0.05, 0.10)}

AVERAGES: dict[str, Callable[[], Averager]] = {
    "last": last,
    "ema": ema,
    "uniform": uniform,
    **{name: partial(power, width) for name, width in POWER_WIDTHS.items()},
    "slow": slow,
}
PLAIN = "ema"  # of these: what is judged where only one is looked at, and what others must beat to be chosen


def several(names: Sequence[str]) -> Averager:
    """Keeps several averages at once; state and value are dicts by name.

    Args:
      names: of `AVERAGES`.

    Raises:
      MulliganError: an unknown name.

    Example:
      >>> both = several(["last", "ema"])
      >>> state = both.update(both.init(jnp.zeros(2)), jnp.ones(2), nimg=64, halflife_nimg=1000.0)
      >>> {name: value.tolist() for name, value in both.value(state).items()}
      {'last': [1.0, 1.0], 'ema': [1.0, 1.0]}
    """
    for name in names:
        if name not in AVERAGES:
            raise MulliganError(f"{name!r} is not an average; choose {', '.join(AVERAGES)}.")
    averagers = {name: AVERAGES[name]() for name in names}

    def update(state: Pytree, params: Pytree, nimg: ArrayLike, halflife_nimg: ArrayLike) -> Pytree:
        return {name: averager.update(state[name], params, nimg, halflife_nimg) for name, averager in averagers.items()}

    return Averager(
        lambda params: {name: averager.init(params) for name, averager in averagers.items()},
        update,
        lambda state: {name: averager.value(state[name]) for name, averager in averagers.items()},
    )


def _running(share: Share) -> Averager:
    """An average that goes the share `share(nimg before, nimg now, halflife_nimg)` towards each iterate."""

    def init(params: Pytree) -> AverageState:
        # Copies: a buffer that is both parameter and average could not be donated.
        return AverageState(jnp.zeros((), jnp.float32), jax.tree.map(jnp.array, params))

    def update(state: AverageState, params: Pytree, nimg: ArrayLike, halflife_nimg: ArrayLike) -> AverageState:
        now = jnp.asarray(nimg, jnp.float32)
        towards = share(state.nimg, now, jnp.asarray(halflife_nimg, jnp.float32))

        def move(average: Array, leaf: Array) -> Array:
            # At a share of 1 the iterate itself, bit for bit.
            moved = average + towards.astype(leaf.dtype) * (leaf - average)
            return jnp.where(towards == 1, leaf, moved)

        return AverageState(now, jax.tree.map(move, state.params, params))

    return Averager(init, update, lambda state: state.params)
