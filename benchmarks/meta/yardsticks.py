"""How much compute it takes to get where a yardstick ends: the textbook's recipe, the hand-made, the best in hindsight.

A yardstick trains alone for the whole budget. What is asked for is its lowest distance by then, over all of its
operations.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

from benchmarks.common.intervals import interval
from benchmarks.meta.cases import Case
from benchmarks.meta.replay import Trace, in_turn, replay
from mulligan.meta.predict.curves import recipe_name
from mulligan.meta.space.default import textbook_recipe

LASTS = 0.9  # of a budget, that a yardstick's record must fill: steps may miss it
COMMON = 0.9  # of the cases, in which a fixed recipe must be recorded

Pick = Callable[[Case], int | None]  # an arm of a case, where it is recorded


def _textbook(case: Case) -> int | None:
    return _named(case, recipe_name(case.task, textbook_recipe()))


def _named(case: Case, name: str) -> int | None:
    return next((index for index, arm in enumerate(case.arms) if arm.name == name), None)


def best_single(cases: Sequence[Case]) -> Pick:
    """The recipe of the lowest mean log distance at the end of the budget, in hindsight, families counting alike.

    Of those recorded for so long in nearly all cases; what it is compared with is the hand-made recipe's.
    """
    gains: dict[str, list[tuple[str, float]]] = {}
    for case in cases:
        plain = lowest(case, 0)
        for index, arm in enumerate(case.arms):
            reached = lowest(case, index)
            if math.isfinite(plain.at(case.budget)) and lasts(reached, case.budget):
                gains.setdefault(arm.name, []).append(
                    (case.task.family, reached.at(case.budget) - plain.at(case.budget))
                )
    best = next(iter(by_mean(gains, len(cases))), None)
    return lambda case: None if best is None else _named(case, best)


def by_mean(gaps: dict[str, list[tuple[str, float]]], cases: int) -> list[str]:
    """Recipes with a (family, gap) pair in nearly all cases by their means over families, the lowest first."""
    means = {name: interval(pairs).mean for name, pairs in gaps.items() if len(pairs) >= COMMON * cases}
    return sorted(means, key=lambda name: means[name])


def lowest(case: Case, index: int) -> Trace:
    """One arm alone for the whole budget."""
    return replay([case.arms[index].curve], partial(in_turn, [0], math.inf), case.budget)


def lasts(trace: Trace, budget: float) -> bool:
    return len(trace.spent) > 0 and trace.spent[-1] >= LASTS * budget


def yards(case: Case, trace: Trace, yardsticks: dict[str, Pick]) -> dict[str, float]:
    """Of each yardstick that is recorded for the whole budget."""
    found = {}
    for name, pick in yardsticks.items():
        index = pick(case)
        own = None if index is None else lowest(case, index)
        if own is not None and lasts(own, case.budget) and math.isfinite(own.at(case.budget)):
            found[name] = trace.reached(own.at(case.budget)) / own.spent[-1]
    return found


def yardsticks(cases: Sequence[Case]) -> dict[str, Pick]:
    """Those of the cases of one budget, by name."""
    return {"textbook": _textbook, "hand-made": lambda case: 0, "best single": best_single(cases)}
