"""Does what was learned beat the best fixed recipe of the other families? On recorded curves, at recorded budgets.

    .venv/bin/python benchmarks/meta/fixed_recipes.py --budgets 0.25 1 --seeds 5

Contenders are one recipe for the whole budget (the default that ships, the one made by hand, the recipe of the lowest
mean log distance on the *other* families, the first proposal of each prior that learned from the other families), or a
search that shares the budget out (`table.py`). A recipe counts only where it is recorded for the whole budget; where a
contender's own choice is not, the next that is stands for it, and the table says how often. All are compared with the
best fixed recipe, on the same tasks and seeds; intervals are over families. What there is to gain at most is the lead
of the oracle, the lowest end of all that is recorded, which flatters it by the noise of seeds.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterable, Sequence
from functools import partial

import numpy as np

from benchmarks.common.intervals import Interval, interval
from benchmarks.meta.cases import Case, cases_of, held_out, of_size
from benchmarks.meta.replay import Moves, halving, replay
from benchmarks.meta.table import CONTENDERS, PROPOSALS
from benchmarks.meta.yardsticks import by_mean, lasts, lowest
from mulligan.meta.experience import read, shipped_and_own
from mulligan.meta.predict.curves import default_for, recipe_name
from mulligan.meta.predict.prior import PRIORS

BEST_FIXED = "best fixed recipe of the others"
SEARCHES = (
    "random search",
    "successive halving",
    "Optuna: TPE, Hyperband",
    "portfolio + halving",
    "nearest, in turn",
    "nearest + FTRL race",
)

Choice = tuple[int, bool]  # an arm, and whether it is the contender's own choice


def ends(case: Case) -> dict[int, float]:
    """Log distance at the end of the budget of each arm that is recorded for the whole of it."""
    found = {}
    for index in range(len(case.arms)):
        trace = lowest(case, index)
        if lasts(trace, case.budget) and math.isfinite(trace.at(case.budget)):
            found[index] = trace.at(case.budget)
    return found


class Recorded:
    """Cases of one budget, with what each of their arms ends with."""

    def __init__(self, cases: Sequence[Case]):
        known = [(case, ends(case)) for case in cases]
        self.ends = [(case, values) for case, values in known if len(values) > 1]
        self._gaps = [
            {case.arms[index].name: value - float(np.mean(list(values.values()))) for index, value in values.items()}
            for case, values in self.ends
        ]

    def fixed(self, family: str) -> list[str]:
        """Recipes by mean log distance over the case's mean on all families but this one, best first."""
        gaps: dict[str, list[tuple[str, float]]] = {}
        others = [row for row in zip(self.ends, self._gaps, strict=True) if row[0][0].task.family != family]
        for (case, _), of_case in others:
            for name, gap in of_case.items():
                gaps.setdefault(name, []).append((case.task.family, gap))
        return by_mean(gaps, len(others))


def first_recorded(case: Case, names: Iterable[str], values: dict[int, float]) -> Choice | None:
    """The first of these recipes that is recorded for the whole budget."""
    arms = {case.arms[index].name: index for index in values}
    for place, name in enumerate(names):
        if name in arms:
            return arms[name], place == 0
    return None


def shipped(case: Case) -> list[str]:
    return [recipe_name(case.task, default_for(case.task, case.query.images))]


def proposed(prior: str, case: Case) -> list[str]:
    return [
        recipe_name(case.task, each.recipe, case.query.images)
        for each in case.priors[prior].propose(case.query, PROPOSALS)
    ]


SINGLE: dict[str, Callable[[Case], list[str]]] = {
    "default that ships": shipped,
    "made by hand": lambda case: [case.arms[0].name],
    **{f"{prior}, first": partial(proposed, prior) for prior in PRIORS if prior != "default"},
}


def fixed_halving(names: Sequence[str], case: Case) -> Callable[[], Moves]:
    """Successive halving of the recipes that did best on the other families: a portfolio without similarity."""
    arms = {arm.name: index for index, arm in enumerate(case.arms)}
    return partial(halving, [arms[name] for name in names if name in arms][:PROPOSALS], case.budget)


def gaps(recorded: Recorded, searches: Sequence[str]) -> dict[str, list[tuple[str, float, bool]]]:
    """By contender: family, log distance over that of the best fixed recipe, and whether the choice was its own."""
    found: dict[str, list[tuple[str, float, bool]]] = {}
    for case, values in recorded.ends:
        ranked = recorded.fixed(case.task.family)
        reference = first_recorded(case, ranked, values)
        if reference is None:
            continue
        base = values[reference[0]]

        def note(name: str, value: float, own: bool = True, base: float = base, case: Case = case) -> None:
            found.setdefault(name, []).append((case.task.family, value - base, own))

        note(BEST_FIXED, base, reference[1])
        for name, pick in SINGLE.items():
            chosen = first_recorded(case, pick(case), values)
            if chosen is not None:
                note(name, values[chosen[0]], chosen[1])
        curves = [arm.curve for arm in case.arms]
        for name in searches:
            reached = replay(curves, CONTENDERS[name](case), case.budget).at(case.budget)
            note(name, reached)
        note("best fixed ones + halving", replay(curves, fixed_halving(ranked, case), case.budget).at(case.budget))
        note("mean recorded recipe", float(np.mean(list(values.values()))))
        note("oracle", min(values.values()))
    return found


def shown(found: dict[str, list[tuple[str, float, bool]]]) -> str:
    lines = [
        f"| contender | distance over that of {BEST_FIXED} (95%) | cases | own choice recorded |",
        "|---|---|---|---|",
    ]

    def mean(name: str) -> Interval:
        return interval([(family, gap) for family, gap, _ in found[name] if math.isfinite(gap)])

    for name in sorted(found, key=lambda name: mean(name).mean):
        middle, low, high = (math.exp(value) for value in mean(name))
        own = np.mean([own for *_, own in found[name]])
        lines.append(f"| {name} | {middle:.2f} ({low:.2f} .. {high:.2f}) | {len(found[name])} | {own:.0%} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--experience", help="a file, URL or exported file; the shipped and the user's own if left out")
    parser.add_argument("--budgets", nargs="+", type=float, default=[0.25, 1.0], help="in short trials")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--size", type=int, help="judge on tasks of this side alone; priors learn from all")
    parser.add_argument("--searches", nargs="*", choices=CONTENDERS, default=list(SEARCHES))
    chosen = parser.parse_args()
    records = read(chosen.experience) if chosen.experience else shipped_and_own()
    priors, seen = held_out(records), of_size(records, chosen.size)
    for budget in chosen.budgets:
        recorded = Recorded(cases_of(seen, priors, budget, chosen.seeds))
        families = {case.task.family for case, _ in recorded.ends}
        print(f"\nbudget: {budget:g} short trials; {len(recorded.ends)} cases of {len(families)} families\n")
        print(shown(gaps(recorded, chosen.searches)))


if __name__ == "__main__":
    main()
