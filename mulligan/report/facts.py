"""The sections of plain facts: the recipe, how the data was read, the cost and the machine."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any, NamedTuple

from mulligan.events import FinalScored, TrainingStarted, as_number
from mulligan.recipe import Form, Recipe
from mulligan.report.markup import Child, Html, element
from mulligan.report.run import RunRecord
from mulligan.report.words import TIMES, UNKNOWN, count, duration, flop, number, short

CHANNELS = {1: "grey", 2: "grey and alpha", 3: "colour", 4: "colour and alpha"}
MOST_CLASSES = 24


class Fact(NamedTuple):
    """A name and its value; `usual` is the default's where the value differs from it."""

    name: str
    value: Child
    usual: str | None = None


def recipe(record: RunRecord) -> Html | None:
    """Every choice that defines the run; those that differ from the default are marked."""
    used, default = _choices(record.recipe), _choices(Recipe())
    cards = [
        _card(title, [Fact(name, value, default[title][name]) for name, value in rows.items()])
        for title, rows in used.items()
    ]
    words = "The default recipe, " if used == default else "What differs from the default recipe is marked: "
    lead = element("p", words, element("code", record.recipe.hash()), class_="lead")
    return element("section", element("h2", "Recipe"), lead, element("div", cards, class_="cards"), id="recipe")


def data(record: RunRecord) -> Html | None:
    """What was trained on and how it was read."""
    notes = record.task.get("notes")
    notes = [element("li", str(note)) for note in notes] if isinstance(notes, list) else []
    described = [Fact(name, number(as_number(value))) for name, value in _object(record.task, "descriptor").items()]
    cards = [_card("How it was read", _read(record)), _card("Descriptor", described) if described else None]
    return element(
        "section",
        element("h2", "Data"),
        element("ul", notes, class_="lead") if notes else None,
        element("div", cards, class_="cards"),
        id="data",
    )


def cost(record: RunRecord) -> Html | None:
    """What the run spent, and on what machine."""
    # The final event's account when there is one, else what the newest event tells.
    final, start = record.last(FinalScored), record.last(TrainingStarted)
    account = final.cost if final else None
    spent = [
        Fact("time", duration(account["seconds"] if account else record.seconds)),
        Fact("images seen", count(account["images"] if account else record.nimg)),
    ]
    if account:
        spent += [
            Fact("training", duration(account["training_seconds"])),
            Fact("evaluation", duration(account["evaluation_seconds"])),
            Fact("computation", flop(account["flops"])),
        ]
    if start:
        spent += [
            Fact("an image", flop(start.flops_per_image)),
            Fact("compilation", duration(start.compile_seconds)),
            Fact("generator", f"{count(start.gen_parameters)} parameters"),
            Fact("discriminator", f"{count(start.disc_parameters)} parameters"),
        ]
    run = record.run
    machine = [
        Fact("memory", f"{_words(value)} GiB") if name == "memory_gib" else Fact(name, _words(value))
        for name, value in _object(run, "machine").items()
    ]
    budget = {unit: as_number(value) for unit, value in _object(run, "budget").items()}
    limits = [duration(limit) if unit == "seconds" else f"{count(limit)} {unit}" for unit, limit in budget.items()]
    asked = [
        Fact("budget", ", ".join(limits) or UNKNOWN),
        Fact("seed", _words(run.get("seed"))),
        *([Fact("beginning", _words(run["init"]))] if run.get("init") else []),
        Fact("started", _words(run.get("created")).replace("T", " ")),
        Fact("mulligan", _words(run.get("version"))),
    ]
    cards = [_card("Cost", spent), _card("Machine", machine), _card("Run", asked)]
    return element("section", element("h2", "Cost"), element("div", cards, class_="cards"), id="cost")


def _choices(recipe: Recipe) -> dict[str, dict[str, str]]:
    """A recipe as three tables of words."""
    forms = dict(recipe.schedules)
    nested = ("architecture", "hyperparameters", "schedules")
    game = {field.name: getattr(recipe, field.name) for field in dataclasses.fields(Recipe)}
    return {
        "Game": {name: _words(value) for name, value in game.items() if name not in nested},
        "Architecture": {name: _words(value) for name, value in vars(recipe.architecture).items()},
        "Hyperparameters": {
            name: _words(value) + (f", {_form(forms[name])}" if name in forms else "")
            for name, value in recipe.hyperparameters._asdict().items()
        },
    }


def _form(form: Form) -> str:
    """How a hyperparameter changes, in words."""
    over = f" over {short(form.over_nimg)} images" if form.over_nimg else ""
    words = {
        "constant": "constant",
        "exponential": f"decaying by {number(form.rate)} an image",
        "cosine": f"cosine to {number(form.final)}{TIMES}{over}",
        "linear": f"linear to {number(form.final)}{TIMES}{over}",
    }
    rising = f", from 0 over {short(form.warmup_nimg)} images" if form.warmup_nimg else ""
    return words.get(form.kind, form.kind) + rising


def _read(record: RunRecord) -> list[Fact]:
    task = record.task
    options = {name: value for name, value in _object(record.run, "options").items() if value not in (None, False)}
    size, classes = _words(task.get("shape")), "none"
    match task.get("shape"):
        case [height, width, channels]:
            named = CHANNELS.get(channels, f"{_words(channels)} channels")
            size = f"{_words(width)} {TIMES} {_words(height)}, {named}"
    match task.get("classes"):
        case [_, *_] as names:
            more = f" and {count(len(names) - MOST_CLASSES)} more" if len(names) > MOST_CLASSES else ""
            classes = f"{count(len(names))}: " + ", ".join(map(str, names[:MOST_CLASSES])) + more
    return [
        Fact("source", _words(record.run.get("source"))),
        Fact("images", size),
        *(Fact(name, count(as_number(value))) for name, value in _object(task, "counts").items()),
        Fact("classes", classes),
        *(Fact(name, _words(value)) for name, value in options.items()),
        Fact("content hash", element("code", _words(task.get("hash"))[:16])),
    ]


def _card(title: str, facts: Iterable[Fact]) -> Html:
    rows = []
    for fact in facts:
        changed = fact.usual is not None and fact.value != fact.usual
        name = element("th", fact.name.replace("_", " "), scope="row")
        value = element("td", fact.value, element("small", f"default {fact.usual}") if changed else None)
        rows.append(element("tr", name, value, class_="changed" if changed else None))
    return element("div", element("h3", title), element("table", rows), class_="card")


def _object(document: dict[str, Any], name: str) -> dict[str, Any]:
    """The object under `name`, empty when there is none."""
    value = document.get(name)
    return value if isinstance(value, dict) else {}


def _words(value: Any) -> str:
    """A value of JSON or of a recipe as people write it."""
    if value is None:
        return UNKNOWN
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(map(_words, value)) or "none"
    amount = as_number(value)
    return str(value) if amount is None else number(amount, 6)
