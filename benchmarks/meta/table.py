"""The experience as a table: priors and allocators on recorded curves, on families that the priors have not seen.

The default is here what was made by hand before anything was learned: the one that ships rests on all families.

    .venv/bin/python benchmarks/meta/table.py --experience experience.db --seeds 5

For every family in turn, priors learn from all the others. On each of its tasks every contender may then train, look by
look, the recipes that are recorded there, until it has spent the budget. Budgets are in short trials (32,000 images of
the yardstick). Takes a minute or so; no GAN is trained.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.common.intervals import interval
from benchmarks.common.places import RESULTS
from benchmarks.meta.cases import Case, Taught, cases_of, held_out, judged, of_size, rng_of
from benchmarks.meta.replay import SLICES, Moves, Trace, halving, in_turn, leader, race, replay
from benchmarks.meta.yardsticks import Pick, yards, yardsticks
from mulligan.meta.experience import read, shipped_and_own
from mulligan.meta.predict.curves import lowest_so_far, recipe_name
from mulligan.meta.predict.prior import PartialCurve, Query
from mulligan.meta.race.allocation import Allocation
from mulligan.meta.store.record import FAILED, Point, Records

OURS = "nearest, in turn"  # what `mulligan fit` does within a brief budget
PROPOSALS = 16  # that a prior makes, as many as auto-sklearn 2.0's portfolio begins with
TIMES = np.geomspace(1 / 16, 1, 17)  # shares of the budget at which regret is taken
SEEN = (0.0, 0.25, 0.5, 0.75)  # of a curve's points, after which forecasts are judged
COLOURS = ("black", "tab:red", "tab:blue", "tab:orange", "tab:green")


Contender = Callable[[Case], Callable[[], Moves]]
Allotting = Callable[[Sequence[float], int], Allocation]  # weights of the arms, slices


# --- contenders


def only_default(case: Case) -> Callable[[], Moves]:
    """The default recipe, made by hand before anything was learned, as far as it is recorded."""
    return partial(in_turn, [0], case.length)


def random_search(case: Case) -> Callable[[], Moves]:
    """Recipes in random order, each to the end of a short trial."""
    return partial(in_turn, _shuffled(case), case.length)


def random_halving(case: Case) -> Callable[[], Moves]:
    """Successive halving of recipes drawn at random."""
    return partial(halving, _shuffled(case)[:PROPOSALS], case.budget)


def optuna_tpe(case: Case) -> Callable[[], Moves]:
    from benchmarks.meta.tpe import tpe_hyperband

    return tpe_hyperband([arm.recipe for arm in case.arms], case.length, case.seed)


def proposed_in_turn(prior: str, case: Case) -> Callable[[], Moves]:
    """What the prior proposes, best first, each to the end of a short trial."""
    return partial(in_turn, list(_proposed(prior, case)), case.length)


def proposed_halving(prior: str, case: Case) -> Callable[[], Moves]:
    return partial(halving, list(_proposed(prior, case)), case.budget)


def proposed_race(
    prior: str, allocation: Callable[[Sequence[float], int], Allocation], case: Case
) -> Callable[[], Moves]:
    """The race of what the prior proposes, with its weights and forecasts."""
    proposed = _proposed(prior, case)
    arms = list(proposed)

    def outlook(index: int, points: Sequence[Sequence[Point]], flops: float) -> float:
        trials = [PartialCurve(case.arms[arm].recipe, seen) for arm, seen in zip(arms, points, strict=True)]
        others = [trial for other, trial in enumerate(trials) if other != index and trial.seen]
        forecast = case.priors[prior].forecast(Query(case.task, flops), *trials[index], others)
        return float(forecast.median[-1])

    def moves() -> Moves:
        played = race(len(arms), case.budget, outlook, allocation(list(proposed.values()), SLICES))
        answer = None
        while True:
            try:
                index = played.send(answer)
            except StopIteration:
                return
            answer = yield arms[index]

    return moves


def _shuffled(case: Case) -> list[int]:
    return rng_of(case.task, case.seed).permutation(len(case.arms)).tolist()


def _proposed(prior: str, case: Case) -> dict[int, float]:
    """Weights of the arms that are proposed and recorded, in the prior's order."""
    arms = {arm.name: index for index, arm in enumerate(case.arms)}
    proposals = case.priors[prior].propose(case.query, PROPOSALS)
    names = [(recipe_name(case.task, each.recipe, case.query.images), each.weight) for each in proposals]
    return {arms[name]: weight for name, weight in names if name in arms}


