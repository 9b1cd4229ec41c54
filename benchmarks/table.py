"""The experience as a table: priors and allocators on recorded curves, on families that the priors have not seen.

    .venv/bin/python benchmarks/table.py --experience experience.db --seeds 5

For every family in turn, priors learn from all the others. On each of its tasks every contender may then train, look by
look, the recipes that are recorded there, until it has spent the budget. Budgets are in short trials (32,000 images of
the yardstick). Takes a minute or so; no GAN is trained.
"""

from __future__ import annotations

import argparse
import json
import math
import zlib
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.replay import Moves, Trace, halving, in_turn, leader, race, replay
from benchmarks.throughput import RESULTS
from mulligan.errors import MulliganError
from mulligan.meta.curves import DEFAULT, lowest_so_far, name_of
from mulligan.meta.exchange import Records, read, remembered
from mulligan.meta.learn import IMAGES
from mulligan.meta.prior import PRIORS, Begun, Prior, Question
from mulligan.meta.record import FAILED, Point, TaskRecord, Trial
from mulligan.meta.trial import budget_flops
from mulligan.recipe import Recipe

PROPOSALS = 16  # that a prior makes, as many as auto-sklearn 2.0's portfolio begins with
TIMES = np.geomspace(1 / 16, 1, 17)  # shares of the budget at which regret is taken
SEEN = (0.0, 0.25, 0.5, 0.75)  # of a curve's points, after which forecasts are judged
RESAMPLED = 1000
COLOURS = ("black", "tab:red", "tab:blue", "tab:orange", "tab:green")
FEWEST_FAMILIES = 2


class Arm(NamedTuple):
    """A recipe with one of its recorded trials on a task."""

    name: str
    recipe: Recipe
    curve: tuple[Point, ...]


class Case(NamedTuple):
    """One task and one draw of seeds, as a contender meets it."""

    task: TaskRecord
    arms: tuple[Arm, ...]
    budget: float  # operations
    length: float  # of a short trial
    seed: int
    priors: dict[str, Prior]  # learned from other families

    @property
    def question(self) -> Question:
        return Question(self.task, self.budget)


Contender = Callable[[Case], Callable[[], Moves]]


# --- contenders


def only_default(case: Case) -> Callable[[], Moves]:
    """The default recipe, as far as it is recorded."""
    return partial(in_turn, [index for index, arm in enumerate(case.arms) if arm.name == DEFAULT], case.length)


def random_search(case: Case) -> Callable[[], Moves]:
    """Recipes in random order, each to the end of a short trial."""
    return partial(in_turn, _shuffled(case), case.length)


def random_halving(case: Case) -> Callable[[], Moves]:
    """Successive halving of recipes drawn at random."""
    return partial(halving, _shuffled(case)[:PROPOSALS], case.budget)


def optuna_tpe(case: Case) -> Callable[[], Moves]:
    from benchmarks.tpe import tpe_hyperband

    return tpe_hyperband([arm.recipe for arm in case.arms], case.length, case.seed)


def proposed_in_turn(prior: str, case: Case) -> Callable[[], Moves]:
    """What the prior proposes, best first, each to the end of a short trial."""
    return partial(in_turn, list(_proposed(prior, case)), case.length)


def proposed_halving(prior: str, case: Case) -> Callable[[], Moves]:
    return partial(halving, list(_proposed(prior, case)), case.budget)


def proposed_race(prior: str, case: Case) -> Callable[[], Moves]:
    """The race of what the prior proposes, with its weights and forecasts."""
    proposed = _proposed(prior, case)
    arms = list(proposed)

    def outlook(index: int, points: Sequence[Sequence[Point]], flops: float) -> float:
        trials = [Begun(case.arms[arm].recipe, seen) for arm, seen in zip(arms, points, strict=True)]
        others = [trial for other, trial in enumerate(trials) if other != index and trial.seen]
        forecast = case.priors[prior].forecast(Question(case.task, flops), *trials[index], others)
        return float(forecast.median[-1])

    def moves() -> Moves:
        played = race(list(proposed.values()), case.budget, outlook, leader)
        answer = None
        while True:
            try:
                index = played.send(answer)
            except StopIteration:
                return
            answer = yield arms[index]

    return moves


