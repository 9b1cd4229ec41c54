"""What every contender trains: one description for all, handed to each as JSON, and the arithmetic it takes.

Imports nothing but NumPy, for the peers' environment lacks mulligan's dependencies.
"""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

KERNEL = 4  # side of the stride-2 convolutions
LEAK = 0.2  # slope of the leaky rectifier below zero


@dataclass(frozen=True)
class Workload:
    """One training job: networks, game and optimiser.

    A step draws a random batch of the resident uint8 images and scales it to [-1, 1], draws latents and makes fakes
    of them, moves the discriminator, moves the generator by what the new discriminator says of the same fakes, and
    updates the generator's moving average. Every contender does exactly this; tests/benchmarks holds it.
    """

    name: str
    family: str  # mlp: two hidden layers; conv: two resamplings by KERNEL x KERNEL convolutions of stride 2
    width: int  # mlp: hidden units; conv: channels at 14x14, twice as many at 7x7
    loss: str  # nonsaturating | relativistic
    gamma: float = 0.0  # weight of R1 + R2, both on the full batch in every step; 0 leaves them out
    latent: int = 64
    batch: int = 64
    height: int = 28
    channels: int = 1
    learning_rate: float = 2e-4
    beta1: float = 0.5
    beta2: float = 0.99
    epsilon: float = 1e-8
    ema_nimg: float = 10_000.0  # half-life of the generator's moving average, in images
    data: str = ""  # .npz with `images`; random images when empty

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self))

    @staticmethod
    def from_json(text: str) -> Workload:
        return Workload(**json.loads(text))

    @property
    def ema_decay(self) -> float:
        """What a step keeps of the average."""
        return 0.5 ** (self.batch / self.ema_nimg)

    @property
    def grid(self) -> int:
        """Side of the coarsest resolution of the conv family."""
        return self.height // 4

    @property
    def pixels(self) -> int:
        return self.height * self.height * self.channels


WORKLOADS = {
    "mlp": Workload("mlp", family="mlp", width=128, loss="nonsaturating"),
    "dcgan": Workload("dcgan", family="conv", width=32, loss="nonsaturating"),
    "dcgan-r1r2": Workload("dcgan-r1r2", family="conv", width=32, loss="relativistic", gamma=0.5),
}


def load_images(workload: Workload) -> np.ndarray:
    """The resident training images: uint8 `[n, height, height, channels]`."""
    shape = (workload.height, workload.height, workload.channels)
    if not workload.data:
        return np.random.default_rng(0).integers(0, 256, (60_000, *shape), dtype=np.uint8)
    with np.load(Path(workload.data)) as file:
        images = file["images"]
        train = file["split"] == 0 if "split" in file else slice(None)
    return np.ascontiguousarray(images[train].reshape(-1, *shape))


def parameter_shapes(workload: Workload) -> tuple[list[tuple[int, ...]], list[tuple[int, ...]]]:
    """Shapes of both networks' parameters, layer by layer, weight then bias: (gen, disc).

    Layouts are Keras's: dense `[in, out]`, convolution `[h, w, in, out]`, transposed convolution `[h, w, out, in]`;
    feature maps are flattened as `[h, w, c]`.
    """
    w = workload.width
    if workload.family == "mlp":
        gen = [(workload.latent, w), (w,), (w, w), (w,), (w, workload.pixels), (workload.pixels,)]
        disc = [(workload.pixels, w), (w,), (w, w), (w,), (w, 1), (1,)]
        return gen, disc
    k, c, coarse = KERNEL, workload.channels, workload.grid**2 * 2 * w
    gen = [(workload.latent, coarse), (coarse,), (k, k, w, 2 * w), (w,), (k, k, c, w), (c,)]
    disc = [(k, k, c, w), (w,), (k, k, w, 2 * w), (2 * w,), (coarse, 1), (1,)]
    return gen, disc


def initial_parameters(workload: Workload, seed: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Small random weights that two contenders can both start from, in the layouts of `parameter_shapes`."""
    rng = np.random.default_rng(seed)
    draw = lambda shape: rng.normal(0.0, 0.1, shape).astype(np.float32)  # noqa: E731
    gen, disc = parameter_shapes(workload)
    return [draw(shape) for shape in gen], [draw(shape) for shape in disc]


def layer_products(workload: Workload) -> tuple[list[int], list[int]]:
    """Multiply-adds of each layer's forward pass for one image: (gen, disc).

    A dense layer takes `in * out`. A strided convolution takes `h_out * w_out * k * k * in * out`; the transposed one
    is its gradient and takes the same with `h_in * w_in`. Products with the zeros of the border count, as is usual.
    """
    gen, disc = parameter_shapes(workload)
    weights_gen, weights_disc = gen[::2], disc[::2]
    if workload.family == "mlp":
        return [math.prod(s) for s in weights_gen], [math.prod(s) for s in weights_disc]
    coarse, middle = workload.grid**2, (workload.height // 2) ** 2
    places_gen, places_disc = [1, coarse, middle], [middle, coarse, 1]
    products = lambda shapes, places: [math.prod(s) * n for s, n in zip(shapes, places, strict=True)]  # noqa: E731
    return products(weights_gen, places_gen), products(weights_disc, places_disc)


def step_flops(workload: Workload) -> int:
    """Floating-point operations of the matrix products and convolutions of one training step; a multiply-add is two.

    With G, D the forward cost of the networks and G1, D1 that of their first layers, for each image of the batch:

    * generator: forward G; gradient of the weights G, of the inputs G - G1 (latents need none): 3 G - G1.
    * discriminator's step, for real and fake each: forward D, weights D, inputs D - D1: 2 (3 D - D1).
    * generator's step: forward D on the fakes, and the gradient of their pixels D: 2 D.
      The relativistic loss also needs the logits of the real images: D.
    * R1 and R2, for real and fake each, by standard double backward: the gradient of the pixels D; backward through
      it, weights D and cotangents D - L, where L is the last layer (what enters the gradient there is constant):
      2 (3 D - L). A leaky rectifier is not curved, so no more flows back.

    An implementation may take fewer (one vector-Jacobian product can serve the loss and the penalty); the count
    stays that of the standard algorithm, so that shares of the peak compare the useful work done in a second.
    """
    gen, disc = layer_products(workload)
    g, d = sum(gen), sum(disc)
    products = (3 * g - gen[0]) + 2 * (3 * d - disc[0]) + 2 * d
    if workload.loss == "relativistic":
        products += d
    if workload.gamma > 0:
        products += 2 * (3 * d - disc[-1])
    return 2 * products * workload.batch
