"""What was expected of a run, and how its race went: for the page, and in words for `mulligan explain`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from mulligan.errors import MulliganError
from mulligan.events import Evaluated, as_number
from mulligan.metrics.selection import SELECTS, figure_named
from mulligan.recipe import Recipe
from mulligan.report.chart import Chart, ChartPoint, Series, Span, draw
from mulligan.report.curves import COLOURS, best_evaluation
from mulligan.report.markup import Html, element, table
from mulligan.report.run import RunRecord, read_events, read_run
from mulligan.report.words import UNKNOWN, count, duration, number, short

SHOWN = 6  # traits of a recipe
LOST = "it lost the race"


class RacedArm(NamedTuple):
    """One recipe of a race, as it ended.

    Attributes:
      number: from 1 on, as people count.
      traits: how its recipe differs from that of the first arm.
      slices: that it was given.
      share: of all that the race spent on training.
      lowest: figure that selects, on the validation split.
      fate: why it got no more.
    """

    number: int
    origin: str
    traits: str
    slices: int
    share: float | None
    images: float | None
    lowest: float | None
    fate: str
    curve: tuple[ChartPoint, ...]


def race(record: RunRecord) -> Html | None:
    """The section: what was expected and what came, a curve and a row for each arm, and the shares over time."""
    said = [element("p", line, class_="lead") for line in prediction(record)]
    arms = list(contest(record))
    if not said and not arms:
        return None
    heads = (
        "",
        "Recipe",
        "From the first it differs in",
        "Slices",
        "Share",
        "Images",
        SELECTS.label,
        "Why it got no more",
    )
    rows = []
    for arm in arms:
        name = element("b", arm.origin) if arm.fate == "won" else arm.origin
        share = UNKNOWN if arm.share is None else f"{arm.share:.0%}"
        figures = (count(arm.slices), share, short(arm.images), number(arm.lowest))
        rows.append((str(arm.number), name, arm.traits if arm.number > 1 else "", *figures, arm.fate))
    return element(
        "section",
        element("h2", "Race" if arms else "Expectation"),
        said,
        element("p", _shared(record, arms), class_="lead") if arms else None,
        table(heads, rows, numbers=range(3, 7)) if arms else None,
        element("div", _charts(record, arms), class_="charts") if arms else None,
        id="race",
    )


def explain(run: Path) -> list[str]:
    """What was expected of a run, which recipes raced, who got what and why it stopped, and what came of it.

    Raises:
      MulliganError: it is no run folder, or damaged.
    """
    record = read_run(run)
    arms = list(contest(record))
    lines = [*prediction(record)]
    if arms:
        lines.append(_shared(record, arms))
    for arm in arms:
        share = UNKNOWN if arm.share is None else f"{arm.share:.0%}"
        lines.append(f"{arm.number:3}  {arm.origin}: {arm.traits}")
        lines.append(
            f"     {share} of the race, {short(arm.images)} images, {SELECTS.title} {number(arm.lowest)}; {arm.fate}"
        )
    return lines if arms else [*alone(record), *lines]


def alone(record: RunRecord) -> Iterator[str]:
    """Sentences on a run without a race: why there was none, what was chosen from what, and what more would try."""
    plan = record.plan
    origin, compared = plan.get("origin"), as_number(plan.get("compared"))
    longer = plan.get("race_from")
    if not origin or not isinstance(longer, dict):
        yield f"One recipe was trained, and no other was tried: {origin or 'it is not known where it came from'}."
        return
    from_budget = duration(as_number(longer["seconds"])) if "seconds" in longer else f"{short(longer['images'])} images"
    yield "One recipe was trained: in so short a run a second one would cost more than it could gain."
    chosen = f"chosen from {count(compared)} recipes" if compared and compared > 1 else "the only one that is known"
    yield f"It was {chosen}: {origin}."
    others = "; ".join(plan.get("others") or [])
    yield f"From {from_budget} on recipes race{f', here with: {others}' if others else ''}."


def prediction(record: RunRecord) -> Iterator[str]:
    """Sentences: what the experience promised, what it rests on, and what came."""
    plan = record.plan
    if plan.get("trouble"):
        yield f"The experience could not be used: {plan['trouble']}"
    if plan.get("skipped"):
        yield f"Not all of the experience could be read: {plan['skipped']}"
    expected, figure = plan.get("expected"), figure_named(str(plan.get("figure")))
    if not isinstance(expected, dict):
        return
    low, median, high = (as_number(expected.get(name)) for name in ("low", "median", "high"))
    yield (
        f"Expected: {figure.at(str(plan.get('embedding')))} {number(median)}, with 80% between {number(low)} and "
        f"{number(high)}, from {count(as_number(plan.get('trials')))} trials on "
        f"{count(as_number(plan.get('tasks')))} tasks."
    )
    nearest = plan.get("nearest") or []
    if nearest:
        weighed = ", ".join(f"{name} ({weight:.0%})" for name, weight in nearest)
        yield f"Tasks that this rests on most: {weighed}."
    best = best_evaluation(record)
    reached = figure.of(vars(best))[0] if best else None
    if reached is not None and low is not None and high is not None:
        where = "better than expected" if reached < low else "worse than expected" if reached > high else "as expected"
        times = f", {number(round(reached / median, 2))} times the forecast" if median and reached > 0 else ""
        yield f"Reached: {figure.title} {number(reached)} on the validation images, {where}{times}."


def contest(record: RunRecord) -> Iterator[RacedArm]:
    """The arms of the run's race, in the order in which they were proposed; none where there was no race.

    Raises:
      MulliganError: a newer version wrote one of the recipes.
    """
    document = record.race
    entries = document.get("arms") or []
    spent = [as_number(entry["spent"].get("seconds")) or 0.0 for entry in entries]
    decisions = document.get("decisions", [])[: document.get("done", 0)]
    first = Recipe.from_json(entries[0]["recipe"]) if entries else Recipe()
    for index, entry in enumerate(entries):
        try:
            events, _ = read_events(record.folder / "trials" / f"{index:02d}")
        except MulliganError:  # its trial is damaged; what the race says of it stands
            events = []
        seen = [(event.nimg, SELECTS.of(vars(event))[0]) for event in events if isinstance(event, Evaluated)]
        curve = tuple(ChartPoint(nimg, value) for nimg, value in seen if value is not None)
        won = document.get("winner") == index
        yield RacedArm(
            number=index + 1,
            origin=entry["origin"],
            traits=traits(Recipe.from_json(entry["recipe"]), first if index else Recipe()),
            slices=sum(index in decision["arms"] and not decision["won"] for decision in decisions),
            share=spent[index] / sum(spent) if sum(spent) else None,
            images=as_number(entry["spent"].get("images")),
            lowest=min((point.value for point in curve), default=None),
            fate="won" if won else entry["ended"] or ("still racing" if document.get("winner") is None else LOST),
            curve=curve,
        )


def traits(recipe: Recipe, other: Recipe) -> str:
    """How a recipe differs from another, in a few words.

    Example:
      >>> traits(Recipe(loss="hinge", batch=32), Recipe())
      'loss hinge, batch 32'
    """
    theirs = dict(_leaves(other.to_json()))
    differing = [f"{name} {_word(value)}" for name, value in _leaves(recipe.to_json()) if theirs.get(name) != value]
    more = f" and {len(differing) - SHOWN} more" if len(differing) > SHOWN else ""
    return ", ".join(differing[:SHOWN]) + more or "no difference"


def _leaves(document: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in document.items():
        if isinstance(value, dict) and name in ("architecture", "hyperparameters"):
            yield from _leaves(value)
        else:
            yield name, value


def _word(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, float):
        return number(value)
    if isinstance(value, dict):
        return ", ".join(f"{name} {form.get('kind', '')}" for name, form in value.items()) or "none"
    return ", ".join(map(str, value)) or "none" if isinstance(value, list) else str(value)


def _shared(record: RunRecord, arms: list[RacedArm]) -> str:
    """One sentence on the whole race."""
    spent = duration(as_number(record.race.get("seconds")))
    slices = sum(arm.slices for arm in arms)
    won = next((f" Recipe {arm.number} won and got all the rest." for arm in arms if arm.fate == "won"), "")
    return f"{len(arms)} recipes raced for {spent}, in {slices} slices shared out by {record.race['allocation']}.{won}"


def _charts(record: RunRecord, arms: list[RacedArm]) -> list[Html]:
    """The figure that selects of every arm over its images, and the weights over the slices."""
    colours = [*COLOURS, *("quiet",) * len(arms)]
    curves = [Series(str(arm.number), colour, arm.curve) for arm, colour in zip(arms, colours, strict=False)]
    end = max((point.nimg for arm in arms for point in arm.curve), default=0.0)
    decisions = record.race.get("decisions", [])
    weights = [
        Series(
            str(arm.number),
            colour,
            [ChartPoint(index, decision["weights"][index_of]) for index, decision in enumerate(decisions)],
        )
        for index_of, (arm, colour) in enumerate(zip(arms, colours, strict=False))
    ]
    charts = (
        (
            Chart(f"{SELECTS.title.capitalize()} of each recipe", "lower is better; on the validation split", curves),
            Span(end),
        ),
        (
            Chart("Weight of each recipe", "before each round of slices", weights, 0.0),
            Span(float(max(len(decisions) - 1, 1))),
        ),
    )
    drawn = [draw(chart, span) for chart, span in charts]
    return [figure for figure in drawn if figure]
