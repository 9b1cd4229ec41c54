"""Lifting functions that others wrote: what `networks.piecewise` does to mulligan's own discriminators.

Every operation of the function's trace is done twice, on the value at the input and on the lifted one, as long as it is
linear in pieces.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.extend import core
from jaxtyping import Array, Float

from mulligan.networks.convolution import default_lowering
from mulligan.networks.tracing import bound, convolved, inner_function, value_of
from mulligan.types import Logits, Pixels


class NotPiecewiseLinearError(Exception):
    """A function that cannot be lifted; never shown to people."""


class Lifted(NamedTuple):
    """A value that depends on the input: as it is, and lifted."""

    at: Array
    lifted: Array


class Fixed(NamedTuple):
    """A value that depends on the input and has no slope in it: a comparison, or noise made from the input's bits."""

    at: Array


LINEAR = (
    "broadcast_in_dim",
    "convert_element_type",
    "copy",
    "expand_dims",
    "neg",
    "reduce_sum",
    "reshape",
    "rev",
    "slice",
    "squeeze",
    "transpose",
)
BILINEAR = ("dot_general", "conv_general_dilated", "mul")
SUMS = ("add", "sub", "add_any", "concatenate")
COMPARISONS = ("gt", "ge", "lt", "le", "eq", "ne", "sign", "bitcast_convert_type", "stop_gradient")


def lift(function: Callable[[Pixels], Logits], x: Pixels, inputs: Pixels, scale: Float[Array, " n"]) -> Logits:
    """The function with the slopes that it has at `x`, applied to `inputs`, what it adds to data times `scale`.

    As `networks.piecewise.lifted`, from the function's operations. Nothing may mix the examples of a batch, which
    is the first axis throughout.

    Args:
      function: from pixels to logits, traceable by jax.
      x: where the slopes are taken; nothing is differentiated through this.
      inputs: of the shape of `x`.
      scale: one number an example, for what the function adds to data.

    Raises:
      NotPiecewiseLinearError: an operation that is not linear in pieces, or moves the batch.
    """
    closed = jax.make_jaxpr(function)(x)
    (out,) = _lift(closed.jaxpr, closed.consts, [Lifted(jax.lax.stop_gradient(x), inputs)], scale)
    if not isinstance(out, Lifted):
        raise NotPiecewiseLinearError("the outcome does not depend on the input")
    return out.lifted


def _lift(jaxpr: Any, consts: Sequence[Any], arguments: Sequence[Any], scale: Array) -> list[Any]:
    environment = dict(zip((*jaxpr.constvars, *jaxpr.invars), (*consts, *arguments), strict=True))
    for equation in jaxpr.eqns:
        values = [value_of(environment, variable) for variable in equation.invars]
        inner = inner_function(equation)
        if not any(isinstance(value, Lifted | Fixed) for value in values):
            outputs = bound(equation, values)
        elif inner is not None:
            outputs = _lift(inner.jaxpr, inner.consts, values, scale)
        elif not any(isinstance(value, Lifted) for value in values):
            outputs = [Fixed(output) for output in bound(equation, [_at(value) for value in values])]
        else:
            outputs = [_lifted(equation, values, scale)]
        environment.update(zip(equation.outvars, outputs, strict=True))
    return [value_of(environment, variable) for variable in jaxpr.outvars]


def _lifted(equation: Any, values: Sequence[Any], scale: Array) -> Lifted | Fixed:
    """One operation on values of which one at least is lifted."""
    name = equation.primitive.name

    def run(operands: Sequence[Any]) -> Array:
        if name == "conv_general_dilated" and default_lowering() == "matmul":
            return convolved(operands[0], operands[1], equation)
        return bound(equation, operands)[0]

    at = run([_at(value) for value in values])
    if name in COMPARISONS:
        return Fixed(at)
    _refuse_mixing(equation, values, at, scale)
    depending = [isinstance(value, Lifted) for value in values]
    on_first = depending == [True, False]
    if name in LINEAR or (name in BILINEAR and sum(depending) == 1) or (name == "div" and on_first):
        lifted = run([value.lifted if isinstance(value, Lifted) else _at(value) for value in values])
    elif name in SUMS:
        lifted = run([_scaled(value, at, scale) for value in values])
    elif name == "select_n" and not depending[0]:
        lifted = run([_at(values[0]), *(_scaled(value, at, scale) for value in values[1:])])
    elif name == "max" and on_first and _is_zero(equation.invars[1]):
        lifted = jnp.where(values[0].at > 0, values[0].lifted, 0)
    elif name == "pad" and on_first and _is_zero(equation.invars[1]):
        lifted = run([values[0].lifted, values[1]])
    else:
        raise NotPiecewiseLinearError(name)
    return Lifted(at, lifted)


def _at(value: Any) -> Any:
    return value.at if isinstance(value, Lifted | Fixed) else value


def _scaled(value: Any, like: Array, scale: Array) -> Array:
    """A lifted operand; of a constant one, as many times as `scale` says for each example."""
    if isinstance(value, Lifted):
        return value.lifted
    constant = jnp.broadcast_to(_at(value), like.shape) if jnp.ndim(_at(value)) == 0 else _at(value)
    return constant * scale.reshape(-1, *[1] * (like.ndim - 1)).astype(like.dtype)


def _is_zero(variable: Any) -> bool:
    return isinstance(variable, core.Literal) and float(variable.val) == 0.0


def _refuse_mixing(equation: Any, values: Sequence[Any], at: Array, scale: Array) -> None:
    """Raises where the first axis of the outcome may no longer be the batch."""
    name, params = equation.primitive.name, equation.params
    first = next(value for value in values if isinstance(value, Lifted))
    moved = {
        "transpose": lambda: params["permutation"][0] != 0,
        "reduce_sum": lambda: 0 in params["axes"],
        "rev": lambda: 0 in params["dimensions"],
        "broadcast_in_dim": lambda: params["broadcast_dimensions"][0] != 0,
        "concatenate": lambda: params["dimension"] == 0,
        "dot_general": lambda: (
            values[0] is not first or 0 in params["dimension_numbers"][0][0] or bool(params["dimension_numbers"][1][0])
        ),
        "conv_general_dilated": lambda: (
            params["dimension_numbers"].lhs_spec[0] != 0 or params["dimension_numbers"].out_spec[0] != 0
        ),
    }
    if at.ndim == 0 or at.shape[0] != len(scale) or first.at.shape[:1] != at.shape[:1]:
        raise NotPiecewiseLinearError(f"{name} changes the batch")
    if name in moved and moved[name]():
        raise NotPiecewiseLinearError(f"{name} moves the batch")
