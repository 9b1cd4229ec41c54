"""Random weights in the shapes of the standard file, the same wherever NumPy runs."""

import numpy as np

from mulligan.metrics.inception import SHAPES


def tensors():
    """Tensors by name, as the file holds them; activations keep about their scale through the network."""
    random = np.random.RandomState(0)  # this generator's numbers are promised never to change
    made = {}
    for name, shape in SHAPES.items():
        made[f"{name}.conv.weight"] = (random.randn(*shape) * (1.7 / np.prod(shape[1:])) ** 0.5).astype(np.float32)
        made[f"{name}.bn.weight"] = (0.7 + 0.5 * random.rand(shape[0])).astype(np.float32)
        made[f"{name}.bn.bias"] = (0.1 * random.randn(shape[0])).astype(np.float32)
        made[f"{name}.bn.running_mean"] = (0.1 * random.randn(shape[0])).astype(np.float32)
        made[f"{name}.bn.running_var"] = (0.6 + 0.6 * random.rand(shape[0])).astype(np.float32)
    return made


def images():
    """Four colour images of 20x24 pixels: noise, and blocks of noise."""
    random = np.random.RandomState(1)
    noise = random.randint(0, 256, (2, 20, 24, 3)).astype(np.uint8)
    blocks = random.randint(0, 256, (2, 5, 6, 3)).astype(np.uint8).repeat(4, 1).repeat(4, 2)
    return np.concatenate([noise, blocks])