LEARNED = ("portfolio", "nearest", "surrogate")
CONTENDERS: dict[str, Contender] = {
    "hand-made default": only_default,
    "random search": random_search,
    "successive halving": random_halving,
    "Optuna: TPE, Hyperband": optuna_tpe,
    **{f"{prior}, in turn": partial(proposed_in_turn, prior) for prior in LEARNED},
    **{f"{prior} + halving": partial(proposed_halving, prior) for prior in LEARNED},
    **{f"{prior} + FTRL race": partial(proposed_race, prior, leader) for prior in LEARNED},
}


# --- figures


class Outcome(NamedTuple):
    """What one contender came to in one case."""

    contender: str
    budget: float  # in short trials
    family: str
    task: str
    seed: int
    gain: float  # log distance at the end, minus the default's after as many operations
    reach: float  # short trials until the default's distance after one; infinite if never
    regret: list[float]  # log distance minus the lowest recorded, at TIMES
    yards: dict[str, float]  # operations until each yardstick's lowest distance in the budget, over the yardstick's own


def outcomes(
    records: Records, priors: Taught, budgets: Sequence[float], seeds: int, contenders: Sequence[str]
) -> list[Outcome]:
    """All contenders on all tasks that can be judged."""
    found = []
    for budget in budgets:
        of_budget = cases_of(records, priors, budget, seeds)
        picks = yardsticks(of_budget)
        for case in of_budget:
            found += _of_case(case, budget, contenders, picks)
    return found


def _of_case(case: Case, budget: float, contenders: Sequence[str], picks: dict[str, Pick]) -> list[Outcome]:
    curves = [arm.curve for arm in case.arms]
    plain = replay(curves, only_default(case), max(case.budget, case.length))
    lowest = min(float(values[-1]) for curve in curves if len(values := lowest_so_far(case.task.shape, curve)[1]))
    untrained = max(float(values[0]) for curve in curves if len(values := lowest_so_far(case.task.shape, curve)[1]))
    found = []
    for name in contenders:
        trace = replay(curves, CONTENDERS[name](case), case.budget)
        regret = [min(trace.at(share * case.budget), untrained) - lowest for share in TIMES]
        found.append(
            Outcome(
                contender=name,
                budget=budget,
                family=case.task.family,
                task=case.task.name,
                seed=case.seed,
                gain=_end(trace, case.budget, untrained) - _end(plain, case.budget, untrained),
                reach=trace.reached(plain.at(case.length)) / case.length,
                regret=regret,
                yards=yards(case, trace, picks),
            )
        )
    return found


def _end(trace: Trace, budget: float, untrained: float) -> float:
    return min(trace.at(budget), untrained)


# --- calibration


class Judgement(NamedTuple):
    """How a prior's forecasts of one trial's end did after part of its curve was seen."""

    prior: str
    family: str
    seen: float
    inside: bool
    width: float  # of the interval, in log distance
    error: float  # of the median, in log distance


