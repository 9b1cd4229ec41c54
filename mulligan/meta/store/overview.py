"""What an experience holds, at a glance."""

from __future__ import annotations

from typing import Any

from mulligan.meta.store.exchange import Records, read, shipped_and_own
from mulligan.meta.store.kid_curves import lowest_kid
from mulligan.meta.store.record import FAILED, Trial
from mulligan.metrics import EMBEDDING


def overview(place: str | None = None) -> list[dict[str, Any]]:
    """An entry for each task, shipped ones too unless a place is given: trials, failures and the best trial.

    The best is that with the lowest KID at any point of its curve, among all lengths; where trials on a task were
    judged in different embeddings, among those judged in the default one.
    """
    return summaries(shipped_and_own() if place is None else read(place))


def summaries(known: Records) -> list[dict[str, Any]]:
    """The same of what has been read."""
    by_task: dict[str, list[Trial]] = {name: [] for name in known.tasks}
    for trial in known.trials.values():
        by_task[trial.task].append(trial)
    ordered = sorted(known.tasks.values(), key=lambda task: (task.family, task.name, task.id))
    return [
        {"task": task.name, "family": task.family, "shape": list(task.shape), **_summary(by_task[task.id])}
        for task in ordered
    ]


def _summary(trials: list[Trial]) -> dict[str, Any]:
    lowest = [
        (trial.embedding != EMBEDDING, kid, trial) for trial in trials if (kid := lowest_kid(trial.curve)) is not None
    ]
    _, kid, best = min(lowest, key=lambda entry: entry[:2], default=(None, None, None))
    return {
        "trials": len(trials),
        "failed": sum(trial.status == FAILED for trial in trials),
        "recipes": len({trial.recipe.hash() for trial in trials}),
        "seconds": round(sum(trial.cost["seconds"] for trial in trials), 1),
        "best_kid": kid,
        "embedding": best and best.embedding,
        "best_recipe": best and best.recipe.hash(),
    }


def overview_lines(tasks: list[dict[str, Any]]) -> list[str]:
    """The overview as a table of plain text."""
    if not tasks:
        return ["nothing is remembered yet: `mulligan learn` fills the experience."]
    heads = ("task", "trials", "failed", "recipes", "hours", "best KID", "with")
    rows = [
        (
            task["task"],
            str(task["trials"]),
            str(task["failed"]),
            str(task["recipes"]),
            f"{task['seconds'] / 3600:.2f}",
            "" if task["best_kid"] is None else f"{task['best_kid']:.4f}@{task['embedding']}",
            task["best_recipe"] or "",
        )
        for task in tasks
    ]
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    return [
        "  ".join(f"{cell:{'<' if index in (0, 6) else '>'}{widths[index]}}" for index, cell in enumerate(row)).rstrip()
        for row in (heads, *rows)
    ]
