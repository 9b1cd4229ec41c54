"""Functions that others wrote, as the operations that they come down to: run again with other convolutions, or lifted.

A network from elsewhere is a Python function that jax can trace. Its trace, a jaxpr, is a list of primitive operations,
and whoever goes through that list may do each of them in a way of his own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.extend import core
from jaxtyping import Array, Float

from mulligan.networks.convolution import default_lowering, dilated_products, strided_products
from mulligan.types import Logits, Pixels

CALLS = ("jit", "pjit", "closed_call", "custom_jvp_call", "custom_vjp_call", "checkpoint", "remat", "remat2")


def with_own_convolutions(function: Callable[..., Array]) -> Callable[..., Array]:
    """The same function with its convolutions lowered as `networks.convolution` lowers them.

    On a CPU a convolution inside a compiled loop is about ten times slower than the matrix products that it can be
    written as. Where the machine's own convolution is right the function is returned as it is.
    """
    if default_lowering() == "conv":
        return function

    def lowered(*arguments: Any) -> Array:
        closed, shape = jax.make_jaxpr(function, return_shape=True)(*arguments)
        values = _evaluate(closed.jaxpr, closed.consts, jax.tree.leaves(arguments))
        return jax.tree.unflatten(jax.tree.structure(shape), values)

    return lowered


def _evaluate(jaxpr: Any, consts: Sequence[Any], arguments: Sequence[Any]) -> list[Any]:
    """The jaxpr's outputs. Inner functions without convolutions are called as they are."""
    environment = dict(zip((*jaxpr.constvars, *jaxpr.invars), (*consts, *arguments), strict=True))
    for equation in jaxpr.eqns:
        values = [_value(environment, variable) for variable in equation.invars]
        inner = _inner(equation)
        if equation.primitive.name == "conv_general_dilated":
            outputs = [convolved(values[0], values[1], equation)]
        elif inner is not None and "conv_general_dilated" in str(inner.jaxpr):
            outputs = _evaluate(inner.jaxpr, inner.consts, values)
        else:
            outputs = _bound(equation, values)
        environment.update(zip(equation.outvars, outputs, strict=True))
    return [_value(environment, variable) for variable in jaxpr.outvars]


def _value(environment: dict[Any, Any], variable: Any) -> Any:
    return variable.val if isinstance(variable, core.Literal) else environment[variable]


def _inner(equation: Any) -> Any:
    """The function that an equation calls, if that is all it does."""
    if equation.primitive.name not in CALLS:
        return None
    inner = equation.params.get("jaxpr") or equation.params.get("call_jaxpr")
    return inner if isinstance(inner, core.ClosedJaxpr) else core.ClosedJaxpr(inner, ())


def _bound(equation: Any, values: Sequence[Any]) -> list[Any]:
    """The equation as it stands, on these values."""
    outputs = equation.primitive.bind(*values, **equation.primitive.get_bind_params(equation.params))
    return list(outputs) if equation.primitive.multiple_results else [outputs]


def convolved(x: Array, kernel: Array, equation: Any) -> Array:
    """What a `conv_general_dilated` computes, as matrix products where it is a plain or a transposed convolution."""
    params = equation.params
    stride, dilation = params["window_strides"], params["lhs_dilation"]
    plain = dilation == (1, 1) and len(set(stride)) == 1
    transposed = stride == (1, 1) and len(set(dilation)) == 1
    grouped = params["feature_group_count"] * params["batch_group_count"] > 1
    if x.ndim != 4 or grouped or params["rhs_dilation"] != (1, 1) or not (plain or transposed):
        return _bound(equation, [x, kernel])[0]
    numbers = params["dimension_numbers"]
    x = x.transpose([numbers.lhs_spec[axis] for axis in (0, 2, 3, 1)])  # a spec is (batch, channels, rows, columns)
    kernel = kernel.transpose([numbers.rhs_spec[axis] for axis in (2, 3, 1, 0)])  # here (out, in, rows, columns)
    if min(kernel.shape[:2]) < max(*stride, *dilation):  # the products need kernels of at least the stride
        return _bound(equation, [x, kernel])[0]
    out_hw = _out_size(equation, numbers)
    low = tuple(before for before, _ in params["padding"])
    if plain:
        y = strided_products(x, kernel, stride[0], low, out_hw)
    else:
        turned = tuple(side - 1 - before for side, before in zip(kernel.shape[:2], low, strict=True))
        y = _dilated(x, kernel[::-1, ::-1], dilation[0], turned, out_hw)
    back = [numbers.out_spec.index(axis) for axis in range(4)]
    return y.transpose([(0, 3, 1, 2)[place] for place in back])


