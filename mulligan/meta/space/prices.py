"""What recipes cost in seconds on this machine: measured by every run, kept in the user's cache, foreseen from that.

Counted operations (`space.cost`) are the same everywhere; how many of them a second does depends on the device, on the
networks and on the images. What was never measured here is foreseen by what is nearest to it, and where nothing is near
by a nominal speed, of which networks of a study reached three quarters and more on one core
(docs/log/2026-11-27-prices.md).
"""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import jax

from mulligan import schema
from mulligan.errors import MulliganError
from mulligan.events import TrainingStarted
from mulligan.files import replace_file
from mulligan.meta.space.cost import footprint
from mulligan.networks.keras_models import FAMILY
from mulligan.networks.layers import ImageShape
from mulligan.places import cache_folder
from mulligan.recipe import Recipe
from mulligan.training.budget import NOMINAL_FLOPS
from mulligan.training.device import device_name
from mulligan.training.loop import Loop

FILE = "speeds.json"
KEPT = 200  # measurements, the newest
FEWEST_SECONDS = 5.0  # of training, from which its speed is one
NEAR = 4.0  # times as many operations an image, or as few, up to which one network's speed tells another's
GROWTH = 0.3  # power by which wider networks do more operations a second: 0.19 on idle cores, up to 0.46 on busy ones
COMPILE_SECONDS = 10.0  # until it was measured
STEP = (
    "architecture",
    "loss",
    "penalty",
    "penalty_every",
    "dynamics",
    "opponents",
    "disc_steps",
    "matching",
    "features",
    "features_every",
)


@dataclass(frozen=True)
class Measurement:
    """How fast one recipe trained here.

    Attributes:
      device: as `training.device.device_name` says.
      form: of the step that was compiled, whatever its rates, schedules and batch.
      shape: of the images.
      flops_per_image: as `space.cost.footprint` counts.
      images_per_second: that the discriminator saw while training alone.
      compile_seconds: before that.
    """

    device: str
    form: str
    shape: list[int]
    flops_per_image: float
    images_per_second: float
    compile_seconds: float


class Price(NamedTuple):
    """What a recipe costs: seconds before it trains, and the images that it then trains on in each."""

    compile_seconds: float
    images_per_second: float
    measured: bool  # on this device, with images of this shape; else foreseen


def price(recipe: Recipe, shape: ImageShape, classes: int = 0) -> Price:
    """What a recipe costs here, before it is chosen.

    Of several measurements the fastest counts: whatever else runs on the machine can only slow it down. And networks do
    at least as many operations a second as smaller ones, so one that was measured on a busy machine is tried again.

    Raises:
      MulliganError: no networks can be made of these choices.
    """
    flops, device, form = footprint(recipe, shape, classes).flops_per_image, device_name(), _form(recipe)
    here = [each for each in measurements() if each.device == device]
    same = [each for each in here if each.form == form and each.shape == list(shape)]
    if same:
        smaller = (each for each in here if each.shape == list(shape) and each.flops_per_image < flops)
        speed = max(each.flops_per_image * each.images_per_second for each in (*same, *smaller)) / flops
        return Price(same[-1].compile_seconds, speed, measured=True)
    # Networks of about as many operations reach about as many of them a second, wider ones on images of the same shape
    # somewhat more; tiny ones tell nothing of large ones.
    near = min(here, key=lambda each: abs(math.log(each.flops_per_image / flops)), default=None)
    if near is None or abs(math.log(near.flops_per_image / flops)) > math.log(NEAR):
        return Price(COMPILE_SECONDS, NOMINAL_FLOPS[jax.default_backend()] / flops, measured=False)
    alike = [each for each in here if each.form == near.form and each.shape == near.shape]
    speed = max(each.flops_per_image * each.images_per_second for each in alike)
    if near.shape == list(shape):
        speed *= (flops / near.flops_per_image) ** GROWTH
    return Price(near.compile_seconds, speed / flops, measured=False)


def measurements() -> list[Measurement]:
    """All that is kept, the newest last; none where nothing is, or where it is damaged."""
    path = _path()
    if path is None:
        return []
    try:
        rows = json.loads(path.read_text())
        return [schema.read(Measurement, row, FILE) for row in rows]
    except (OSError, ValueError, TypeError, MulliganError):
        return []


def measure(
    recipe: Recipe, shape: ImageShape, classes: int, nimg: int, training_seconds: float, compile_seconds: float
) -> None:
    """Keeps how fast a run trained, if it trained for long enough to tell; costs nobody a run.

    Args:
      recipe, shape, classes: of the run.
      nimg: images that it trained on.
      training_seconds: that this took, without waiting for images.
      compile_seconds: before it.
    """
    path = _path()
    if path is None or training_seconds < FEWEST_SECONDS or recipe.architecture.family == FAMILY:
        return
    flops = footprint(recipe, shape, classes).flops_per_image
    speed = nimg / training_seconds
    row = Measurement(device_name(), _form(recipe), list(shape), flops, round(speed, 3), round(compile_seconds, 3))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, json.dumps([each.__dict__ for each in [*measurements(), row][-KEPT:]], indent=1).encode())
    except (OSError, MulliganError):  # training does not depend on the cache
        return


def measure_run(loop: Loop) -> None:
    """Keeps how fast a run trained that has ended, as `measure` does."""
    started, progress = loop.folder.events(TrainingStarted), loop.now.progress
    compiling = (started[-1].compile_seconds or 0.0) if started else 0.0
    seen = progress.spent_nimg, progress.training_seconds, compiling
    measure(loop.recipe, loop.task.shape, loop.spec.classes, *seen)


def _path() -> Path | None:
    cache = cache_folder()
    return None if cache is None else cache / FILE


def _form(recipe: Recipe) -> str:
    """A name for what a step computes on an image: of the recipe no more than that."""
    return dataclasses.replace(Recipe(), **{name: getattr(recipe, name) for name in STEP}).hash()
