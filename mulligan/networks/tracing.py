"""Functions that others wrote, as the operations that they come down to, and run again with other convolutions.

A network from elsewhere is a Python function that jax can trace. Its trace, a jaxpr, is a list of primitive operations,
and whoever goes through that list may do each of them in a way of his own; `networks.lifting` does so, too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend import core
from jaxtyping import Array

from mulligan.networks.convolution import default_lowering, dilated_products, strided_products

CALLS = ("jit", "pjit", "closed_call", "custom_jvp_call", "custom_vjp_call", "checkpoint", "remat", "remat2")


def with_own_convolutions(function: Callable[..., Array]) -> Callable[..., Array]:
    """The same function with its convolutions lowered as `networks.convolution` lowers them.

    On a CPU a convolution inside a compiled loop is about ten times slower than the matrix products that it can be
    written as. Where the machine's own convolution is right the function is returned as it is.

    Args:
      function: of pytrees of arrays, traceable by jax.
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
        values = [value_of(environment, variable) for variable in equation.invars]
        inner = inner_function(equation)
        if equation.primitive.name == "conv_general_dilated":
            outputs = [convolved(values[0], values[1], equation)]
        elif inner is not None and "conv_general_dilated" in str(inner.jaxpr):
            outputs = _evaluate(inner.jaxpr, inner.consts, values)
        else:
            outputs = bound(equation, values)
        environment.update(zip(equation.outvars, outputs, strict=True))
    return [value_of(environment, variable) for variable in jaxpr.outvars]


def value_of(environment: dict[Any, Any], variable: Any) -> Any:
    return variable.val if isinstance(variable, core.Literal) else environment[variable]


def inner_function(equation: Any) -> Any:
    """The function that an equation calls, if that is all it does."""
    if equation.primitive.name not in CALLS:
        return None
    inner = equation.params.get("jaxpr") or equation.params.get("call_jaxpr")
    return inner if isinstance(inner, core.ClosedJaxpr) else core.ClosedJaxpr(inner, ())


def bound(equation: Any, values: Sequence[Any]) -> list[Any]:
    """The equation as it stands, on these values."""
    outputs = equation.primitive.bind(*values, **equation.primitive.get_bind_params(equation.params))
    return list(outputs) if equation.primitive.multiple_results else [outputs]


def convolved(x: Array, kernel: Array, equation: Any) -> Array:
    """What a `conv_general_dilated` computes, as matrix products where it is a plain or a transposed convolution.

    Args:
      x, kernel: operands as the equation lays them out.
      equation: of the jaxpr; its parameters say the layout, strides and padding.
    """
    params = equation.params
    stride, dilation = params["window_strides"], params["lhs_dilation"]
    plain = dilation == (1, 1) and len(set(stride)) == 1
    transposed = stride == (1, 1) and len(set(dilation)) == 1
    grouped = params["feature_group_count"] * params["batch_group_count"] > 1
    if x.ndim != 4 or grouped or params["rhs_dilation"] != (1, 1) or not (plain or transposed):
        return bound(equation, [x, kernel])[0]
    numbers = params["dimension_numbers"]
    x = x.transpose([numbers.lhs_spec[axis] for axis in (0, 2, 3, 1)])  # a spec is (batch, channels, rows, columns)
    kernel = kernel.transpose([numbers.rhs_spec[axis] for axis in (2, 3, 1, 0)])  # here (out, in, rows, columns)
    if min(kernel.shape[:2]) < max(*stride, *dilation):  # the products need kernels of at least the stride
        return bound(equation, [x, kernel])[0]
    out = equation.outvars[0].aval.shape
    out_hw = (out[numbers.out_spec[2]], out[numbers.out_spec[3]])
    low = tuple(before for before, _ in params["padding"])
    if plain:
        y = strided_products(x, kernel, stride[0], low, out_hw)
    else:
        turned = tuple(side - 1 - before for side, before in zip(kernel.shape[:2], low, strict=True))
        # Where the output begins before the first product, the kernel is made to begin with zeros.
        before = [max(0, -one) for one in turned]
        kernel = jnp.pad(kernel[::-1, ::-1], [(before[0], 0), (before[1], 0), (0, 0), (0, 0)])
        y = dilated_products(x, kernel, dilation[0], (turned[0] + before[0], turned[1] + before[1]), out_hw)
    # `y` is [batch, rows, columns, channels]; a spec says where batch, channels, rows and columns are to go.
    back = [numbers.out_spec.index(axis) for axis in range(4)]
    return y.transpose([(0, 3, 1, 2)[place] for place in back])
