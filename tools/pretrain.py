"""Trains the weights that ship as `init` "families-1" and of one kind: one GAN on many families of images at once.

    python tools/pretrain.py --data ../shared/data --size 64 --width 16 --images 1.3M --out families-1-64px-w16
    python tools/pretrain.py --data ../shared/data --size 32 --width 8 --batch 16 --images 1M --out families-1-32px-w8
    python tools/pretrain.py --data ../shared/data --size 64 --width 8 --resampling folded --batch 32 --rate 1.2e-3 \\
        --gamma 2 --images 500k --families world_scripts symbols line_icons hieroglyphs cuneiform \\
        --out drawings-1-64px-w8
    python tools/pretrain.py --data ../shared/data --size 64 --width 8 --resampling folded --batch 32 --rate 1.2e-3 \\
        --gamma 2 --images 400k --families groceries trash --out photographs-1-64px-w8
    python tools/pretrain.py --data ../shared/data --size 32 --width 16 --batch 32 --gamma 2 --images 500k \\
        --families groceries trash --each 1300 --things 4000 --out things-1-32px-w16
    python tools/pretrain.py --data ../shared/data --size 64 --width 8 --resampling folded --batch 32 --rate 1.2e-3 \\
        --gamma 2 --images 400k --openclipart unpacked --families clipart --each 4500 --out clipart-1-64px-w8
    python tools/pretrain.py --data ../shared/data --size 64 --width 8 --resampling folded --batch 32 --rate 1.2e-3 \\
        --gamma 2 --images 400k --families groceries trash --each 1300 --things 4000 \\
        --out things-1-64px-w8
    python tools/pretrain.py --data ../shared/data --size 64 --width 16 --resampling folded --batch 32 --rate 1.2e-3 \\
        --gamma 2 --images 400k --families groceries trash --each 1300 --things 4000 \\
        --out things-1-64px-w16

Only families whose licence lets weights ship, out of those for learning (`families.py`), in equal shares, and as many
pictures drawn at random (`procedural.py`) as one asks for. Writes `OUT.safetensors` (float16: the generator's moving
average, the discriminator's last iterate), its card `OUT.json`, and `OUT.png`, a grid to look at. On one H100 the wide
files took 50, 55 and 85 seconds; the narrow ones were made on one core in less than an hour each.
"""

from __future__ import annotations

import argparse
import dataclasses
import io
import math
import time
import zipfile
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image
from safetensors.numpy import load_file

from benchmarks.common.families import families, may_ship, read_family
from mulligan.budget import parse_images
from mulligan.game.step import Data, GanState, to_bytes
from mulligan.grid import save_grid
from mulligan.networks.architecture import Networks
from mulligan.networks.parameters import named_parameters
from mulligan.networks.resampling import STRIDED
from mulligan.recipe import Architecture, Hyperparameters, Recipe
from mulligan.training.engine import chunk, make_game, start_state
from tools.cards import write_with_card
from tools.openclipart import clipart, on_white
from tools.procedural import things

EACH = 1500  # images of each family, by default: fewer are repeated, more are left out
STEPS = 50  # a compiled chunk
FINAL, RISE = 0.02, 0.05  # of the rate: the factor at the end, and the share of the time in which it rises
OLDER = {
    "fashion_mnist": "MIT",
    "mnist": "CC BY-SA 3.0",
    "omniglot": "MIT",
}  # at 28x28: for networks of 32 pixels alone
OBJECTS = "objects drawn at random"  # as cards name them
EMOJI = "emoji_noto_png.zip"  # 72x72, transparent; Apache-2.0


def sources(data: Path, size: int) -> dict[str, tuple[np.ndarray, str]]:
    """Images uint8 `[n, size, size, 3]` of each family, and its licence."""
    licences = {
        row[0].strip().removesuffix(".zip"): row[8].strip()
        for line in (data / "zoo" / "README.md").read_text().splitlines()
        if ".zip" in line and (row := line.split("|")[1:-1])
    }
    shipping = set(families("learning")) & set(may_ship(data / "zoo"))
    found = {name: (resized(read_family(data / "zoo", name).images, size), licences[name]) for name in sorted(shipping)}
    found["emoji_noto"] = (emoji(data / EMOJI, size), "Apache-2.0")
    if size <= 32:
        for name, licence in OLDER.items():
            stored = np.load(data / f"{name}.npz")["images"]
            chosen = np.random.default_rng(0).permutation(len(stored))[:4000]
            found[name] = (resized(stored[chosen][..., None], size), licence)
    return found


def resized(images: np.ndarray, size: int) -> np.ndarray:
    """Colour images of `size` pixels a side: whole blocks averaged, other ratios by Lanczos."""
    colour = np.repeat(images, 3, -1) if images.shape[-1] == 1 else images
    if colour.shape[1] == size:
        return colour
    how = Image.Resampling.BOX if colour.shape[1] % size == 0 else Image.Resampling.LANCZOS
    return np.stack([np.asarray(Image.fromarray(image).resize((size, size), how)) for image in colour])


