"""What `embedding.py` trains: the candidates, the classifiers that judge them, and half-trained generators.

Everything trained is kept in the folder `work`, and read from there the next time; `work/log` tells of progress.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from safetensors.numpy import load_file, save_file

from mulligan.metrics.embed import preprocess
from mulligan.metrics.embedding_network import DESIGNS, activations, random_weights, weight_shapes

M1 = DESIGNS["m1"]
SIDE = M1.sides[0][0]
JUDGED = 1000  # images in the reference and in each corrupted set, or half of what is held out


class Labelled(NamedTuple):
    """Images uint8 `[n, h, w, c]`, their classes and their modes (what is dropped by "modes"), int `[n]`."""

    images: np.ndarray
    labels: np.ndarray
    modes: np.ndarray

    def at(self, rows: np.ndarray) -> Labelled:
        return Labelled(self.images[rows], self.labels[rows], self.modes[rows])


class Split(NamedTuple):
    """Training images, and two disjoint halves of what is held out: the reference, and what is corrupted."""

    train: Labelled
    reference: Labelled
    source: Labelled


def read(data: Path, name: str) -> Split:
    """Splits at random: 70% (at most 20,000) train, then a reference of `JUDGED`, then up to 5,000 more."""
    stored = np.load(data / f"{name}.npz")
    images, labels = stored["images"], stored["labels"]
    images = images[..., None] if images.ndim == 3 else images
    modes = stored["alphabet"].astype(np.int64) if name == "omniglot" else labels
    keep = np.flatnonzero(~stored["skin_tone_variant"]) if name == "emoji_noto" else np.arange(len(images))
    everything = Labelled(images, labels, modes).at(np.random.default_rng(0).permutation(keep))
    n = len(keep)
    cut = int(0.7 * n)
    judged = min(JUDGED, (n - cut) // 2)
    starts = [(0, min(cut, 20_000)), (cut, cut + judged), (cut + judged, cut + judged + 5000)]
    return Split(*(everything.at(np.arange(n)[start:end]) for start, end in starts))


Log = Callable[[str], None]


def log_to(work: Path, what: str) -> Log:
    """Appends lines to `work/log`."""

    def log(line: str) -> None:
        with (work / "log").open("a") as file:
            file.write(f"{what} {line}\n")

    return log


def fit(loss: Callable, params: Any, batches: Iterator, steps: int, log: Log) -> Any:
    """Adam with a cosine rate: `loss(params, batch, key) -> scalar`; logs progress."""
    optimiser = optax.adamw(optax.warmup_cosine_decay_schedule(0.0, 2e-3, steps // 20, steps), weight_decay=1e-3)

    @jax.jit
    def step(params, state, batch, key):
        value, gradient = jax.value_and_grad(loss)(params, batch, key)
        updates, state = optimiser.update(gradient, state, params)
        return optax.apply_updates(params, updates), state, value

    state, started = optimiser.init(params), time.monotonic()
    for index in range(steps):
        params, state, value = step(params, state, next(batches), jax.random.key(index))
        if index % 100 == 99 or index == steps - 1:
            log(f"{index + 1}/{steps} loss {value:.3f} {time.monotonic() - started:.0f}s")
    return params


def batches_of(sets: dict[str, Labelled], batch: int, seed: int) -> Iterator[dict[str, tuple[np.ndarray, np.ndarray]]]:
    """Without end: for each set, `batch` images and labels drawn with replacement."""
    rng = np.random.default_rng(seed)
    while True:
        rows = {name: rng.integers(len(each.labels), size=batch) for name, each in sets.items()}
        yield {name: (each.images[rows[name]], each.labels[rows[name]]) for name, each in sets.items()}


def shifted(pixels: jax.Array, key: jax.Array) -> jax.Array:
    """Each image shifted by up to 2 pixels either way, wrapping round; one in two inverted."""
    keys = jax.random.split(key, 2)
    by = jax.random.randint(keys[0], (len(pixels), 2), -2, 3)
    moved = jax.vmap(lambda image, shift: jnp.roll(image, shift, (0, 1)))(pixels, by)
    return moved * jax.random.choice(keys[1], jnp.array([-1.0, 1.0]), (len(pixels), 1, 1, 1))


def classification(network: Callable, names: tuple[str, ...]) -> Callable:
    """The mean over sets of the cross-entropy of a linear head on `network(weights, pixels) -> [n, d]`."""

    def loss(params, batch, key):
        pixels = jnp.concatenate([preprocess(batch[name][0], SIDE) for name in names])
        parts = jnp.split(network(params, shifted(pixels, key)), len(names))
        losses = [
            optax.softmax_cross_entropy_with_integer_labels(part @ params[f"head.{name}"], batch[name][1]).mean()
            for name, part in zip(names, parts, strict=True)
        ]
        return sum(losses) / len(losses)

    return loss


def head_shapes(sets: dict[str, Labelled], width: int) -> dict[str, tuple[int, ...]]:
    return {f"head.{name}": (width, int(each.labels.max()) + 1) for name, each in sets.items()}


def train_candidate(sets: dict[str, Split], without: str | None, steps: int, work: Path) -> dict[str, np.ndarray]:
    """The network of m1, trained on all sets but one; its features standardised over the same images."""
    path = work / f"candidate-without-{without}-{steps}.safetensors"
    if not path.exists():
        train = {name: split.train for name, split in sets.items() if name != without}
        names = tuple(train)
        loss = classification(lambda params, pixels: activations(M1, params, pixels)[-1], names)
        params = random_weights({**weight_shapes(M1), **head_shapes(train, M1.units)}, seed=0)
        log = log_to(work, f"candidate without {without}")
        params = fit(loss, params, batches_of(train, 64, 0), steps, log)
        weights = {name: np.asarray(params[name]) for name in weight_shapes(M1)}
        save_file(with_constants(weights, train), path)
    return load_file(path)


def all_features(weights: dict[str, Any], pixels: jax.Array) -> jax.Array:
    """The mean of each channel of each convolution, then the last layer: `[n, 160 + 96]`."""
    *maps, last = activations(M1, weights, pixels)
    return jnp.concatenate([*(each.mean((1, 2)) for each in maps), last], axis=1)


def with_constants(weights: dict[str, np.ndarray], train: dict[str, Labelled]) -> dict[str, np.ndarray]:
    """Adds the mean and standard deviation of `all_features` over 2,000 images of each set."""
    apply = jax.jit(lambda images: all_features(weights, preprocess(images, SIDE)))
    rows = [np.asarray(apply(np.resize(each.images[:2000], (2000, *each.images.shape[1:])))) for each in train.values()]
    features = np.concatenate(rows)
    return {**weights, "mean": features.mean(0), "deviation": features.std(0) + 1e-3}


OWN_SHAPES = {"a": (3, 3, 3, 16), "b": (3, 3, 16, 32), "c": (3, 3, 32, 64), "d": (1024, 128)}


def own_features(params: dict[str, Any], pixels: jax.Array) -> jax.Array:
    """The judge: 3x3 convolutions and mean pooling, then 128 units; unlike the candidates in every layer."""
    current = pixels
    for name in "abc":
        dimensions = ("NHWC", "HWIO", "NHWC")
        current = jax.lax.conv_general_dilated(current, params[name], (1, 1), "SAME", dimension_numbers=dimensions)
        n, h, w, c = current.shape
        current = jax.nn.relu(current).reshape(n, h // 2, 2, w // 2, 2, c).mean((2, 4))
    return jax.nn.relu(current.reshape(len(current), -1) @ params["d"])


def train_own(name: str, split: Split, seed: int, steps: int, work: Path) -> dict[str, np.ndarray]:
    """The classifier of one set that is taken for the truth."""
    path = work / f"own-{name}-{seed}-{steps}.safetensors"
    if not path.exists():
        train = {name: split.train}
        params = random_weights({**OWN_SHAPES, **head_shapes(train, 128)}, seed)
        loss = classification(own_features, (name,))
        log = log_to(work, f"own {name} {seed}")
        params = fit(loss, params, batches_of(train, 128, seed), steps, log)
        save_file({key: np.asarray(value) for key, value in params.items()}, path)
    return load_file(path)


GAN_STEPS = (30, 100, 300, 1000, 3000)


def train_gan(name: str, train: Labelled, count: int, work: Path) -> list[np.ndarray]:
    """`count` images of a small fully connected GAN (non-saturating, R1) after each of `GAN_STEPS`."""
    path = work / f"gan-{name}.npz"
    if not path.exists():
        shape = train.images.shape[1:]
        widths = ((32, 256, 256, int(np.prod(shape))), (int(np.prod(shape)), 256, 256, 1))
        players = tuple(
            random_weights({f"{i}": (a, b) for i, (a, b) in enumerate(itertools.pairwise(w))}, seed)
            for seed, w in enumerate(widths)
        )
        batches = batches_of({name: train}, 64, 0)
        snapshots = gan_snapshots(players, lambda: next(batches)[name][0], count)
        np.savez_compressed(path, *(each.reshape(count, *shape) for each in snapshots))
    stored = np.load(path)
    return [stored[key] for key in stored.files]


def mlp(weights: dict[str, Any], x: jax.Array) -> jax.Array:
    for name in ("0", "1"):
        x = jax.nn.leaky_relu(x @ weights[name], 0.2)
    return x @ weights["2"]


def gan_snapshots(players: Any, next_batch: Callable[[], np.ndarray], count: int) -> Iterator[np.ndarray]:
    """Trains (gen, disc) by simultaneous Adam; yields samples, uint8 `[count, pixels]`, at `GAN_STEPS`."""
    optimiser = optax.adam(5e-4, b1=0.0, b2=0.99)

    def generate(gen, key, n):
        return jnp.tanh(mlp(gen, jax.random.normal(key, (n, 32))))

    def disc_loss(disc, gen, real, key):
        score = lambda x: mlp(disc, x[None])[0, 0]  # noqa: E731
        logits, slopes = jax.vmap(jax.value_and_grad(score))(real)
        fake = mlp(disc, generate(gen, key, len(real)))
        return (jax.nn.softplus(-logits) + 0.05 * (slopes**2).sum(1)).mean() + jax.nn.softplus(fake).mean()

    def gen_loss(gen, disc, key, n):
        return jax.nn.softplus(-mlp(disc, generate(gen, key, n))).mean()

    @jax.jit
    def step(players, state, batch, key):
        gen, disc = players
        real = batch.reshape(len(batch), -1) / 127.5 - 1
        gradients = jax.grad(gen_loss)(gen, disc, key, len(real)), jax.grad(disc_loss)(disc, gen, real, key)
        updates, state = optimiser.update(gradients, state)
        return optax.apply_updates(players, updates), state

    state = optimiser.init(players)
    for index in range(GAN_STEPS[-1]):
        players, state = step(players, state, next_batch(), jax.random.key(index))
        if index + 1 in GAN_STEPS:
            samples = generate(players[0], jax.random.key(1_000_000), count)
            yield np.asarray(jnp.round((samples + 1) * 127.5).astype(jnp.uint8))
