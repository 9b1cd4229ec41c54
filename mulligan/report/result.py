"""The sections that say how the run went: the result, and what happened on the way."""

from __future__ import annotations

import json

from mulligan.events import (
    AverageScored,
    CheckpointWritten,
    ChunkTrained,
    Evaluated,
    FinalScored,
    GeneratorChosen,
    Resumed,
    RolledBack,
    RunEvent,
    SamplesDrawn,
    Stopped,
    StrategyChosen,
    TrainingStarted,
    UnknownEvent,
    own_fields,
)
from mulligan.report.curves import best_evaluation
from mulligan.report.markup import Html, element, table
from mulligan.report.run import RunRecord
from mulligan.report.words import UNKNOWN, count, decimal, duration, figure, number, short

ROUTINE = ChunkTrained | SamplesDrawn | Evaluated | CheckpointWritten | AverageScored  # drawn elsewhere, or too many
NAMED = {"train": "training images, no result", "held-out": "images kept back"}
PROTOCOLS = {
    "train": "training images, since none were kept back: this tells nothing of unseen ones",
    "held-out": "images kept back, by which the generator was chosen as well",
}
SHOWN = 3  # strategies with their weights


def summary(record: RunRecord) -> Html | None:
    """The result in words and numbers."""
    (words, kind), tiles = state(record), _tiles(record)
    # What was done, why it ended, and how to go on where there is more to do.
    stop = record.last(Stopped)
    reason = stop.reason.strip().rstrip(".") if stop and kind != "open" else ""
    lead = [f"{count(record.nimg)} images seen in {duration(record.seconds)}{' so far' * (kind == 'open')}. "]
    final = record.last(FinalScored)
    # More than its own were seen by recipes that lost, of half the size, or before a rollback.
    if final and final.cost and (final.cost["images"] or 0) > record.nimg:
        lead.append(f"In all {count(final.cost['images'])} in {duration(final.cost['seconds'])}. ")
    if reason:
        lead.append(f"Stopped: {reason}. ")
    if kind == "open":
        lead.append("If it is no longer running, ")
    if kind == "open" or words == "Interrupted":
        lead += [element("code", f"mulligan resume {record.folder.resolve().name}"), " goes on."]
    # What the figures were measured on.
    event, protocol = final or best_evaluation(record), None
    if event is not None:
        best_nimg = event.best_nimg if isinstance(event, FinalScored) else None
        nimg = event.nimg if best_nimg is None else best_nimg
        protocol = (
            f"{count(event.n_fake)} samples against {count(event.n_real)} "
            f"{PROTOCOLS.get(event.split, f'images of the {event.split} split')}, embedding {event.embedding}. "
            f"Generator: average “{event.average}” after {count(nimg)} images."
        )
    return element(
        "section",
        element("p", words, class_=f"state {kind}"),
        element("h1", str(record.task.get("name") or record.folder.resolve().name)),
        element("p", lead, class_="lead"),
        element("div", tiles, class_="tiles") if tiles else None,
        element("p", protocol, class_="note"),
        id="result",
    )


def state(record: RunRecord) -> tuple[str, str]:
    """How the run stands: a word for people, and one of done, stopped or open for the style sheet."""
    for event in reversed(record.events):
        match event:
            case FinalScored():
                return "Finished", "done"
            case Stopped():
                return "Interrupted" if event.code == "interrupted" else "Stopped", "stopped"
            case TrainingStarted() | Resumed():
                break
    return "Not finished", "open"


