"""The sections of pictures: samples now and through time, nearest training images, interpolations."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
from jaxtyping import Float, UInt8

from mulligan.events import SamplesDrawn
from mulligan.grid import png
from mulligan.report.embedding import embed, embed_file
from mulligan.report.markup import Child, Html, element
from mulligan.report.run import RunRecord
from mulligan.report.words import count, duration, number

Item = TypeVar("Item")

MOST_FRAMES = 40
MOST_NEIGHBOURS, MOST_NEAREST = 12, 4  # samples shown, and training images beside each
THUMBNAIL = 84  # pixels
# Bytes for each kind of picture; together, in base64, they leave the page under 6 MB.
FINAL_BYTES, FRAMES_BYTES, INTERPOLATION_BYTES, NEIGHBOURS_BYTES = 800_000, 2_400_000, 500_000, 600_000


class Neighbours(NamedTuple):
    """`final/neighbours.npz`."""

    samples: UInt8[np.ndarray, "k h w c"]
    nearest: UInt8[np.ndarray, "k m h w c"]
    distance: Float[np.ndarray, "k m"]
    typical: float


def samples(record: RunRecord) -> Html | None:
    """The best generator's samples, and beside them how the same latents looked through time."""
    final = embed_file(record.path("final/samples.png"), FINAL_BYTES)
    shown = [
        _titled("Best generator", None, final.element("Samples of the best generator")) if final else None,
        _through_time(record),
    ]
    if not any(shown):
        return None
    return element("section", element("h2", "Samples"), element("div", shown, class_="pair"), id="samples")


def interpolation(record: RunRecord) -> Html | None:
    """Rows of images between two latents."""
    picture = embed_file(record.path("final/interpolation.png"), INTERPOLATION_BYTES)
    if picture is None:
        return None
    lead = "Each row walks from one latent to another. Smooth change means that it learned more than a list."
    return element(
        "section",
        element("h2", "Between two samples"),
        element("p", lead, class_="lead"),
        element("figure", picture.element("Rows of interpolations between two samples")),
        id="interpolation",
    )


def neighbours(record: RunRecord) -> Html | None:
    """Samples beside the training images nearest to them, the closest pair first."""
    path = record.path("final/neighbours.npz")
    found = read_neighbours(path) if path else None
    if found is None:
        return None
    order = np.argsort(found.distance[:, 0])[:MOST_NEIGHBOURS]
    lead = (
        "Each sample with its nearest training images, closest first. Distances are multiples of a typical "
        f"one, that of an unseen real image to its nearest training image ({number(found.typical)}): far "
        "below 1 would mean copying."
    )
    rows = []
    for index in order.tolist():
        sample = element(
            "span", _thumbnail(found.samples[index], "Sample"), element("small", "sample"), class_="sample"
        )
        near = []
        for image, distance in zip(found.nearest[index][:MOST_NEAREST], found.distance[index].tolist(), strict=False):
            words = f"{distance / found.typical:.2f}" if found.typical > 0 else number(distance)
            near.append(element("span", _thumbnail(image, "Training image"), element("small", words)))
        rows.append(element("figure", sample, near))
    return element(
        "section",
        element("h2", "Nearest training images"),
        element("p", lead, class_="lead"),
        element("div", rows, class_="neighbours"),
        id="neighbours",
    )


def read_neighbours(path: Path) -> Neighbours | None:
    """The arrays; None when the file does not hold them."""
    try:
        # Run folders come from elsewhere too: whatever the file holds, nothing in it is run.
        with np.load(path, allow_pickle=False) as arrays:
            found = Neighbours(
                arrays["samples"],
                arrays["nearest"],
                arrays["distance"].astype(np.float32),
                float(arrays["typical"]),
            )
    except (OSError, ValueError, TypeError, KeyError, EOFError, zipfile.BadZipFile):
        return None
    k, *image = found.samples.shape
    fits = found.nearest.ndim == 5 and found.nearest.shape == (k, found.nearest.shape[1], *image)
    whole = fits and found.distance.shape == found.nearest.shape[:2] and found.distance.size > 0
    return found if whole and found.samples.dtype == found.nearest.dtype == np.uint8 else None


def thinned(items: Sequence[Item], most: int) -> list[Item]:
    """At most `most` >= 2 of the items, evenly spaced, the first and the last among them.

    >>> thinned([0, 1, 2, 3, 4, 5, 6], 3)
    [0, 3, 6]
    """
    if len(items) <= most:
        return list(items)
    return [items[round(index)] for index in np.linspace(0, len(items) - 1, most)]


def _through_time(record: RunRecord) -> Html | None:
    """Grids of the same latents with a slider; without a script, the newest."""
    grids = {event.nimg: (event, path) for event in record.kept(SamplesDrawn) if (path := record.path(event.path))}
    # Fewer frames, down to half of them, before any has to be made smaller.
    largest = max((path.stat().st_size for _, path in grids.values()), default=1)
    affordable = min(MOST_FRAMES, max(MOST_FRAMES // 2, FRAMES_BYTES // max(1, largest)))
    chosen = thinned([grids[nimg] for nimg in sorted(grids)], affordable)
    pictures = [(event, embed_file(path, FRAMES_BYTES // len(chosen))) for event, path in chosen]
    pictures = [(event, picture) for event, picture in pictures if picture]
    if not pictures:
        return None
    frames, moments = [], [f"{count(event.nimg)} images, {duration(event.seconds)}" for event, _ in pictures]
    for (event, picture), moment in zip(pictures, moments, strict=True):
        image = picture.element(f"Samples after {count(event.nimg)} images")
        frames.append(element("div", image, class_="frame", data_nimg=event.nimg, data_moment=moment))
    last = str(len(frames) - 1)
    controls = [
        element("button", "Play", type="button", class_="play"),
        element("input", type="range", min="0", max=last, value=last, aria_label="Images seen"),
    ]
    shown = element("output", moments[-1], class_="moment")
    slider = element("div", controls, class_="controls", hidden=True) if len(frames) > 1 else None
    return _titled("Through time", shown, [element("div", frames, class_="frames"), slider], "time")


def _titled(title: str, detail: Html | None, content: Child, class_: str | None = None) -> Html:
    return element("figure", element("figcaption", element("strong", title), " ", detail), content, class_=class_)


def _thumbnail(image: UInt8[np.ndarray, "h w c"], alt: str) -> Html | None:
    picture = embed(png(image), NEIGHBOURS_BYTES // (MOST_NEIGHBOURS * (1 + MOST_NEAREST)))
    return picture.element(alt, largest=THUMBNAIL) if picture else None
