"""The page of a whole experience: which recipes win where, what matters, and what was tried on which task."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from mulligan.files import replace_file
from mulligan.meta.experience import read, shipped_and_own
from mulligan.meta.overview import summaries
from mulligan.meta.predict.findings import Findings, findings
from mulligan.meta.store.record import Records
from mulligan.metrics import EMBEDDING
from mulligan.metrics.selection import SELECTS
from mulligan.recipe import Recipe
from mulligan.report.frame import framed
from mulligan.report.markup import Html, element
from mulligan.report.race import traits
from mulligan.report.words import TIMES, UNKNOWN, count, duration, number

SHOWN = 15  # recipes
LEAST_SHARE = 0.001  # of the variance, that a choice is shown for
NAME = SELECTS.at(EMBEDDING)  # what recipes are compared by, as people read it
CLEAR = math.log(1.1)  # a difference of logarithms that is coloured


def write_experience_report(place: str | None, out: Path) -> str | None:
    """Draws a page of an experience, shipped trials too unless a place is given, into the file `out`.

    Returns:
      What there is to tell of rows that cannot be read.

    Raises:
      MulliganError: an experience that cannot be read, or a file that cannot be written.
    """
    known = shipped_and_own() if place is None else read(place)
    # A name from elsewhere may hold half of a surrogate pair, which has no encoding.
    replace_file(out, experience_page(known).encode("utf-8", errors="replace"))
    return known.told()


def experience_page(known: Records) -> str:
    """The whole page."""
    found = findings(known)
    sections = [_summary(known, found), _winners(found), _families(found), _choices(found), _tasks(known)]
    return framed("Experience", sections)


def _summary(known: Records, found: Findings) -> Html:
    trials = list(known.trials.values())
    seconds = sum(trial.cost.get("seconds", 0.0) for trial in trials)
    tiles = (
        ("Trials", count(len(trials))),
        ("Failed", count(sum(trial.status == "failed" for trial in trials))),
        ("Recipes", count(len({trial.recipe.hash() for trial in trials}))),
        ("Tasks", count(len(known.tasks))),
        ("Families", count(len({task.family for task in known.tasks.values()}))),
        ("Time", duration(seconds)),
    )
    words = (
        f"Differences are of the logarithm of {NAME} from one recipe, tried nearly everywhere, after equal operations "
        "on the same task."
    )
    return element(
        "section",
        element("h1", "What was tried, and what came of it"),
        element("p", words if found.rankings else "Nothing can be compared yet.", class_="lead"),
        element(
            "div",
            [element("div", element("span", name), element("strong", text)) for name, text in tiles],
            class_="tiles",
        ),
        id="result",
    )


def _winners(found: Findings) -> Html | None:
    """The recipes that did best over all."""
    rows = []
    for place, each in enumerate(found.rankings[:SHOWN], start=1):
        same = each.name == found.anchor_name
        differs = "the recipe compared with" if same else traits(each.recipe, found.anchor)
        name = element("code", each.name[:8])
        cells = (str(place), name, count(each.tasks), differs, count(each.wins), f"{each.rank:.2f}")
        rows.append(element("tr", [element("td", cell) for cell in cells]))
    words = "By mean rank: the share of other recipes on the same task that ended lower; 0 is the best everywhere."
    heads = ("", "Recipe", "Tasks", "Differs from the recipe compared with in", "Best on", "Mean rank")
    return _table("winners", "Recipes", words, heads, rows)


def _families(found: Findings) -> Html | None:
    """The figure that selects over that of the recipe compared with, by family."""
    rows = []
    for each in found.rankings[:SHOWN]:
        cells = [element("td", element("code", each.name[:8]))]
        for family in found.families:
            if (difference := each.differences.get(family)) is None:
                cells.append(element("td", UNKNOWN))
                continue
            kind = "good" if difference < -CLEAR else "bad" if difference > CLEAR else None
            cells.append(element("td", f"{math.exp(difference):.2f}", class_=kind))
        rows.append(element("tr", cells))
    words = f"{NAME} over that of the recipe compared with, by family: below 1 is better. Coloured beyond {TIMES} 1.1."
    return _table("families", "Where they win", words, ("Recipe", *found.families), rows)


def _choices(found: Findings) -> Html | None:
    """How much each choice matters, and which of its values did well."""
    most = max((each.share for each in found.importances), default=0.0)
    rows = []
    for each in found.importances:
        if each.share >= LEAST_SHARE:
            values = [f"{value} ({math.exp(mean):.2f}, {count(n)} recipes)" for value, n, mean in each.values[:5]]
            bar = element("span", class_="bar", style=f"width:{10 * each.share / most:.2f}rem")
            cells = (each.choice.replace("_", " "), bar, f"{each.share:.1%}", ", ".join(values) or UNKNOWN)
            rows.append(element("tr", [element("td", cell) for cell in cells]))
    words = (
        "How much worse trees foretell held-out families and recipes when a choice's values are dealt out anew, as a "
        "share of all variance; and the mean ratio of the recipes with each value, which other choices of theirs "
        "may explain."
    )
    return _table("choices", "What matters", words, ("Choice", "", "Share", "Values, the best first"), rows)


def _tasks(known: Records) -> Html | None:
    """What was tried on each task."""
    recipes = {trial.recipe.hash(): trial.recipe for trial in known.trials.values()}
    rows = []
    for task in summaries(known):
        height, width, channels = task["shape"]
        best = recipes.get(task["best_recipe"])
        words = "" if best is None else f"{number(task['best'])}: {traits(best, Recipe())}"
        size = f"{width}{TIMES}{height}{TIMES}{channels}"
        cells = (task["task"], size, count(task["trials"]), words, count(task["failed"]), count(task["recipes"]))
        rows.append(element("tr", [element("td", cell) for cell in cells]))
    heads = ("Task", "Images", "Trials", f"Lowest {NAME} of all, and by which recipe", "Failed", "Recipes")
    return _table("tasks", "Tasks", "Figures of different tasks do not compare.", heads, rows)


def _table(name: str, title: str, words: str, heads: Sequence[str], rows: list[Html]) -> Html | None:
    if not rows:
        return None
    head = element("tr", [element("th", text) for text in heads])
    table = element("div", element("table", head, rows), class_="scroll even")
    return element("section", element("h2", title), element("p", words, class_="lead"), table, id=name)
