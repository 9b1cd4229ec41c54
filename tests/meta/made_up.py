"""Experiences made up for tests of what is learned from them: every curve follows a law that the test knows."""

from collections.abc import Callable, Mapping

import numpy as np

from mulligan.meta.experience import Experience
from mulligan.meta.predict.curves import default_for
from mulligan.meta.space.default import default_recipe, textbook_recipe
from mulligan.meta.space.fidelity import flops_at, reference_flops, rungs
from mulligan.meta.store.record import DONE, FAILED, Point, TaskRecord, Trial
from mulligan.recipe import Hyperparameters, Recipe
from mulligan.tasks.images import read_task
from mulligan.training.budget import Budget

SHAPE = (8, 8, 1)
START, STEP = 1.0, -0.3  # log distance of the default at the first look, and its change a place
Effect = Callable[[TaskRecord], float]  # difference of a recipe's log distance from the default's


def task(family: str, name: str, **descriptor: float) -> TaskRecord:
    return TaskRecord(f"{family}/{name}", f"{family}/{name}", family, SHAPE, {"train": 9000}, 0, descriptor)


def recipe(rate: float) -> Recipe:
    """A recipe that differs from others by its rate."""
    return Recipe(hyperparameters=Hyperparameters(gen_lr=rate))


def default(of: TaskRecord) -> Recipe:
    return default_for(of, 1.0)


def point(of: TaskRecord, place: float, value: float) -> Point:
    """A point whose log distance is `value`."""
    flops = flops_at(of.shape, place)
    return Point(round(1000 * 2 ** (place / 2)), flops, 1.0, figures(float(np.exp(value))))


def trial(of: TaskRecord, tried: Recipe, values, seed: int = 0, status: str = DONE, end: int = 10) -> Trial:
    """A trial whose log distance at the places 0, 1, ... is `values`."""
    return Trial(
        task=of.id,
        recipe_json=tried.to_json(),
        seed=seed,
        budget=flops_at(of.shape, end),
        status=status,
        reason="it diverged" if status == FAILED else None,
        cost={"seconds": 1.0},
        curve=tuple(point(of, place, float(value)) for place, value in enumerate(values)),
        code="0",
        space=1,
        device="none",
        finished="2026-11-24T00:00:00+00:00",
    )


def trials(
    tasks, effects: Mapping[Recipe, Effect], noise: float = 0.0, spread: float = 0.0, base=default
) -> list[Trial]:
    """The default and these recipes on all tasks; effects are there from the first look on.

    Args:
      base: another recipe in the default's place, of a task.
      noise: standard deviation of a trial's level, and of each of its points.
      spread: that of a task's.
    """
    rng = np.random.default_rng(0)
    found = []
    for of in tasks:
        level = START + spread * rng.normal()
        for tried, effect in {base(of): lambda of: 0.0, **effects}.items():
            values = level + STEP * np.arange(11) + effect(of) + noise * (rng.normal() + rng.normal(size=11))
            found.append(trial(of, tried, values))
    return found


def families(number: int, each: int = 2, **descriptor: Callable[[int], float]) -> list[TaskRecord]:
    """Tasks of several families; descriptors are functions of the family's number."""
    return [
        task(f"f{index}", f"t{member}", **{name: number_of(index) for name, number_of in descriptor.items()})
        for index in range(number)
        for member in range(each)
    ]


def write_experience(place: str, better: Recipe) -> None:
    """An experience of six families in which `better` ends with a tenth of the default recipe's distance everywhere."""
    shape, images = (8, 8, 1), 32_000
    experience, rng = Experience(place), np.random.default_rng(0)
    factors = {default_recipe(shape, 1437, Budget(images, None)): 1.0, better: 0.1, textbook_recipe(): 8.0}
    descriptor = read_task("digits").descriptor
    for number in range(6):
        name = f"family{number}/a"
        experience.add_task(TaskRecord(name, name, f"family{number}", shape, {"train": 1437}, 0, descriptor))
        for recipe, factor in factors.items():
            luck = float(rng.lognormal(sigma=0.1))
            experience.add([judged(name, recipe, shape, images, factor * luck)])


def judged(task: str, recipe: Recipe, shape: tuple[int, int, int], images: int, factor: float) -> Trial:
    """A trial whose distance falls with the square root of its images, from about `factor`."""
    curve = tuple(
        Point(int(look), reference_flops(shape, 1) * look, look / 1000, figures(factor * 30 / look**0.5))
        for look in rungs(images)
    )
    cost, when = {"seconds": 1.0}, "2026-11-23T12:00:00+00:00"
    document, budget = recipe.to_json(), reference_flops(shape, images)
    return Trial(task, document, 0, budget, DONE, None, cost, curve, "0.1.0", 1, "cpu, 2 cores", when)


def figures(distance: float) -> dict[str, float | None]:
    """An evaluation by which nothing else is chosen than by the figure that selects: KID says the opposite."""
    low, high = distance * 0.9, distance * 1.1
    return {"energy": distance, "energy_low": low, "energy_high": high, "kid": 1 / (1 + distance), "diversity": 1.0}