def _out_size(equation: Any, numbers: Any) -> tuple[int, int]:
    shape = equation.outvars[0].aval.shape
    return shape[numbers.out_spec[2]], shape[numbers.out_spec[3]]


def _dilated(x: Array, kernel: Array, stride: int, low: tuple[int, ...], out_hw: tuple[int, int]) -> Array:
    """`dilated_products` also where the output begins before the first product: its kernel then begins with zeros."""
    before = [max(0, -one) for one in low]
    kernel = jnp.pad(kernel, [(before[0], 0), (before[1], 0), (0, 0), (0, 0)])
    return dilated_products(x, kernel, stride, (low[0] + before[0], low[1] + before[1]), out_hw)


# --- lifting: see networks.piecewise ------------------------------------------------------------------


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
COMPARISONS = ("gt", "ge", "lt", "le", "eq", "ne", "sign", "bitcast_convert_type", "stop_gradient")


def lift(function: Callable[[Pixels], Logits], x: Pixels, inputs: Pixels, scale: Float[Array, " n"]) -> Logits:
    """The function with the slopes that it has at `x`, applied to `inputs`, what it adds to data times `scale`.

    As `networks.piecewise.lifted`, from the function's operations. Nothing may mix the examples of a batch, which is the
    first axis throughout.

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
        values = [_value(environment, variable) for variable in equation.invars]
        inner = _inner(equation)
        if not any(isinstance(value, Lifted | Fixed) for value in values):
            outputs = _bound(equation, values)
        elif inner is not None:
            outputs = _lift(inner.jaxpr, inner.consts, values, scale)
        elif not any(isinstance(value, Lifted) for value in values):
            outputs = [Fixed(output) for output in _bound(equation, [_at(value) for value in values])]
        else:
            outputs = [_lifted(equation, values, scale)]
        environment.update(zip(equation.outvars, outputs, strict=True))
    return [_value(environment, variable) for variable in jaxpr.outvars]


def _lifted(equation: Any, values: Sequence[Any], scale: Array) -> Lifted | Fixed:
    """One operation on values of which one at least is lifted."""
    name = equation.primitive.name

    def run(operands: Sequence[Any]) -> Array:
        if name == "conv_general_dilated" and default_lowering() == "matmul":
            return convolved(operands[0], operands[1], equation)
        return _bound(equation, operands)[0]

    at = run([_at(value) for value in values])
    if name in COMPARISONS:
        return Fixed(at)
    _refuse_mixing(equation, values, at, scale)
    depending = [isinstance(value, Lifted) for value in values]
    if name in LINEAR or (name in ("dot_general", "conv_general_dilated", "mul") and sum(depending) == 1):
        return Lifted(at, run([value.lifted if isinstance(value, Lifted) else _at(value) for value in values]))
    if name == "div" and depending == [True, False]:
        return Lifted(at, run([values[0].lifted, _at(values[1])]))
    if name in ("add", "sub", "add_any", "concatenate"):
        return Lifted(at, run([_scaled(value, at, scale) for value in values]))
    if name == "select_n" and not depending[0]:
        return Lifted(at, run([_at(values[0]), *(_scaled(value, at, scale) for value in values[1:])]))
    if name == "max" and depending == [True, False] and _is_zero(equation.invars[1]):
        return Lifted(at, jnp.where(values[0].at > 0, values[0].lifted, 0))
    if name == "pad" and depending == [True, False] and _is_zero(equation.invars[1]):
        return Lifted(at, run([values[0].lifted, values[1]]))
    raise NotPiecewiseLinearError(name)


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
