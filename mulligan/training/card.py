"""The card of a generator: what it was trained on, how good it is and by which protocol, and what it is not for."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from mulligan.metrics.selection import FIGURES
from mulligan.recipe import Recipe

NAME = "card.md"
UNSTATED = "not stated"
CLASSES_SHOWN = 20


@dataclass(frozen=True)
class CardFacts:
    """What a card tells.

    Attributes:
      recipe, shape, classes, members: of the generator.
      data: of the images that it was trained on, as in `generator.json`; None where that is not known.
      licence: of those images, as who publishes the generator states it; None where nobody did.
      result: the `final` event of its run; None where the run has not ended.
      proof: what `mulligan prove` says in words; None where that was not asked.
      name: where it is loaded from.
      picture: a file beside the card that shows samples, if there is one.
    """

    recipe: Recipe
    shape: tuple[int, int, int]
    classes: tuple[str, ...] | None
    members: int
    data: dict[str, Any] | None
    licence: str | None
    result: dict[str, Any] | None
    proof: str | None
    name: str
    picture: str | None = None


LIMITS = """## Limits

- It draws what its training images look like, with their faults and their imbalance, and nothing else.
- Weights may reveal training images: share them as carefully as the images themselves.
- Generated images are no evidence of anything that was photographed, measured or diagnosed."""

USE = """## Use

```python
import mulligan

gan = mulligan.load("{name}")
images = gan.sample(64, seed=0)  # uint8 {shape}
```"""


def card(facts: CardFacts) -> str:
    """The card as Markdown; its head is what the Hugging Face hub reads."""
    kind = "unconditional" if facts.classes is None else "class-conditional"
    lines = ["library_name: mulligan", "pipeline_tag: unconditional-image-generation"]
    lines += [f"tags: [gan, {kind}, image-generation]", f"license: {json.dumps(facts.licence or 'unknown')}"]
    head = "\n".join(["---", *lines, "---"])

    height, width, channels = facts.shape
    colour = {1: "grey", 3: "colour", 4: "colour, with transparency"}.get(channels, f"{channels} channels")
    of_members = f", drawn by a mixture of {facts.members} networks" if facts.members > 1 else ""
    given = f" of {len(facts.classes)} classes" if facts.classes else ""
    architecture = facts.recipe.architecture
    shown = f"\n\n![samples]({facts.picture})" if facts.picture else ""
    what = (
        f"# A generator of {width}x{height} images{given}\n\n"
        f"A GAN that mulligan trained: {colour} images from {architecture.latent} normal numbers each{of_members}. "
        f"Networks of the family {architecture.family}, {facts.recipe.loss} loss; recipe {facts.recipe.hash()}."
        f"{shown}"
    )

    proof = "Not tried: `mulligan prove` does." if facts.proof is None else _plain(facts.proof)
    proof = f"## Are they of use, and are they copies?\n\n{proof}"
    use = USE.format(name=facts.name, shape=[64, *facts.shape])
    parts = [head, what, _data(facts), _figures(facts), _classes(facts), proof, LIMITS, use]
    return "\n\n".join(filter(None, parts)) + "\n"


def _data(facts: CardFacts) -> str:
    lines = ["## Data", ""]
    if facts.data is None:
        lines += ["- images: not known to this card"]
    else:
        counts = ", ".join(f"{count:,} {split}" for split, count in facts.data["counts"].items())
        lines += [f"- images: {_plain(facts.data['name'])} ({counts}; only those of `train` were trained on)"]
        lines += [f"- fingerprint: {facts.data['hash']}"]
        if facts.data.get("taught"):
            names = ", ".join(map(_plain, facts.data["taught"]))
            lines += [f"- images before these: {names}; it began with weights that they taught, and may show traces"]
    if facts.classes:
        more = f" and {len(facts.classes) - CLASSES_SHOWN} more" if len(facts.classes) > CLASSES_SHOWN else ""
        lines += [f"- classes: {', '.join(map(_plain, facts.classes[:CLASSES_SHOWN]))}{more}"]
    return "\n".join([*lines, f"- licence of the images: {_plain(facts.licence or UNSTATED)}"])


def _figures(facts: CardFacts) -> str:
    found = facts.result
    if found is None:
        return "## Figures\n\nThe run has not ended: nothing was measured on images that it never saw."
    real = {
        "train": "of its own training images, since none were kept back: no result",
        "held-out": "that were kept back, by which the generator was chosen as well",
    }.get(found["split"], f"of the {found['split']} split, used for this once")
    rows: list[tuple[str, Any]] = []
    for figure in (each for each in FIGURES if each.name in found):
        value, low, high = map(_number, figure.of(found))
        rows += [(f"{figure.at(found['embedding'])} (95% interval)", f"{value} ({low} to {high})")]
    rows += [(f"Frechet@{found['embedding']}", found["frechet"])]
    rows += [(name, found[name]) for name in ("precision", "recall", "density", "coverage") if name in found]
    close = found.get("memorisation", {}).get("share")
    if close is not None:
        rows += [("share close to a training image (unseen real ones: 0.05)", close)]
    table = ["| figure | value |", "|---|---|", *(f"| {name} | {_number(value)} |" for name, value in rows)]
    spent = found.get("cost", {})
    cost = f" Trained on {spent['images']:,.0f} images shown in {spent['seconds']:,.0f} seconds." if spent else ""
    return "\n".join(
        [
            "## Figures",
            "",
            *table,
            "",
            f"{found['n_fake']:,} generated against {found['n_real']:,} real images {real}. Figures compare generators "
            f"of the same data in the same embedding, and nothing else.{cost}",
        ]
    )


def _classes(facts: CardFacts) -> str:
    found = (facts.result or {}).get("classes") or []
    if not found:
        return ""
    worst = facts.result.get("worst_class") if facts.result else None
    rows = [
        f"| {_plain(each['name'])} | {each['n_real']} | {_number(each['kid'])} ({_number(each['kid_low'])} to "
        f"{_number(each['kid_high'])}) | {_number(each['precision'])} | {_number(each['recall'])} | "
        f"{_number(each['coverage'])} |"
        for each in found
    ]
    head = ["| class | real | KID | precision | recall | coverage |", "|---|---|---|---|---|---|"]
    said = f"The worst class is {_plain(worst)}." if worst else "No class can be told to be the worst."
    return "\n".join(["## By class", "", *head, *rows, "", said])


def _number(value: Any) -> str:
    return "not measured" if value is None else value if isinstance(value, str) else f"{value:.3g}"


def _plain(text: Any) -> str:
    """Text that cannot begin another line, another field or a tag."""
    line = " ".join(str(text).split())
    return "".join(f"\\{letter}" if letter in "|<>[]`" else letter for letter in line if letter.isprintable())