def judgements(records: Records, priors: Taught) -> list[Judgement]:
    """Forecasts for all trials of held-out families that ended, at the end of their records."""
    found, by_id = [], {task.id: task for task in judged(records)}
    for trial in records.trials.values():
        task = by_id.get(trial.task)
        if task is None or trial.status == FAILED or not len(lowest_so_far(task.shape, trial.curve)[1]):
            continue
        end = float(lowest_so_far(task.shape, trial.curve)[1][-1])
        for name, prior in priors[task.family].items():
            for share in SEEN:
                seen = trial.curve[: round(share * len(trial.curve))]
                forecast = prior.forecast(Query(task, trial.curve[-1].flops), trial.recipe, seen)
                low, median, high = (float(line[-1]) for line in (forecast.low, forecast.median, forecast.high))
                found.append(Judgement(name, task.family, share, low <= end <= high, high - low, abs(median - end)))
    return found


# --- tables and plots


def shown(found: Sequence[Outcome], budgets: Sequence[float]) -> str:
    """What equal operations buy, and what it takes to be as good as the default."""
    lines = []
    for budget in budgets:
        of_budget = [outcome for outcome in found if outcome.budget == budget]
        lines += [f"\nbudget: {budget:g} short trials\n"]
        lines += [
            "| contender | distance / default's (95%) | mean regret, nats (95%) | reached the default | after, median |"
        ]
        lines += ["|---|---|---|---|---|"]
        for name in dict.fromkeys(outcome.contender for outcome in of_budget):
            own = [outcome for outcome in of_budget if outcome.contender == name]
            gain = interval([(outcome.family, outcome.gain) for outcome in own])
            regret = interval([(outcome.family, float(np.mean(outcome.regret))) for outcome in own])
            ratio = " .. ".join(f"{math.exp(value):.2f}" for value in gain[1:])
            reached = interval([(outcome.family, float(math.isfinite(outcome.reach))) for outcome in own])
            median = float(np.median([outcome.reach for outcome in own]))
            regrets = f"{regret.mean:.2f} ({regret.low:.2f} .. {regret.high:.2f})"
            cells = f"{math.exp(gain.mean):.2f} ({ratio})", regrets, f"{reached.mean:.0%}", f"{median:.2f}"
            lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def paired(found: Sequence[Outcome], budgets: Sequence[float], ours: str) -> str:
    """Distance at the end of one contender over that of each other, on the same tasks with the same seeds."""
    lines = ["| distance of " + ours + " over that of | " + " | ".join(f"{budget:g}" for budget in budgets) + " |"]
    lines += ["|---" * (len(budgets) + 1) + "|"]
    gains = {(each.contender, each.budget, each.task, each.seed): each.gain for each in found}
    for name in dict.fromkeys(outcome.contender for outcome in found if outcome.contender != ours):
        cells = []
        for budget in budgets:
            own = [outcome for outcome in found if (outcome.contender, outcome.budget) == (ours, budget)]
            gaps = [(each.family, each.gain - gains[name, budget, each.task, each.seed]) for each in own]
            ratio = [f"{math.exp(value):.2f}" for value in interval(gaps)]
            cells.append(f"{ratio[0]} ({ratio[1]} .. {ratio[2]})")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def measured(found: Sequence[Outcome], budgets: Sequence[float]) -> str:
    """Compute until each yardstick's final distance, over the compute it took itself: medians over tasks and seeds."""
    names = list(dict.fromkeys(name for outcome in found for name in outcome.yards))
    lines = []
    for budget in budgets:
        lines += [
            f"\nbudget: {budget:g} short trials; compute to a yardstick's distance over its own, median (reached)\n"
        ]
        lines += ["| contender | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
        of_budget = [outcome for outcome in found if outcome.budget == budget]
        for contender in dict.fromkeys(outcome.contender for outcome in of_budget):
            own = [outcome.yards for outcome in of_budget if outcome.contender == contender]
            cells = [_cell([yards[name] for yards in own if name in yards]) for name in names]
            lines.append(f"| {contender} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(ratios: Sequence[float]) -> str:
    """A median, `never` where half of the cases never got there, and the share that did."""
    if not ratios:
        return ""
    median = float(np.median(ratios))
    return (
        f"{median:.2f} ({np.mean(np.isfinite(ratios)):.0%})"
        if math.isfinite(median)
        else f"never ({np.mean(np.isfinite(ratios)):.0%})"
    )


def calibration(found: Sequence[Judgement]) -> str:
    """Coverage of the 80% intervals on held-out families, their width, and the error of the medians."""
    lines = ["| prior | " + " | ".join(f"{share:.0%} seen: inside, width, error" for share in SEEN) + " |"]
    lines.append("|---" * (len(SEEN) + 1) + "|")
    for name in dict.fromkeys(judgement.prior for judgement in found):
        cells = []
        for share in SEEN:
            own = [each for each in found if each.prior == name and each.seen == share]
            inside, width, error = (
                interval([(each.family, float(getattr(each, field))) for each in own]).mean
                for field in ("inside", "width", "error")
            )
            cells.append(f"{inside:.0%}, {width:.2f}, {error:.2f}")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def plot(found: Sequence[Outcome], budgets: Sequence[float], path: Path) -> None:
    """Regret over time, with 95% intervals over families and seeds."""
    import matplotlib
    from cycler import cycler

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, len(budgets), figsize=(7 * len(budgets), 5), squeeze=False, sharey=True)
    for axis, budget in zip(axes[0], budgets, strict=True):
        axis.set_prop_cycle(cycler(linestyle=["-", "--", ":"]) * cycler(color=list(COLOURS)))
        for name in dict.fromkeys(outcome.contender for outcome in found):
            own = [outcome for outcome in found if outcome.contender == name and outcome.budget == budget]
            spans = [
                interval([(outcome.family, outcome.regret[index]) for outcome in own]) for index in range(len(TIMES))
            ]
            [line] = axis.plot(budget * TIMES, [span.mean for span in spans], label=name)
            axis.fill_between(
                budget * TIMES,
                [span.low for span in spans],
                [span.high for span in spans],
                color=line.get_color(),
                alpha=0.08,
                linewidth=0,
            )
        axis.set(xscale="log", xlabel="operations spent, in short trials", title=f"budget {budget:g}")
    axes[0][0].set_ylabel("regret: log distance above the lowest recorded")
    axes[0][-1].legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--experience", help="a file, URL or exported file; the shipped and the user's own if left out")
    parser.add_argument("--budgets", nargs="+", type=float, default=[1.0, 4.0], help="in short trials")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--size", type=int, help="judge on tasks of this side alone; priors learn from all")
    parser.add_argument("--contenders", nargs="+", choices=list(CONTENDERS), default=list(CONTENDERS))
    parser.add_argument("--output", type=Path, default=RESULTS / "table")
    chosen = parser.parse_args()
    records = read(chosen.experience) if chosen.experience else shipped_and_own()
    priors = held_out(records)
    seen = of_size(records, chosen.size)
    found = outcomes(seen, priors, chosen.budgets, chosen.seeds, chosen.contenders)
    judged_forecasts = judgements(seen, priors)
    tasks = judged(seen)
    families = len({task.family for task in tasks})
    recipes = {recipe_name(seen.tasks[trial.task], trial.recipe) for trial in seen.trials.values()}
    head = f"{len(seen.trials)} trials of {len(recipes)} recipes on {len(tasks)} tasks of {families} families"
    print(
        head,
        shown(found, chosen.budgets),
        measured(found, chosen.budgets),
        *(["", paired(found, chosen.budgets, OURS)] if OURS in chosen.contenders else []),
        "\nforecasts of held-out families\n",
        calibration(judged_forecasts),
        sep="\n",
    )
    chosen.output.mkdir(parents=True, exist_ok=True)
    document: dict[str, Any] = {
        "experience": head,
        "outcomes": [outcome._asdict() for outcome in found],
        "forecasts": [judgement._asdict() for judgement in judged_forecasts],
    }
    (chosen.output / "results.json").write_text(json.dumps(document))
    plot(found, chosen.budgets, chosen.output / "regret.png")
    print(f"\n{chosen.output / 'results.json'}\n{chosen.output / 'regret.png'}")


if __name__ == "__main__":
    main()
