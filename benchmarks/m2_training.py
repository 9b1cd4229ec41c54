"""The network of m2 and its training."""
from __future__ import annotations
import jax, jax.numpy as jnp
from families import families, may_ship
WIDTHS, DIMENSION = (24, 48, 96, 160), 128

def network_shapes():
    channels = (3, *WIDTHS)
    shapes = {}
    for i, (a, b) in enumerate(zip(channels, WIDTHS)):
        shapes[f"conv{i}.kernel"] = (4, 4, a, b); shapes[f"conv{i}.bias"] = (b,)
    return {**shapes, "dense.kernel": (4 * WIDTHS[-1], DIMENSION), "dense.bias": (DIMENSION,)}

def levels_and_dense(w, x):
    out = []
    for i in range(len(WIDTHS)):
        x = jax.lax.conv_general_dilated(x, w[f"conv{i}.kernel"], (2, 2), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
        x = jax.nn.leaky_relu(x + w[f"conv{i}.bias"], 0.1); out.append(x)
    n, h, _, c = x.shape
    q = x.reshape(n, 2, h // 2, 2, h // 2, c).mean((2, 4)).reshape(n, -1)
    d = jax.nn.leaky_relu(q @ w["dense.kernel"] + w["dense.bias"], 0.1)
    return jnp.concatenate([*(y.mean((1, 2)) for y in out[1:]), d], 1)

def ships(zoo):
    learning = set(families("learning"))
    return tuple(n for n in may_ship(zoo) if n in learning)
