"""An experience made up for tests, as if its recipes had been tried."""

import numpy as np

from mulligan.meta.experience import Experience
from mulligan.meta.gather.trial import budget_flops, looks
from mulligan.meta.recipes.default import default_recipe, textbook_recipe
from mulligan.meta.store.record import DONE, Point, TaskRecord, Trial
from mulligan.recipe import Recipe
from mulligan.tasks.images import read_task
from mulligan.training.budget import Budget


def write_experience(place: str, better: Recipe) -> None:
    """An experience of six families in which `better` ends with a tenth of the default recipe's KID everywhere."""
    shape, images = (8, 8, 1), 32_000
    experience, rng = Experience(place), np.random.default_rng(0)
    factors = {default_recipe(shape, 1437, Budget(images, None)): 1.0, better: 0.1, textbook_recipe(): 8.0}
    for number in range(6):
        name = f"family{number}/a"
        descriptor = read_task("digits").descriptor
        experience.add_task(TaskRecord(name, name, f"family{number}", shape, {"train": 1437}, 0, descriptor))
        for recipe, factor in factors.items():
            luck = float(rng.lognormal(sigma=0.1))
            experience.add([judged(name, recipe, shape, images, factor * luck)])


def judged(task: str, recipe: Recipe, shape: tuple[int, int, int], images: int, factor: float) -> Trial:
    """A trial whose KID falls with the square root of its images, from about `factor`."""
    curve = tuple(
        Point(int(look), budget_flops(shape, 1) * look, look / 1000, figures(factor * 30 / look**0.5))
        for look in looks(images)
    )
    cost, when = {"seconds": 1.0}, "2026-11-23T12:00:00+00:00"
    document, budget = recipe.to_json(), budget_flops(shape, images)
    return Trial(task, document, 0, budget, DONE, None, cost, curve, "0.1.0", 1, "cpu, 2 cores", when)


def figures(kid: float) -> dict[str, float | None]:
    return {"kid": kid, "kid_low": kid * 0.9, "kid_high": kid * 1.1, "frechet": kid, "diversity": 1.0}
