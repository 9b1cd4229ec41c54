"""The Inception network of the original FID, from the standard weights file.

The network is Inception-v3 (Szegedy et al. 2015, arXiv 1512.00567) as Heusel et al. 2017 (arXiv 1706.08500) ran it: the
average pools leave the padding out of their means, the last block pools by maximum, there are 1008 classes, and images
are resized to 299x299 as TensorFlow 1 did, without half-pixel centres or antialiasing. The file is the one that
PyTorch's implementations of FID share. Figures agree with those of torch-fidelity.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from mulligan.errors import MulliganError
from mulligan.metrics.embed import Embedding
from mulligan.metrics.torch_file import read_torch_file
from mulligan.types import Images

FILE = "pt_inception-2015-12-05-6726825d.pth"
SIDE = 299  # pixels that every image is resized to
DIMENSION, FLOPS = 2048, 1.1e10  # of the features; operations an image
EPSILON = 1e-3  # of batch normalisation
BATCH = 16  # images at a time: what the first layers make of 299x299 pixels takes 20 MB an image
PROTOCOL = "Inception-v3 of 2015-12-05, resized to 299x299 bilinearly as by TensorFlow 1"

Maps = Float[Array, "n h w c"]
Out = Float[Array, "n oh ow oc"]
Weights = Mapping[str, Array]


def load_inception(path: Path) -> Embedding:
    """The embedding in the standard file: features `[n, 2048]` of the last pooling, for uint8 images of any size.

    Raises:
      MulliganError: no such file (with where to get it), or one that is damaged, holds code or other weights.
    """
    if not path.is_file():
        raise MulliganError(
            f"there is no file {path}: Inception FID needs the weights {FILE}, which the releases of "
            "torch-fidelity and pytorch-fid on GitHub hold; download one and give its path."
        )
    tensors = read_torch_file(path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:8]
    apply = jax.jit(lambda images, weights: features(weights, prepare(images)))
    # The weights are an argument: as constants they would be 87 MB of the compiled program.
    return Embedding(
        name=f"inception-{digest}",
        dimension=DIMENSION,
        features=functools.partial(apply, weights=folded(tensors)),
        flops=lambda height, width: FLOPS,
        batch=BATCH,
    )


def folded(tensors: Mapping[str, np.ndarray]) -> dict[str, Array]:
    """Kernels `[k, k, ci, co]` and biases by convolution: batch normalisation is a scale and a shift of its maps.

    Raises:
      MulliganError: a tensor is missing or has another shape.
    """
    weights: dict[str, Array] = {}
    for name, shape in SHAPES.items():
        try:
            kernel = tensors[f"{name}.conv.weight"]
            scale, shift, mean, variance = (
                tensors[f"{name}.bn.{part}"] for part in ("weight", "bias", "running_mean", "running_var")
            )
        except KeyError as error:
            raise MulliganError(f"these are not the weights {FILE}: {error.args[0]} is missing.") from error
        if kernel.shape != shape:
            raise MulliganError(f"these are not the weights {FILE}: {name} is {kernel.shape}, not {shape}.")
        factor = scale / np.sqrt(variance + EPSILON)
        scaled = (kernel * factor[:, None, None, None]).transpose(2, 3, 1, 0)
        weights[f"{name}.kernel"] = jnp.asarray(scaled, jnp.float32)
        weights[f"{name}.bias"] = jnp.asarray(shift - mean * factor, jnp.float32)
    return weights


def prepare(images: Images) -> Float[Array, "n 299 299 3"]:
    """Resized, about -1 to 1; grey is repeated, and what lies behind transparent pixels is white."""
    x = images.astype(jnp.float32)
    if x.shape[-1] == 4:
        opacity = x[..., 3:] / 255
        x = x[..., :3] * opacity + 255 * (1 - opacity)
    x = jnp.broadcast_to(x, (*x.shape[:3], 3))
    return (_resized(_resized(x, 1), 2) - 128) / 128


def _resized(x: Maps, axis: int) -> Out:
    """Bilinear along one axis: output `i` is taken at `i * size / 299`, and the last pixel goes on."""
    size = x.shape[axis]
    places = jnp.arange(SIDE, dtype=jnp.float32) * jnp.float32(size / SIDE)
    before = jnp.floor(places).astype(jnp.int32)
    share = (places - before).reshape([-1 if one == axis else 1 for one in range(4)])
    low, high = (jnp.take(x, jnp.minimum(one, size - 1), axis=axis) for one in (before, before + 1))
    return low + (high - low) * share


def _block(weights: Weights, name: str, x: Maps, stride: int = 1, same: bool = False) -> Out:
    """Convolution, with zeros around the maps or without, bias and rectifier."""
    kernel = weights[f"{name}.kernel"]
    y = lax.conv_general_dilated(
        x, kernel, (stride, stride), "SAME" if same else "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    return jax.nn.relu(y + weights[f"{name}.bias"])


def _max_pool(x: Maps, stride: int = 2, padding: str = "VALID") -> Out:
    return lax.reduce_window(x, -jnp.inf, lax.max, (1, 3, 3, 1), (1, stride, stride, 1), padding)


def _mean_pool(x: Maps) -> Out:
    """3x3 mean pooling without counting the padding."""
    window, strides = (1, 3, 3, 1), (1, 1, 1, 1)
    total = lax.reduce_window(x, 0.0, lax.add, window, strides, "SAME")
    return total / lax.reduce_window(jnp.ones_like(x[:1, :, :, :1]), 0.0, lax.add, window, strides, "SAME")


def features(weights: Weights, x: Float[Array, "n 299 299 3"]) -> Float[Array, "n 2048"]:
    """The means of the last maps."""
    net = functools.partial(_block, weights)
    x = net("Conv2d_2a_3x3", net("Conv2d_1a_3x3", x, stride=2))
    x = _max_pool(net("Conv2d_2b_3x3", x, same=True))
    x = _max_pool(net("Conv2d_4a_3x3", net("Conv2d_3b_1x1", x)))
    for name in ("Mixed_5b", "Mixed_5c", "Mixed_5d"):
        x = _mixed(weights, name, WIDE, x)
    x = _mixed(weights, "Mixed_6a", SMALLER, x, stride=2)
    for name in ("Mixed_6b", "Mixed_6c", "Mixed_6d", "Mixed_6e"):
        x = _mixed(weights, name, LONG, x)
    x = _mixed(weights, "Mixed_7a", SMALLEST, x, stride=2)
    x = _mixed(weights, "Mixed_7b", SPLIT, x)
    # The last block pools by maximum: probably an error of the network that FID was made with, now part of the figure.
    x = _mixed(weights, "Mixed_7c", SPLIT, x, pool=functools.partial(_max_pool, stride=1, padding="SAME"))
    return x.mean(axis=(1, 2))


def _mixed(
    weights: Weights,
    name: str,
    branches: tuple[str, ...],
    x: Maps,
    stride: int = 1,
    pool: Callable[[Maps], Out] = _mean_pool,
) -> Out:
    """Branches side by side, each of convolutions one after the other; where the maps get smaller the last one does it.

    Smaller maps also have the pooled input itself beside them. Branches that begin with the same convolution share it:
    under jit, XLA computes equal operations once.
    """
    outputs = []
    for branch in branches:
        *first, last = branch.split()
        y = pool(x) if last == "branch_pool" else x
        for convolution in first:
            y = _block(weights, f"{name}.{convolution}", y, same=True)
        outputs.append(_block(weights, f"{name}.{last}", y, stride, same=stride == 1))
    return jnp.concatenate([*outputs, *([_max_pool(x)] if stride > 1 else [])], axis=-1)


# --- the branches of the mixed blocks, and their convolutions' shapes, (out, in, rows, columns) ----------

WIDE = ("branch1x1", "branch5x5_1 branch5x5_2", "branch3x3dbl_1 branch3x3dbl_2 branch3x3dbl_3", "branch_pool")
SMALLER = ("branch3x3", "branch3x3dbl_1 branch3x3dbl_2 branch3x3dbl_3")
LONG = (
    "branch1x1",
    "branch7x7_1 branch7x7_2 branch7x7_3",
    "branch7x7dbl_1 branch7x7dbl_2 branch7x7dbl_3 branch7x7dbl_4 branch7x7dbl_5",
    "branch_pool",
)
SMALLEST = ("branch3x3_1 branch3x3_2", "branch7x7x3_1 branch7x7x3_2 branch7x7x3_3 branch7x7x3_4")
SPLIT = (
    "branch1x1",
    "branch3x3_1 branch3x3_2a",
    "branch3x3_1 branch3x3_2b",
    "branch3x3dbl_1 branch3x3dbl_2 branch3x3dbl_3a",
    "branch3x3dbl_1 branch3x3dbl_2 branch3x3dbl_3b",
    "branch_pool",
)

Sizes = dict[str, tuple[int, int, int, int]]


def _wide_shapes(mixed: str, inputs: int, pooled: int) -> Sizes:
    return _named(
        mixed,
        branch1x1=(64, inputs, 1, 1),
        branch5x5_1=(48, inputs, 1, 1),
        branch5x5_2=(64, 48, 5, 5),
        branch3x3dbl_1=(64, inputs, 1, 1),
        branch3x3dbl_2=(96, 64, 3, 3),
        branch3x3dbl_3=(96, 96, 3, 3),
        branch_pool=(pooled, inputs, 1, 1),
    )


def _long_shapes(mixed: str, inner: int) -> Sizes:
    return _named(
        mixed,
        branch1x1=(192, 768, 1, 1),
        branch7x7_1=(inner, 768, 1, 1),
        branch7x7_2=(inner, inner, 1, 7),
        branch7x7_3=(192, inner, 7, 1),
        branch7x7dbl_1=(inner, 768, 1, 1),
        branch7x7dbl_2=(inner, inner, 7, 1),
        branch7x7dbl_3=(inner, inner, 1, 7),
        branch7x7dbl_4=(inner, inner, 7, 1),
        branch7x7dbl_5=(192, inner, 1, 7),
        branch_pool=(192, 768, 1, 1),
    )


def _split_shapes(mixed: str, inputs: int) -> Sizes:
    return _named(
        mixed,
        branch1x1=(320, inputs, 1, 1),
        branch3x3_1=(384, inputs, 1, 1),
        branch3x3_2a=(384, 384, 1, 3),
        branch3x3_2b=(384, 384, 3, 1),
        branch3x3dbl_1=(448, inputs, 1, 1),
        branch3x3dbl_2=(384, 448, 3, 3),
        branch3x3dbl_3a=(384, 384, 1, 3),
        branch3x3dbl_3b=(384, 384, 3, 1),
        branch_pool=(192, inputs, 1, 1),
    )


def _named(mixed: str, **shapes: tuple[int, int, int, int]) -> Sizes:
    return {f"{mixed}.{name}": shape for name, shape in shapes.items()}


SHAPES: Sizes = {
    "Conv2d_1a_3x3": (32, 3, 3, 3),
    "Conv2d_2a_3x3": (32, 32, 3, 3),
    "Conv2d_2b_3x3": (64, 32, 3, 3),
    "Conv2d_3b_1x1": (80, 64, 1, 1),
    "Conv2d_4a_3x3": (192, 80, 3, 3),
    **_wide_shapes("Mixed_5b", 192, 32),
    **_wide_shapes("Mixed_5c", 256, 64),
    **_wide_shapes("Mixed_5d", 288, 64),
    **_named(
        "Mixed_6a",
        branch3x3=(384, 288, 3, 3),
        branch3x3dbl_1=(64, 288, 1, 1),
        branch3x3dbl_2=(96, 64, 3, 3),
        branch3x3dbl_3=(96, 96, 3, 3),
    ),
    **_long_shapes("Mixed_6b", 128),
    **_long_shapes("Mixed_6c", 160),
    **_long_shapes("Mixed_6d", 160),
    **_long_shapes("Mixed_6e", 192),
    **_named(
        "Mixed_7a",
        branch3x3_1=(192, 768, 1, 1),
        branch3x3_2=(320, 192, 3, 3),
        branch7x7x3_1=(192, 768, 1, 1),
        branch7x7x3_2=(192, 192, 1, 7),
        branch7x7x3_3=(192, 192, 7, 1),
        branch7x7x3_4=(192, 192, 3, 3),
    ),
    **_split_shapes("Mixed_7b", 1280),
    **_split_shapes("Mixed_7c", 2048),
}
