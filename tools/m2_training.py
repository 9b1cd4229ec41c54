"""How the weights of the embedding m2 are learned, and written as the package ships them.

    python tools/m2_training.py train --variant class+simclr+deg --out m2.npz
    python tools/m2_training.py ship --candidates m2.npz --variant class+simclr+deg

It sees the learning families whose licence lets weights ship, and parts of four older sets. Up to three objectives are
added: `class` (a linear head over the classes of all sets), `simclr` (two views of an image know each other; Chen et
al. 2020, arXiv 2002.05709) and `deg` (which of ten degradations, and how strong: the maps' means must show it too).
Batches of 64 and of 32 pixels a side take turns, for the network is for both. A GPU takes seconds, a CPU core an hour.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from PIL import Image

from benchmarks.common.families import families, may_ship, read_family
from benchmarks.common.places import DATA, ROOT
from mulligan.metrics.embedding_network import DESIGNS, activations, features, random_weights, weight_shapes

M2 = DESIGNS["m2"]
BATCH, FAMILIES_A_BATCH = 256, 16
MOST = 4000  # images of one set
LICENCES = {  # of what is not in the zoo's table
    "emoji_noto": "Apache-2.0 (Google)",
    "fashion_mnist": "MIT (Zalando)",
    "mnist": "LeCun and Cortes, commonly cited as CC BY-SA 3.0",
    "omniglot": "MIT (Lake)",
}
OBJECTIVE = (
    "cross-entropy of a linear head over all classes, contrast of two views of an image, and which of ten degradations "
    "an image has suffered and how strongly; a quarter of the images inverted"
)
SIDES = (64, 32)
Pixels = jax.Array  # [n, h, w, 3] in [-1, 1]
Strength = jax.Array  # [n] in (0, 1]


# --- degradations, each of `(pixels, strength, key)`


def each(strength: Strength) -> jax.Array:
    """A strength beside the pixels of its image."""
    return strength[:, None, None, None]


def blur(x: Pixels, s: Strength, key: jax.Array) -> Pixels:
    offsets = jnp.arange(-4, 5)
    deviation = 0.3 + 2.2 * s * x.shape[1] / 64
    kernel = jnp.exp(-(offsets**2) / (2 * deviation[:, None] ** 2))
    kernel = kernel / kernel.sum(1, keepdims=True)
    padded = jnp.pad(x, ((0, 0), (4, 4), (4, 4), (0, 0)), mode="edge")
    rows = sum(each(kernel[:, i]) * padded[:, i : i + x.shape[1]] for i in range(9))
    return sum(each(kernel[:, i]) * rows[:, :, i : i + x.shape[2]] for i in range(9))


def noise(x: Pixels, s: Strength, key: jax.Array) -> Pixels:
    return x + 0.6 * each(s) * jax.random.normal(key, x.shape)


def smooth_field(key: jax.Array, shape: tuple[int, ...], cells: int) -> jax.Array:
    n, h, w, c = shape
    return jax.image.resize(jax.random.normal(key, (n, cells, cells, c)), (n, h, w, c), "cubic")


def warp(x: Pixels, s: Strength, key: jax.Array) -> Pixels:
    n, h, w, c = x.shape
    moves = smooth_field(key, (n, h, w, 2), 6) * (0.09 * h * each(s))
    places = jnp.stack(jnp.meshgrid(jnp.arange(h), jnp.arange(w), indexing="ij"), -1) + moves

    def one(image: jax.Array, at: jax.Array) -> jax.Array:
        taken = [
            jax.scipy.ndimage.map_coordinates(image[..., i], [at[..., 0], at[..., 1]], 1, mode="nearest")
            for i in range(c)
        ]
        return jnp.stack(taken, -1)

    return jax.vmap(one)(x, places)


def patches(x: Pixels, s: Strength, key: jax.Array) -> Pixels:
    """Some of the 16 tiles taken from elsewhere in the image."""
    n, h, w, c = x.shape
    tile = h // 4
    tiles = x.reshape(n, 4, tile, 4, tile, c).transpose(0, 1, 3, 2, 4, 5).reshape(n, 16, tile, tile, c)
    order = jnp.argsort(jax.random.uniform(key, (n, 16)), 1)
    moved = jax.random.uniform(jax.random.fold_in(key, 1), (n, 16)) < 0.15 + 0.85 * s[:, None]
    taken = jnp.where(moved, order, jnp.arange(16)[None])
    tiles = jnp.take_along_axis(tiles, taken[:, :, None, None, None], 1)
    return tiles.reshape(n, 4, 4, tile, tile, c).transpose(0, 1, 3, 2, 4, 5).reshape(n, h, w, c)


def breaks(x: Pixels, s: Strength, key: jax.Array) -> Pixels:
    """Spots of the image's median colour, which cut strokes."""
    field = smooth_field(key, (*x.shape[:3], 1), 12)
    ground = jnp.median(x.reshape(x.shape[0], -1, x.shape[3]), 1)[:, None, None]
    return jnp.where(field > 2.2 - 1.8 * each(s), ground, x)