def _shuffled(case: Case) -> list[int]:
    return _rng(case.task, case.seed).permutation(len(case.arms)).tolist()


def _rng(task: TaskRecord, seed: int) -> np.random.Generator:
    """The same for all contenders, another for each task and seed."""
    return np.random.default_rng([seed, zlib.crc32(task.id.encode())])


def _proposed(prior: str, case: Case) -> dict[int, float]:
    """Weights of the arms that are proposed and recorded, in the prior's order."""
    arms = {arm.name: index for index, arm in enumerate(case.arms)}
    proposals = case.priors[prior].propose(case.question, PROPOSALS)
    names = [(name_of(case.task, each.recipe, case.question.images), each.weight) for each in proposals]
    return {arms[name]: weight for name, weight in names if name in arms}


LEARNED = ("portfolio", "nearest", "surrogate")
CONTENDERS: dict[str, Contender] = {
    "default recipe": only_default,
    "random search": random_search,
    "successive halving": random_halving,
    "Optuna: TPE, Hyperband": optuna_tpe,
    **{f"{prior}, in turn": partial(proposed_in_turn, prior) for prior in LEARNED},
    **{f"{prior} + halving": partial(proposed_halving, prior) for prior in LEARNED},
    **{f"{prior} + FTRL race": partial(proposed_race, prior) for prior in LEARNED},
}


# --- cases


Taught = dict[str, dict[str, Prior]]  # by held-out family and name


def held_out(records: Records) -> Taught:
    """For each family that can be judged, the priors that all other families teach.

    Raises:
      MulliganError: there are too few families.
    """
    families = {task.family for task in judged(records)}
    if len(families) < FEWEST_FAMILIES:
        raise MulliganError(f"the table needs {FEWEST_FAMILIES} families with two recipes on a task each: learn more.")
    found = {}
    for family in sorted(families):
        tasks = [task for task in records.tasks.values() if task.family != family]
        known = {task.id for task in tasks}
        trials = [trial for trial in records.trials.values() if trial.task in known]
        found[family] = {name: PRIORS[name](tasks, trials) for name in PRIORS}
    return found


def judged(records: Records) -> list[TaskRecord]:
    """Tasks on which the default recipe and another were tried, by family and name."""
    names: dict[str, set[str]] = {}
    for trial in records.trials.values():
        names.setdefault(trial.task, set()).add(name_of(records.tasks[trial.task], trial.recipe))
    kept = [records.tasks[task] for task, found in names.items() if DEFAULT in found and len(found) > 1]
    return sorted(kept, key=lambda task: (task.family, task.name))


def arms_of(task: TaskRecord, trials: Iterable[Trial], seed: int) -> tuple[Arm, ...]:
    """Each recipe with one of its longest trials on the task, drawn at random; the default comes first."""
    by_name: dict[str, list[Trial]] = {}
    for trial in sorted(trials, key=lambda trial: trial.id):
        if trial.task == task.id:
            by_name.setdefault(name_of(task, trial.recipe), []).append(trial)
    rng, arms = _rng(task, seed), []
    for name in sorted(by_name, key=lambda name: (name != DEFAULT, name)):
        longest = max(trial.budget for trial in by_name[name])
        among = [trial for trial in by_name[name] if trial.budget == longest]
        chosen = among[rng.integers(len(among))]
        arms.append(Arm(name, chosen.recipe, recorded(chosen)))
    return tuple(arms)


