"""The sections that say how the run went: the result, and what happened on the way."""

from __future__ import annotations

import json

from mulligan.report.curves import best_evaluation
from mulligan.report.markup import Html, element
from mulligan.report.run import Event, RunRecord
from mulligan.report.words import UNKNOWN, count, decimal, duration, figure, number, short

ROUTINE = frozenset({"chunk", "samples", "evaluation", "checkpoint", "average"})  # drawn elsewhere or too many to list
NAMED = {"train": "training images, no result", "held-out": "images kept back"}
PROTOCOLS = {
    "train": "training images, since none were kept back: this tells nothing of unseen ones",
    "held-out": "images kept back, by which the generator was chosen as well",
}
SHOWN = 3  # strategies with their weights


def summary(record: RunRecord) -> Html | None:
    """The result in words and numbers."""
    (words, kind), tiles = state(record), _tiles(record)
    return element(
        "section",
        element("p", words, class_=f"state {kind}"),
        element("h1", str(record.task.get("name") or record.folder.resolve().name)),
        element("p", _sentence(record), class_="lead"),
        element("div", tiles, class_="tiles") if tiles else None,
        element("p", _protocol(record), class_="note"),
        id="result",
    )


def state(record: RunRecord) -> tuple[str, str]:
    """How the run stands: a word for people, and one of done, stopped or open for the style sheet."""
    session: dict[str, Event] = {}  # the newest event of each kind since the run last started
    for event in reversed(record.events):
        if event.kind in ("start", "resume"):
            break
        session.setdefault(event.kind, event)
    if "final" in session:
        return "Finished", "done"
    if "stop" not in session:
        return "Not finished", "open"
    return "Interrupted" if session["stop"].text("code") == "interrupted" else "Stopped", "stopped"


def happened(record: RunRecord) -> Html | None:
    """Starts, interventions of the guard, resumes, stops and events of kinds not known here, in order."""
    told = [event for event in record.events if event.kind not in ROUTINE]
    if not told:
        return None
    guards = record.of("guard")
    numbers = {id(event): index for index, event in enumerate(guards, start=1)}
    checkpoints = record.of("checkpoint")
    lead = f"The guard stepped in {_times(len(guards))}. " if guards else "The guard never had to step in. "
    if checkpoints:
        lead += f"{count(len(checkpoints))} checkpoints, the newest after {count(checkpoints[-1].nimg)} images. "
    if record.unreadable:
        lead += f"{count(record.unreadable)} of the lines in events.jsonl could not be read. "
    head = [element("th", "Images", class_="number"), element("th", "Time", class_="number")]
    head += [element("th", "Event"), element("th", "What and why")]
    rows = [element("tr", head), *(_row(event, numbers.get(id(event))) for event in told)]
    table = element("div", element("table", rows), class_="scroll")
    return element("section", element("h2", "What happened"), element("p", lead, class_="lead"), table, id="happened")


def _sentence(record: RunRecord) -> list[str]:
    """What was done, why it ended, and how to go on where there is more to do."""
    words, kind = state(record)
    stop = record.last("stop")
    reason = stop.text("reason").strip().rstrip(".") if stop and kind != "open" else ""
    sentence = [f"{count(record.nimg)} images seen in {duration(record.seconds)}{' so far' * (kind == 'open')}. "]
    if reason:
        sentence.append(f"It stopped because: {reason}. ")
    if kind == "open":
        sentence.append("If it is no longer running, ")
    if kind == "open" or words == "Interrupted":
        sentence += [element("code", f"mulligan resume {record.folder.resolve().name}"), " goes on."]
    return sentence


def _tiles(record: RunRecord) -> list[Html]:
    """The figures, from the final scoring if there is one, else from the best evaluation so far."""
    final = record.last("final")
    event = final or best_evaluation(record)
    if event is None:
        return []
    kid, interval = figure(event.number("kid"), event.number("kid_low"), event.number("kid_high"))
    memorisation = event.within("memorisation")
    split = event.text("split") or "validation"
    tiles = [
        _tile(f"KID, {NAMED.get(split, split)}", kid, f"95%: {interval}" if interval else "", "hero"),
        _tile("Fréchet distance", number(event.number("frechet")), "lower is better"),
        _tile("Precision", decimal(event.number("precision")), "samples near real ones"),
        _tile("Recall", decimal(event.number("recall")), "real ones near samples"),
        _tile("Memorisation", decimal(memorisation.number("ratio")), "0 copies, 1 is like unseen"),
        _tile("Density", decimal(event.number("density")), "1 is like real images"),
        _tile("Coverage", decimal(event.number("coverage")), "real ones with a sample"),
        _tile("Diversity", decimal(event.number("diversity")), "1 is like real images"),
        _tile("Images seen", short(record.nimg), "" if final else "so far"),
        _tile("Time", duration(record.seconds), "" if final else "so far"),
    ]
    return [tile for tile in tiles if tile]


def _tile(label: str, value: str, detail: str, class_: str | None = None) -> Html | None:
    if value == UNKNOWN:
        return None
    children = element("span", label), element("strong", value), element("small", detail)
    return element("div", *children, class_=class_)


def _protocol(record: RunRecord) -> str | None:
    """What the figures were measured on."""
    event = record.last("final") or best_evaluation(record)
    if event is None:
        return None
    split = event.text("split")
    nimg = event.nimg if event.number("best_nimg") is None else event.number("best_nimg")
    return (
        f"{count(event.number('n_fake'))} samples against {count(event.number('n_real'))} "
        f"{PROTOCOLS.get(split, f'images of the {split} split')}, embedding {event.text('embedding')}. "
        f"Generator: average “{event.text('average')}” after {count(nimg)} images."
    )


def _row(event: Event, guard: int | None) -> Html:
    badge = element("b", str(guard), class_="flag") if guard else None
    return element(
        "tr",
        element("td", count(event.nimg), class_="number"),
        element("td", duration(event.seconds), class_="number"),
        element("td", event.kind, " " if badge else None, badge),
        element("td", _told(event)),
    )


def _told(event: Event) -> str:
    """An event's own keys as a sentence."""
    match event.kind:
        case "start":
            gen, disc = short(event.number("gen_parameters")), short(event.number("disc_parameters"))
            compiled = duration(event.number("compile_seconds"))
            told = f"{gen} parameters in the generator, {disc} in the discriminator; compiled in {compiled}"
        case "guard":
            attempt, back = count(event.number("attempt")), count(event.number("back_to_nimg"))
            told = f"{event.text('reason')} → {event.text('action')}; back to {back} images, attempt {attempt}"
        case "strategy":
            chosen = event.text("strategy") or "none of the strategies lasted: back to where they began"
            weights = ", ".join(f"{name} {decimal(value)}" for name, value in _weights(event))
            told = f"{chosen}; weights after the {event.text('mode')}: {weights}"
        case "resume":
            reason = event.text("reason")
            told = f"from {count(event.number('from_nimg'))} images" + (reason and f": {reason}")
        case "stop":
            told = event.text("reason") or event.text("code")
        case "choice":
            reason = event.text("reason")
            told = f"{event.text('average')} is kept" + (reason and f": {reason}")
        case "final":
            told = f"the best generator, scored once on the {event.text('split')} split"
        case _:
            told = json.dumps(event.values, ensure_ascii=False)
    return told


def _weights(event: Event) -> list[tuple[str, float]]:
    """The strategies with the largest weights."""
    weights = event.values.get("weights") or {}
    return sorted(weights.items(), key=lambda entry: -entry[1])[:SHOWN]


def _times(value: int) -> str:
    return {1: "once", 2: "twice"}.get(value, f"{value} times")