def colour(x: Pixels, s: Strength, key: jax.Array) -> Pixels:
    shape = (x.shape[0], 1, 1, 3)
    added = 0.35 * jax.random.normal(key, shape) * each(s)
    scaled = 1 + 0.3 * jax.random.normal(jax.random.fold_in(key, 1), shape) * each(s)
    return x * scaled + added


def blend(x: Pixels, s: Strength, key: jax.Array) -> Pixels:
    share = 0.12 + 0.38 * each(s)
    return (1 - share) * x + share * jnp.roll(x, 1, 0)


def blocks(x: Pixels, s: Strength, key: jax.Array) -> Pixels:
    n, h, w, c = x.shape
    coarse = jax.image.resize(jax.image.resize(x, (n, h // 4, w // 4, c), "linear"), x.shape, "nearest")
    share = 0.2 + 0.8 * each(s)
    return (1 - share) * x + share * coarse


def checker(x: Pixels, s: Strength, key: jax.Array) -> Pixels:
    """A chequerboard or stripes of one pixel, stronger here than there."""
    n, h, w, _ = x.shape
    rows, columns = jnp.arange(h)[:, None], jnp.arange(w)[None]
    board, stripes = (-1.0) ** (rows + columns), (-1.0) ** (columns + 0 * rows)
    chosen = jax.random.bernoulli(key, 0.5, (n, 1, 1, 1))
    amplitude = 0.3 + smooth_field(jax.random.fold_in(key, 1), (n, h, w, 1), 4)
    return x + 0.35 * each(s) * amplitude * jnp.where(chosen, board[None, :, :, None], stripes[None, :, :, None])


def ring(x: Pixels, s: Strength, key: jax.Array) -> Pixels:
    """Edges with halos."""
    return x + 1.5 * each(s) * (x - blur(x, 0.5 + 0 * s, key))


DEGRADATIONS = (blur, noise, warp, patches, breaks, colour, blend, blocks, checker, ring)
NONE = len(DEGRADATIONS)  # the kind of an untouched image


def degrade(x: Pixels, key: jax.Array) -> tuple[Pixels, jax.Array, Strength]:
    """Each image by one kind or left as it is; the kinds, and the strengths, 0 where untouched."""
    n, keys = len(x), jax.random.split(key, NONE + 3)
    kind = jax.random.randint(keys[-1], (n,), 0, NONE + 1)
    strength = jax.random.uniform(keys[-2], (n,), minval=0.05)
    changed = x
    for index, apply in enumerate(DEGRADATIONS):
        changed = jnp.where(each(kind == index), apply(x, strength, keys[index]), changed)
    return jnp.clip(changed, -1, 1), kind, jnp.where(kind == NONE, 0.0, strength)


def view(x: Pixels, key: jax.Array) -> Pixels:
    """Moved by up to a tenth of the side, contrast and brightness changed."""
    n, h, w, c = x.shape
    keys, most = jax.random.split(key, 3), max(2, h // 10)
    offsets = jax.random.randint(keys[0], (n, 2), 0, 2 * most + 1)
    padded = jnp.pad(x, ((0, 0), (most, most), (most, most), (0, 0)), mode="edge")
    moved = jax.vmap(lambda image, by: jax.lax.dynamic_slice(image, (by[0], by[1], 0), (h, w, c)))(padded, offsets)
    contrast = jax.random.uniform(keys[1], (n, 1, 1, 1), minval=0.7, maxval=1.2)
    return jnp.clip(moved * contrast + jax.random.uniform(keys[2], (n, 1, 1, 1), minval=-0.2, maxval=0.2), -1, 1)


# --- the loss


def head_shapes(classes: int) -> dict[str, tuple[int, ...]]:
    return {
        "head.class": (M2.units, classes),
        "head.view": (M2.units, 128),
        "head.kind": (M2.dimension, NONE + 1),
        "head.strength": (M2.dimension, 1),
    }


def loss(weights: Any, x: Pixels, labels: jax.Array, key: jax.Array, parts: tuple[str, ...]) -> jax.Array:
    """The sum of the objectives named in `parts`; a quarter of the images are inverted."""
    keys, total = jax.random.split(key, 4), jnp.float32(0)
    entropy = optax.softmax_cross_entropy_with_integer_labels
    x = x * jnp.where(jax.random.bernoulli(keys[3], 0.25, (len(x), 1, 1, 1)), -1.0, 1.0)
    dense = activations(M2, weights, view(x, keys[0]))[-1]
    if "class" in parts:
        total += entropy(dense @ weights["head.class"], labels).mean()
    if "simclr" in parts:
        other = activations(M2, weights, view(x, keys[1]))[-1]
        projected = [one @ weights["head.view"] for one in (dense, other)]
        one, two = (each / (jnp.linalg.norm(each, axis=1, keepdims=True) + 1e-6) for each in projected)
        alike, itself = one @ two.T / 0.15, jnp.arange(len(x))
        total += (entropy(alike, itself).mean() + entropy(alike.T, itself).mean()) / 2
    if "deg" in parts:
        worse, kind, strength = degrade(view(x, keys[1]), keys[2])
        found = features(M2, weights, worse)
        total += entropy(found @ weights["head.kind"], kind).mean()
        total += 4 * ((jax.nn.sigmoid((found @ weights["head.strength"])[:, 0]) - strength) ** 2).mean()
    return total


# --- images


class Collection(NamedTuple):
    """Images of all sets at one side, uint8 `[n, s, s, 3]`, their classes, and where each set begins and ends."""

    images: np.ndarray
    labels: np.ndarray
    starts: np.ndarray
    counts: np.ndarray


def ships(zoo: Path) -> tuple[str, ...]:
    """The learning families of the zoo whose licence lets weights ship."""
    return tuple(sorted(set(families("learning")) & set(may_ship(zoo))))


def licences_of(zoo: Path) -> dict[str, str]:
    """Of each of `ships`, its licence and where it is from, by the table in the zoo's README."""
    table = (line.split("|")[1:-1] for line in (zoo / "README.md").read_text().splitlines())
    rows = {row[0].strip().removesuffix(".zip"): (row[7], row[8]) for row in table if len(row) > 9}
    return {name: f"{rows[name][1].strip()} ({rows[name][0].strip()})" for name in ships(zoo)}


def resized(images: np.ndarray, side: int) -> np.ndarray:
    """RGB at another side: means over whole pixels where these divide, else bicubic."""
    colours = np.broadcast_to(images, (*images.shape[:3], 3))
    if colours.shape[1] == side:
        return colours
    how = Image.Resampling.BOX if colours.shape[1] % side == 0 else Image.Resampling.BICUBIC
    return np.stack([np.asarray(Image.fromarray(one).resize((side, side), how)) for one in colours])


def read_older(data: Path, name: str) -> tuple[np.ndarray, np.ndarray]:
    stored = np.load(data / f"{name}.npz")
    keep = np.flatnonzero(~stored["skin_tone_variant"]) if name == "emoji_noto" else np.arange(len(stored["images"]))
    rows = keep[np.random.default_rng(0).permutation(len(keep))[:MOST]]
    images = stored["images"][rows]
    return images[..., None] if images.ndim == 3 else images, stored["labels"][rows]


def collections(data: Path) -> dict[int, Collection]:
    """What there is at 64 pixels, and all of it at 32."""
    zoo = data / "zoo"
    sets = [tuple(read_family(zoo, name)) for name in ships(zoo)]
    sets += [read_older(data, name) for name in LICENCES]
    labels, classes = [], 0
    for _, own in sets:
        numbered = np.unique(own, return_inverse=True)[1]
        labels.append(numbered + classes)
        classes += int(numbered.max()) + 1
    found = {}
    for side in SIDES:
        kept = [i for i, (images, _) in enumerate(sets) if images.shape[1] >= min(side, 28)]
        kept = [i for i in kept if side == 32 or sets[i][0].shape[1] == side]
        images = [resized(sets[i][0], side) for i in kept]
        counts = np.array([len(each) for each in images])
        starts = np.cumsum(counts) - counts
        found[side] = Collection(np.concatenate(images), np.concatenate([labels[i] for i in kept]), starts, counts)
    return found


def train(data: Path, variant: str, steps: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Weights after so many steps of AdamW, cosine from 2e-3; 16 sets drawn for each batch, 16 images of each."""
    parts, collected = tuple(variant.split("+")), collections(data)
    classes = 1 + max(int(one.labels.max()) for one in collected.values())
    schedule = optax.warmup_cosine_decay_schedule(0.0, 2e-3, steps // 20, steps, 1e-6)
    optimiser = optax.adamw(schedule, weight_decay=1e-3)
    weights: Any = random_weights({**weight_shapes(M2), **head_shapes(classes)}, seed)
    state = optimiser.init(weights)

    @jax.jit
    def step(weights: Any, state: Any, images: jax.Array, labels: jax.Array, key: jax.Array) -> tuple[Any, Any, Any]:
        pixels = images.astype(jnp.float32) / 127.5 - 1
        value, slopes = jax.value_and_grad(loss)(weights, pixels, labels, key, parts)
        updates, state = optimiser.update(slopes, state, weights)
        return optax.apply_updates(weights, updates), state, value

    rng = np.random.default_rng(seed)
    for index in range(steps):
        one = collected[SIDES[index % len(SIDES)]]
        sets = np.repeat(rng.integers(len(one.starts), size=FAMILIES_A_BATCH), BATCH // FAMILIES_A_BATCH)
        rows = one.starts[sets] + (rng.random(BATCH) * one.counts[sets]).astype(int)
        key = jax.random.fold_in(jax.random.key(seed), index)
        weights, state, value = step(weights, state, one.images[rows], one.labels[rows], key)
        if index % 100 == 99:
            print(f"{index + 1}/{steps} loss {value:.3f}", flush=True)
    return {name: np.asarray(weights[name]) for name in weight_shapes(M2)}


# --- what ships


def with_constants(weights: dict[str, np.ndarray], data: Path) -> dict[str, np.ndarray]:
    """Adds the mean and deviation of the features over 100 images of each set at each side."""
    apply: Callable[[jax.Array], jax.Array] = jax.jit(lambda images: features(M2, weights, images / 127.5 - 1))
    rng, found = np.random.default_rng(0), []
    for one in collections(data).values():
        for start, count in zip(one.starts, one.counts, strict=True):
            found.append(np.asarray(apply(one.images[start + rng.choice(count, 100, replace=False)])))
    rows = np.concatenate(found)
    return {**weights, "mean": rows.mean(0), "deviation": rows.std(0) + 1e-4}


def ship(options: argparse.Namespace) -> None:
    """Writes `m2.safetensors` (float16) and its card."""
    stored = np.load(options.candidates)
    weights = {name: stored[f"{options.variant}/{name}"] for name in weight_shapes(M2)}
    shipped = with_constants(weights, options.data)
    card = {
        "dimension": M2.dimension,
        "input": {"pixels a side": [side for side, _ in M2.sides], "larger one above": M2.sides[0][1]},
        "licence": "Apache-2.0",
        "trained_on": {**licences_of(options.data / "zoo"), **LICENCES},
        "objective": OBJECTIVE,
        "optimiser": options.made,
        "made_by": "python tools/m2_training.py ship",
    }
    halves = {name: value.astype(np.float16) for name, value in shipped.items()}
    write_with_card(ROOT / "mulligan" / "metrics" / "m2", halves, card)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=("train", "ship"))
    parser.add_argument("--variant", default="class+simclr+deg", help="objectives, with + between them")
    parser.add_argument("--steps", type=int, default=4480)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--candidates", type=Path, default=Path(tempfile.gettempdir()) / "m2.npz")
    parser.add_argument("--made", default="AdamW, cosine from 2e-3, 4,480 steps of 256 images, seed 0; 20 s of an H100")
    options = parser.parse_args()
    if options.action == "ship":
        ship(options)
        return
    weights = train(options.data, options.variant, options.steps)
    np.savez(options.candidates, **{f"{options.variant}/{name}": value for name, value in weights.items()})


if __name__ == "__main__":
    main()
