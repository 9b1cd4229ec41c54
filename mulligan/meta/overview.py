"""What an experience holds, at a glance."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from mulligan.errors import printable
from mulligan.meta.experience import imports, read, shipped_and_own
from mulligan.meta.store.figure_curves import lowest_figure
from mulligan.meta.store.record import FAILED, HERE, SHIPPED, Records, Trial
from mulligan.metrics import EMBEDDING
from mulligan.metrics.selection import SELECTS

ORDER = {SHIPPED: 0, HERE: 1}  # of sources; imports come after them


def overview(place: str | None = None) -> dict[str, Any]:
    """What there is, shipped trials too unless a place is given.

    `tasks` has an entry for each task: trials, failures and the best trial. That is the one with the lowest figure that
    selects at any point of its curve, among all lengths; trials that were judged in another embedding or by other
    figures do not compare, and are never the best. `sources` has one for each source, `skipped` a sentence for each row
    that cannot be read.

    Raises:
      MulliganError: the experience cannot be read.
    """
    known = shipped_and_own() if place is None else read(place)
    imported = imports(place)
    counts = Counter(trial.source for trial in known.trials.values())
    named = sorted({*counts, *imported}, key=lambda name: (ORDER.get(name, len(ORDER)), name))
    return {
        "tasks": summaries(known),
        "sources": [
            {**(imported[name]._asdict() if name in imported else {"name": name}), "trials": counts[name]}
            for name in named
        ],
        "skipped": list(known.skipped),
        "told": known.told(),
    }


def summaries(known: Records) -> list[dict[str, Any]]:
    """The same of what has been read."""
    by_task: dict[str, list[Trial]] = {name: [] for name in known.tasks}
    for trial in known.trials.values():
        by_task[trial.task].append(trial)
    found = []
    for task in sorted(known.tasks.values(), key=lambda task: (task.family, task.name, task.id)):
        trials = by_task[task.id]
        lowest = [
            (value, trial) for trial in trials if trial.comparable and (value := lowest_figure(trial.curve)) is not None
        ]
        value, best = min(lowest, key=lambda entry: entry[0], default=(None, None))
        summary = {
            "task": task.name,
            "family": task.family,
            "shape": list(task.shape),
            "trials": len(trials),
            "failed": sum(trial.status == FAILED for trial in trials),
            "recipes": len({trial.recipe.hash() for trial in trials}),
            "seconds": round(sum(trial.cost.get("seconds", 0.0) for trial in trials), 1),
            "best": value,
            "figure": SELECTS.at(EMBEDDING),
            "best_recipe": best and best.recipe.hash(),
        }
        found.append(summary)
    return found


def overview_lines(found: dict[str, Any]) -> list[str]:
    """The overview as tables of plain text."""
    if not found["tasks"]:
        return ["nothing is remembered yet: `mulligan learn` fills the experience."]
    tasks = [
        (
            task["task"],
            str(task["trials"]),
            str(task["failed"]),
            str(task["recipes"]),
            f"{task['seconds'] / 3600:.2f}",
            "" if task["best"] is None else f"{task['best']:.4f}",
            task["best_recipe"] or "",
        )
        for task in found["tasks"]
    ]
    lines = _table(("task", "trials", "failed", "recipes", "hours", f"best {SELECTS.at(EMBEDDING)}", "with"), tasks)
    if any("added" in source for source in found["sources"]):
        sources = [
            (source["name"], str(source["trials"]), source.get("added", ""), source.get("who", ""))
            for source in found["sources"]
        ]
        lines += ["", *_table(("source", "trials", "added", "by"), sources)]
    return lines


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Columns of text to the left and of numbers to the right."""
    lines = [heads, *rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    left = [name in ("task", "source", "with", "added", "by") for name in heads]
    return [
        "  ".join(f"{printable(cell):{'<' if to_left else '>'}{width}}" for cell, width, to_left in columns).rstrip()
        for columns in (zip(row, widths, left, strict=True) for row in lines)
    ]