def emoji(archive: Path, size: int) -> np.ndarray:
    """Emoji on white."""
    drawn = []
    with zipfile.ZipFile(archive) as files:
        for name in sorted(entry for entry in files.namelist() if entry.endswith(".png")):
            picture = on_white(Image.open(io.BytesIO(files.read(name))).convert("RGBA"))
            drawn.append(np.asarray(picture.resize((size, size), Image.Resampling.LANCZOS)))
    return np.stack(drawn)


def balanced(images: np.ndarray, each: int) -> np.ndarray:
    """So many images, in random order, repeated where there are fewer."""
    return images[np.random.default_rng(0).permutation(len(images))[np.arange(each) % len(images)]]


def trained(recipe: Recipe, images: np.ndarray, nimg: int) -> tuple[Networks, int]:
    """The players after so many images, and how many these were; the rate rises, then follows half a cosine.

    Raises:
      FloatingPointError: the game ran away: begin again with a lower rate.
    """
    shape = images.shape[1:]
    game = make_game(recipe, shape, 0, 1e9)
    state, data = start_state(game, recipe, shape, 0, 0), Data(jnp.asarray(images))
    run = jax.jit(lambda state, data: chunk(game, state, data, STEPS), donate_argnums=0).lower(state, data).compile()
    chunks = math.ceil(nimg / (STEPS * recipe.batch))
    for done in range(chunks):
        state = with_rate(state, recipe.hyperparameters.gen_lr * factor(done / chunks))
        state, info = run(state, data)
        if not info.finite:
            raise FloatingPointError(f"not finite after {int(state.nimg):,} images")
    return Networks(game.averager.value(state.averages)["ema"], state.disc), int(state.nimg)


def factor(share: float) -> float:
    return (FINAL + (1 - FINAL) * (1 + math.cos(math.pi * share)) / 2) * min(1.0, 0.2 + share / RISE)


def with_rate(state: GanState, rate: float) -> GanState:
    initial = state.schedule.initial._replace(gen_lr=jnp.float32(rate), disc_lr=jnp.float32(rate))
    return state._replace(schedule=state.schedule._replace(initial=initial))


def write_weights(out: Path, networks: Networks, card: dict[str, Any]) -> None:
    """Writes the players in float16, their card, and a grid of samples, beside `out`."""
    halves = {name: np.asarray(leaf, np.float16) for name, leaf in named_parameters(networks).items()}
    write_with_card(out, halves, card)
    latents = jax.random.normal(jax.random.key(1), (64, card["architecture"]["latent"]))
    save_grid(out.with_suffix(".png"), np.asarray(to_bytes(networks.gen(latents))), 8)


def read_weights(path: Path) -> dict[str, np.ndarray]:
    """Parameters by name, as `write_weights` wrote them; float32."""
    return {name: array.astype(np.float32) for name, array in load_file(path).items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--size", type=int, choices=(32, 64), required=True)
    parser.add_argument("--width", type=int, required=True)
    parser.add_argument("--resampling", choices=STRIDED, default="strided")
    parser.add_argument("--families", nargs="+", help="only these of them")
    parser.add_argument("--openclipart", type=Path, help="the unpacked package that `clipart` is in")
    parser.add_argument("--things", type=int, default=0, help="so many pictures besides, drawn at random")
    parser.add_argument("--each", type=int, default=EACH, help="images of each family")
    parser.add_argument("--images", type=parse_images, required=True, help="to train on, such as 1M")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--gamma", type=float, default=1.0)
    parser.add_argument("--out", type=Path, required=True, help="without a suffix")
    options = parser.parse_args()
    found = sources(options.data, options.size)
    if options.openclipart:
        found["clipart"] = (clipart(options.openclipart, options.size), "public domain")
    if options.families:
        found = {name: found[name] for name in options.families}
    architecture = Architecture(
        gen_width=options.width,
        disc_width=options.width,
        coarsest=4,
        resampling=options.resampling,
        kernel=STRIDED[options.resampling],
    )
    recipe = Recipe(
        architecture,
        batch=options.batch,
        augmentation=("translate",),
        hyperparameters=Hyperparameters(options.rate, options.rate, gamma=options.gamma, augment=0.3),
    )
    begun = time.monotonic()
    taught = [balanced(images, options.each) for images, _ in found.values()]
    if options.things:
        drawn = things(options.things, options.size)
        found[OBJECTS] = (drawn, "Apache-2.0, by tools/procedural.py")
        taught.append(drawn)
    networks, seen = trained(recipe, np.concatenate(taught), options.images)
    card = {
        "architecture": dataclasses.asdict(architecture),
        "shape": [options.size, options.size, 3],
        "trained_on": {name: {"images": len(images), "licence": licence} for name, (images, licence) in found.items()},
        "images_seen": seen,
        "seconds": round(time.monotonic() - begun),
        "device": jax.devices()[0].device_kind,
        "recipe": recipe.to_json(),
        "licence": "Apache-2.0 for the file; the sources keep their licences",
        "made_by": "python tools/pretrain.py",
    }
    write_weights(options.out, networks, card)
    print(f"{options.out}: {seen:,} images seen")


if __name__ == "__main__":
    main()