def recorded(trial: Trial) -> tuple[Point, ...]:
    """A trial's curve; what a failed one cost after its last look is a point without a KID."""
    if trial.status != FAILED:
        return trial.curve
    spent = max([trial.cost.get("flops", 0.0), *(point.flops for point in trial.curve)])
    return (*trial.curve, Point(int(trial.cost.get("images", 0)), spent, 0.0, {"kid": None}))


# --- figures


class Outcome(NamedTuple):
    """What one contender came to in one case."""

    contender: str
    budget: float  # in short trials
    family: str
    task: str
    seed: int
    gain: float  # log KID at the end, minus the default's after as many operations
    reach: float  # short trials until the default's KID after one; infinite if never
    regret: list[float]  # log KID minus the lowest recorded, at TIMES


def outcomes(
    records: Records, priors: Taught, budgets: Sequence[float], seeds: int, contenders: Sequence[str]
) -> list[Outcome]:
    """All contenders on all tasks that can be judged."""
    found = []
    for task in judged(records):
        length = budget_flops(task.shape, IMAGES)
        for seed in range(seeds):
            arms = arms_of(task, records.trials.values(), seed)
            for budget in budgets:
                case = Case(task, arms, budget * length, length, seed, priors[task.family])
                found += _of_case(case, budget, contenders)
    return found


def _of_case(case: Case, budget: float, contenders: Sequence[str]) -> list[Outcome]:
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
            )
        )
    return found


def _end(trace: Trace, budget: float, untrained: float) -> float:
    return min(trace.at(budget), untrained)


class Interval(NamedTuple):
    """A mean over families, with where 95% of the means of resampled families and seeds lie."""

    mean: float
    low: float
    high: float


def interval(pairs: Sequence[tuple[str, float]]) -> Interval:
    """Of (family, value) pairs: families count alike, whatever their number of tasks."""
    by_family: dict[str, list[float]] = {}
    for family, value in pairs:
        by_family.setdefault(family, []).append(value)
    rng = np.random.default_rng(0)
    groups = [np.array(values) for values in by_family.values()]
    inner = np.stack([rng.choice(group, (RESAMPLED, len(group))).mean(axis=1) for group in groups])
    drawn = rng.integers(len(groups), size=(len(groups), RESAMPLED))
    low, high = np.quantile(inner[drawn, np.arange(RESAMPLED)].mean(axis=0), (0.025, 0.975))
    return Interval(float(np.mean([group.mean() for group in groups])), float(low), float(high))


# --- calibration


class Judgement(NamedTuple):
    """How a prior's forecasts of one trial's end did after part of its curve was seen."""

    prior: str
    family: str
    seen: float
    inside: bool
    width: float  # of the interval, in log KID
    error: float  # of the median, in log KID


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
                forecast = prior.forecast(Question(task, trial.curve[-1].flops), trial.recipe, seen)
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
            "| contender | KID / default's (95%) | mean regret, nats (95%) | reached the default | after, median |"
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
    axes[0][0].set_ylabel("regret: log KID above the lowest recorded")
    axes[0][-1].legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--experience", help="a file, URL or exported file; the shipped and the user's own if left out")
    parser.add_argument("--budgets", nargs="+", type=float, default=[1.0, 4.0], help="in short trials")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--contenders", nargs="+", choices=list(CONTENDERS), default=list(CONTENDERS))
    parser.add_argument("--output", type=Path, default=RESULTS / "table")
    chosen = parser.parse_args()
    records = read(chosen.experience) if chosen.experience else remembered()
    priors = held_out(records)
    found = outcomes(records, priors, chosen.budgets, chosen.seeds, chosen.contenders)
    judged_forecasts = judgements(records, priors)
    tasks = judged(records)
    families = len({task.family for task in tasks})
    recipes = {name_of(records.tasks[trial.task], trial.recipe) for trial in records.trials.values()}
    head = f"{len(records.trials)} trials of {len(recipes)} recipes on {len(tasks)} tasks of {families} families"
    print(
        head,
        shown(found, chosen.budgets),
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