def happened(record: RunRecord) -> Html | None:
    """Starts, interventions of the guard, resumes, stops and events of kinds not known here, in order."""
    told = [event for event in record.events if not isinstance(event, ROUTINE)]
    if not told:
        return None
    guards = record.of(RolledBack)
    # Rollbacks have the numbers that mark them in the charts; by identity, for two events may be equal.
    numbers = {id(event): index for index, event in enumerate(guards, start=1)}
    checkpoints = record.of(CheckpointWritten)
    times = {0: "never had to step in", 1: "stepped in once", 2: "stepped in twice"}
    lead = f"The guard {times.get(len(guards), f'stepped in {len(guards)} times')}. "
    if checkpoints:
        lead += f"{count(len(checkpoints))} checkpoints, the newest after {count(checkpoints[-1].nimg)} images. "
    if record.unreadable:
        lead += f"{count(record.unreadable)} of the lines in events.jsonl could not be read. "
    rows = []
    for event in told:
        kind = event.name if isinstance(event, UnknownEvent) else event.kind
        guard = numbers.get(id(event))
        named = [kind, " ", element("b", str(guard), class_="flag")] if guard else kind
        rows.append((count(event.nimg), duration(event.seconds), named, _described(event)))
    return element(
        "section",
        element("h2", "What happened"),
        element("p", lead, class_="lead"),
        table(("Images", "Time", "Event", "What and why"), rows, numbers=(0, 1)),
        id="happened",
    )


def _tiles(record: RunRecord) -> list[Html]:
    """The figures, from the final scoring if there is one, else from the best evaluation so far."""
    final = record.last(FinalScored)
    event = final or best_evaluation(record)
    if event is None:
        return []
    kid, interval = figure(event.kid, event.kid_low, event.kid_high)
    split = event.split or "validation"
    at_the_end = [
        ("Precision", final and final.precision, "samples near real ones"),
        ("Recall", final and final.recall, "real ones near samples"),
        ("Memorisation", event.memorisation and event.memorisation["ratio"], "0 copies, 1 is like unseen"),
        ("Density", final and final.density, "1 is like real images"),
        ("Coverage", final and final.coverage, "real ones with a sample"),
        ("Diversity", event.diversity, "1 is like real images"),
    ]
    tiles = [
        _tile(f"KID, {NAMED.get(split, split)}", kid, f"95%: {interval}" if interval else "", "hero"),
        _tile("Energy distance", *figure(event.energy, event.energy_low, event.energy_high)),
        _tile("Fréchet distance", number(event.frechet), "lower is better"),
        *(_tile(label, decimal(value), detail) for label, value, detail in at_the_end),
        _tile("Images seen", short(record.nimg), "" if final else "so far"),
        _tile("Time", duration(record.seconds), "" if final else "so far"),
    ]
    return [tile for tile in tiles if tile]


def _tile(label: str, value: str, detail: str, class_: str | None = None) -> Html | None:
    if value == UNKNOWN:
        return None
    children = element("span", label), element("strong", value), element("small", detail)
    return element("div", *children, class_=class_)


def _described(event: RunEvent) -> str:
    """An event's own keys as a sentence."""
    match event:
        case TrainingStarted():
            gen, disc = short(event.gen_parameters), short(event.disc_parameters)
            compiled = duration(event.compile_seconds)
            words = f"{gen} parameters in the generator, {disc} in the discriminator; compiled in {compiled}"
        case RolledBack():
            back = f"back to {count(event.back_to_nimg)} images, attempt {count(event.attempt)}"
            words = f"{event.reason} → {event.action}; {back}"
        case StrategyChosen():
            chosen = event.strategy or "none of the strategies lasted: back to where they began"
            heaviest = sorted(event.weights.items(), key=lambda entry: -(entry[1] or 0.0))[:SHOWN]
            weights = ", ".join(f"{name} {decimal(value)}" for name, value in heaviest)
            words = f"{chosen}; weights after the {event.mode}: {weights}"
        case Resumed():
            words = f"from {count(event.from_nimg)} images" + (f": {event.reason}" if event.reason else "")
        case Stopped():
            words = event.reason or event.code
        case GeneratorChosen():
            words = f"{event.average} is kept" + (f": {event.reason}" if event.reason else "")
        case FinalScored():
            words = f"the best generator, scored once on the {event.split} split"
        case UnknownEvent():
            words = json.dumps(event.values, ensure_ascii=False)
        case _:
            words = json.dumps({name: getattr(event, name) for name in own_fields(event)}, ensure_ascii=False)
    return words
