"""Closed-form schedules: a hyperparameter as a function of images seen, `initial * factor(nimg)`.

A schedule's state is a pytree of arrays that holds the initial values and the numbers of every form. So one
compiled step serves all forms of all hyperparameters, and a guard or a meta-learner may change them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int

from mulligan.errors import MulliganError
from mulligan.recipe import Form, Hyperparameters
from mulligan.types import Pytree, Schedule

Curve = Callable[[Any], Array]  # nimg (float32 scalar or [k]) -> value of the same shape


class Forms(NamedTuple):
    """The forms of all `k` hyperparameters, in their order there; fields as in `recipe.Form`."""

    kind: Int[Array, " k"]  # index into FORMS
    rate: Float[Array, " k"]
    final: Float[Array, " k"]
    over_nimg: Float[Array, " k"]  # 0 where the form ends with the run
    warmup_nimg: Float[Array, " k"]
    warmup: Float[Array, " k"]  # share of the run


class ScheduleState(NamedTuple):
    """All that fixes the hyperparameters at any time; every leaf may be changed between steps."""

    initial: Hyperparameters  # float32 scalars
    forms: Forms
    horizon_nimg: Float[Array, ""]  # images of the whole run


def constant(initial: float) -> Curve:
    """The null schedule: `initial` at all times.

    Example:
      >>> float(constant(0.5)(1e6))
      0.5
    """
    return _curve(initial, Form(kind="constant"))


def exponential(initial: float, rate: float) -> Curve:
    """Decays exponentially with images seen: `initial * exp(-rate * nimg)`.

    Args:
      initial: value at the start.
      rate: decay per image, >= 0; 0 gives a constant.

    Returns:
      A function of `nimg` (float32 scalar or [k]) with the shape of its argument.

    Example:
      >>> float(exponential(1.0, 0.0)(1e6))
      1.0
    """
    return _curve(initial, Form(kind="exponential", rate=rate))


def cosine(initial: float, final: float, over_nimg: float) -> Curve:
    """Half a cosine from `initial` to `initial * final`.

    `initial * (final + (1 - final) (1 + cos(pi u)) / 2)` with `u = min(nimg / over_nimg, 1)`
    (Loshchilov and Hutter 2017, arXiv 1608.03983, equation 5, without restarts).

    Args:
      initial: value at the start.
      final: factor reached at the end and held from there, >= 0; may exceed 1.
      over_nimg: images until the end, > 0.

    Returns:
      A function of `nimg` (float32 scalar or [k]) with the shape of its argument.

    Example:
      >>> float(cosine(2.0, 0.5, 1e3)(1000))
      1.0
    """
    return _curve(initial, Form(kind="cosine", final=final, over_nimg=over_nimg))


def linear(initial: float, final: float, over_nimg: float) -> Curve:
    """A straight line from `initial` to `initial * final`, reached at `over_nimg` (> 0) images, then held.

    Example:
      >>> float(linear(2.0, 0.0, 1e3)(250))
      1.5
    """
    return _curve(initial, Form(kind="linear", final=final, over_nimg=over_nimg))


def warm(curve: Curve, warmup_nimg: float) -> Curve:
    """`curve`, multiplied by a line that rises from 0 to 1 over the first `warmup_nimg` (> 0) images.

    Example:
      >>> float(warm(constant(2.0), 1e3)(500))
      1.0
    """
    return lambda nimg: _warmup(_float(nimg), warmup_nimg) * curve(nimg)


def schedule(schedules: Sequence[tuple[str, Form]], horizon_nimg: float | int) -> Schedule:
    """The schedule of a recipe: each named hyperparameter follows its form, all others stay as they are.

    Args:
      schedules: pairs of a field of `Hyperparameters` and its form, as in `Recipe.schedules`.
      horizon_nimg: images of the whole run (the caller's estimate when time is the limit), the end of the
        forms whose `over_nimg` is 0.

    Returns:
      `init(hyperparameters)` gives a `ScheduleState`, which does not change; `value(state, nimg)` gives
      `Hyperparameters` of float32 scalars.

    Raises:
      MulliganError: an unknown hyperparameter or kind, or a form without an end and no horizon (<= 0).

    Example:
      >>> halving = schedule([("gen_lr", Form(kind="linear", final=0.5))], horizon_nimg=1e6)
      >>> float(halving.value(halving.init(Hyperparameters(gen_lr=2.0)), 1e6).gen_lr)
      1.0
    """
    by_name = dict(schedules)
    for name, form in by_name.items():
        if name not in Hyperparameters._fields:
            known = ", ".join(Hyperparameters._fields)
            raise MulliganError(f"{name!r} cannot have a schedule: the hyperparameters are {known}.")
        if form.kind not in FORMS:
            raise MulliganError(f"{form.kind!r} is not a form of schedule (for {name}); choose {', '.join(FORMS)}.")
        if form.kind in ("cosine", "linear") and form.over_nimg <= 0 and horizon_nimg <= 0:
            raise MulliganError(f"the {form.kind} schedule of {name} has no end: give its over_nimg, in images.")
    rows = [by_name.get(name, Form()) for name in Hyperparameters._fields]
    forms = Forms(
        kind=jnp.array([list(FORMS).index(form.kind) for form in rows], jnp.int32),
        rate=_float([form.rate for form in rows]),
        final=_float([form.final for form in rows]),
        over_nimg=_float([form.over_nimg for form in rows]),
        warmup_nimg=_float([form.warmup_nimg for form in rows]),
        warmup=_float([form.warmup for form in rows]),
    )

    def init(hyperparameters: Hyperparameters) -> ScheduleState:
        initial = Hyperparameters(*map(_float, hyperparameters))
        return ScheduleState(initial, jax.tree.map(jnp.copy, forms), _float(max(horizon_nimg, 1.0)))

    def value(state: ScheduleState, nimg: ArrayLike) -> Hyperparameters:
        initial, scales = state.initial, factors(_float(nimg), state.forms, state.horizon_nimg)
        return Hyperparameters(*(value * scale for value, scale in zip(initial, scales, strict=True)))

    return Schedule(init, value, observe=lambda state, info: state)


def with_horizon(state: Pytree, horizon_nimg: float) -> Pytree:
    """A schedule's state, and whatever schedules it is wrapped in, for a run of another length.

    A budget of time is so many images as the machine trains in it, which is known better as the run goes on.
    """

    def longer(path: Any, leaf: Array) -> Array:
        return _float(horizon_nimg) if getattr(path[-1], "name", None) == "horizon_nimg" else leaf

    return jax.tree_util.tree_map_with_path(longer, state)


def factors(nimg: Float[Array, ""], forms: Forms, horizon_nimg: Float[Array, ""]) -> Float[Array, " k"]:
    """What each initial value is multiplied by after `nimg` images. All forms are evaluated, one kept."""
    forms = forms._replace(
        over_nimg=jnp.where(forms.over_nimg > 0, forms.over_nimg, horizon_nimg),
        warmup_nimg=jnp.maximum(forms.warmup_nimg, forms.warmup * horizon_nimg),
    )
    candidates = jnp.stack([factor(nimg, forms) for factor in FORMS.values()])
    chosen = jnp.take_along_axis(candidates, forms.kind[None], axis=0)[0]
    return chosen * _warmup(nimg, forms.warmup_nimg)


# What the initial value is multiplied by after `nimg` images, for a form with the fields of `Form`.
FORMS: dict[str, Callable[[Array, Any], Array]] = {
    "constant": lambda nimg, form: jnp.ones_like(nimg * form.rate),
    "exponential": lambda nimg, form: jnp.exp(-form.rate * nimg),
    "cosine": lambda nimg, form: (
        form.final + (1 - form.final) * (1 + jnp.cos(jnp.pi * _progress(nimg, form.over_nimg))) / 2
    ),
    "linear": lambda nimg, form: 1 + (form.final - 1) * _progress(nimg, form.over_nimg),
}


def _progress(nimg: Array, over_nimg: Any) -> Array:
    # Below one image the end is reached at once; this also keeps the forms that are not selected finite.
    return jnp.minimum(nimg / jnp.maximum(over_nimg, 1.0), 1.0)


def _warmup(nimg: Array, warmup_nimg: Any) -> Array:
    return jnp.where(nimg < warmup_nimg, nimg / jnp.maximum(warmup_nimg, 1.0), 1.0)


def _curve(initial: float, form: Form) -> Curve:
    return lambda nimg: initial * FORMS[form.kind](_float(nimg), form)


def _float(value: Any) -> Array:
    return jnp.asarray(value, jnp.float32)
