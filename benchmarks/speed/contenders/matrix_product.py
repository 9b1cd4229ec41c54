"""The machine's speed limit: float32 products of two 2048 x 2048 matrices, one a step.

python -m benchmarks.speed.contenders.matrix_product jax|numpy|torch
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.speed.worker import Contender, Weights, serve

SIDE = 2048
FLOPS = 2 * SIDE**3


class Products:
    """`product()` starts one product and returns it, `wait` returns when it is there."""

    def __init__(self, product: Callable[[], Any], wait: Callable[[Any], Any]):
        self.product, self.wait = product, wait

    def run(self, steps: int) -> None:
        for _ in range(steps):
            self.wait(self.product())

    def replay(self, start: Weights, batches: np.ndarray, latents: np.ndarray) -> Weights:
        raise NotImplementedError("a matrix product trains nothing.")


def of_jax(a: np.ndarray) -> Products:
    import jax

    multiply, x = jax.jit(jax.numpy.matmul), jax.device_put(a)
    return Products(lambda: multiply(x, x), jax.block_until_ready)


def of_numpy(a: np.ndarray) -> Products:
    return Products(lambda: a @ a, lambda done: done)


def of_torch(a: np.ndarray) -> Products:
    import torch

    torch.set_num_threads(os.cpu_count() or 1)
    x = torch.from_numpy(a)
    return Products(lambda: x @ x, lambda done: done)


LIBRARIES = {"jax": of_jax, "numpy": of_numpy, "torch": of_torch}


if __name__ == "__main__":
    library = sys.argv[1]
    matrix = np.random.default_rng(0).standard_normal((SIDE, SIDE), np.float32)
    serve(lambda: Contender({}, {library: LIBRARIES[library](matrix)}))
