"""What a run is asked to do, and which recipes it trains for that."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mulligan.errors import MulliganError, UsageError
from mulligan.events import Listener
from mulligan.meta.experience import own_place
from mulligan.meta.initialisation.few_images import InitChoice
from mulligan.meta.initialisation.from_run import AFRESH, RunStart
from mulligan.meta.initialisation.growth import SMALL
from mulligan.meta.initialisation.kindred import COMMON, learned_recipe
from mulligan.meta.race.arms import Arm
from mulligan.meta.race.warm_start import RacePlan, plan_race
from mulligan.meta.space.cost import Limits, refusal
from mulligan.meta.space.default import (
    ENOUGH_LEARNED,
    INIT,
    default_recipe,
    fewest_images,
    is_large,
    pretrained_recipe,
)
from mulligan.meta.space.prices import price
from mulligan.networks.architecture import check
from mulligan.networks.keras_models import FAMILY
from mulligan.networks.pretrained import cards
from mulligan.recipe import Architecture, Recipe
from mulligan.schedules.learned import SHIPPED
from mulligan.tasks.task import Task
from mulligan.training.budget import Budget
from mulligan.training.device import memory_bytes
from mulligan.training.engine import make_game

SMALLER = (128, 96, 64, 48, 32, 24, 16)  # sides that are proposed where a budget is too short
TRAINING_SHARE = 0.7  # of a short budget that trains, or compiles before it
PRETRAINED = "it begins with weights learned on other families"  # origin of the recipe that does
KINDRED = "it begins with weights that drew images like these"  # origin of one that does, or added to it


@dataclass(frozen=True)
class Options:
    """What a run is asked to do, besides its data and budget.

    Attributes:
      out: the run folder to make; None takes the next free one below `runs/`.
      seed: of the weights and batches; the split of the data does not depend on it.
      recipe: None for the default one.
      size, labels, background, fit, groups: how the images are read and split (`tasks.images.read_task`).
      strategy: `none`, `fork` or `switch` in place of the recipe's own; `fork` adds the learned schedule to a recipe
        without any.
      models: the architecture of models of the caller's own (`networks.keras.adopt`) in place of the recipe's.
      networks: the Python file that `models` were made by, if they were.
      from_run: the folder of a run to start from: its generator and discriminator, and its recipe; `nearest` for half
        of the networks of the run of one's own that drew the nearest images, which is what None means too where the
        law of sizes chooses the recipe and at most `from_run.MOST_UNASKED` images train.
      experience: where trials are remembered; None for the user's own, `none` to neither ask nor remember.
      init: a file of learned initial weights; None for those that are shipped, where they should help (few images, and
        where `meta.initialisation.kindred` finds some); `none` for fresh ones; `small` for those that the run itself
        learns from images of half the size (`meta.initialisation.growth`).
      allocation: how a race shares out the budget: a name in `meta.race.allocation.ALLOCATIONS`.
      workers: the Ray cluster on which recipes race, as `meta.cluster.join` takes it; None for this machine.
      listener: receives every event as it happens.
    """

    out: Path | None = None
    seed: int = 0
    recipe: Recipe | None = None
    size: int | None = None
    labels: Any = False
    background: Any = None
    fit: str | None = None
    groups: Any = None
    strategy: str | None = None
    models: Architecture | None = None
    networks: Path | None = None
    from_run: Path | None = None
    experience: str | None = None
    init: str | None = None
    allocation: str = "ftrl"
    workers: str | None = None
    listener: Listener = lambda event: None

    @property
    def place(self) -> str | None:
        """Where trials are remembered: what was named, or the user's own; None where there is no such place."""
        return self.experience or own_place()

    def reading(self) -> dict[str, Any]:
        """How the images are read, as `read_task` takes it."""
        names = ("size", "labels", "background", "fit", "groups")
        return {name: getattr(self, name) for name in names}


def plan_run(task: Task, budget: Budget, options: Options, start: InitChoice | RunStart | None) -> RacePlan:
    """What to train: the recipe that was asked for, or what suits the start, or what the experience says.

    Args:
      start: what the run starts from, where that is another run or learned initial weights: its networks are those of
        the recipe.

    Raises:
      UsageError: it is asked to start from two things.
      MulliganError: the run that it is to start from is of other images.
    """
    wanted, usual = options.recipe, default_recipe(task.shape, len(task.train), budget)
    if isinstance(start, RunStart):
        start.check(task)
        own = start.recipe if start.asked else usual
        recipe = dataclasses.replace(wanted or own, architecture=start.recipe.architecture, init="")
        origin = f"that of {start.run}, with its networks" if start.asked else f"with the networks of {start.run}"
        plan = RacePlan((Arm(recipe, 1.0, origin),))
    elif start is not None:
        if options.models is not None:
            raise UsageError(
                "learned initial weights are of mulligan's own networks: give either `networks` or `init`."
            )
        recipe = dataclasses.replace(wanted or usual, architecture=start.start.recipe.architecture)
        plan = RacePlan((Arm(recipe, 1.0, "learned initial weights"),))
    elif options.models is not None:
        recipe = dataclasses.replace(wanted or usual, architecture=options.models)
        plan = RacePlan((Arm(recipe, 1.0, "models of your own"),))
    elif wanted is not None:
        plan = RacePlan((Arm(wanted, 1.0, "as asked for"),))
    elif options.init == SMALL:
        plan = RacePlan((Arm(usual, 1.0, "begins on small images"),))
    elif options.init is None and (recipe := pretrained_recipe(task.shape, len(task.train), budget)):
        recipe = learned_recipe(task, usual, usual) or recipe
        plan = RacePlan((Arm(recipe, 1.0, _why(recipe)),))
    else:
        plan = plan_race(task, budget, options.place, options.seed)
    arms = (arm._replace(recipe=_steered(arm.recipe, options.strategy)) for arm in plan.arms)
    return dataclasses.replace(plan, arms=tuple(arms))


def with_learned_weights(plan: RacePlan, task: Task, budget: Budget) -> RacePlan:
    """The plan of a run that would begin afresh, with the learned weights that suit its images, where there are any."""
    (arm,) = plan.arms
    law = default_recipe(task.shape, len(task.train), budget, enough=ENOUGH_LEARNED)
    wider = dataclasses.replace(arm.recipe, architecture=law.architecture, batch=law.batch)
    recipe = learned_recipe(task, arm.recipe, wider)
    if recipe is None:
        return plan
    arm = Arm(recipe, arm.weight, f"{arm.origin}; {_why(recipe)}")
    return dataclasses.replace(plan, arms=(arm,))


def _why(recipe: Recipe) -> str:
    """The origin of a recipe that begins with weights that ship."""
    return PRETRAINED if recipe.init in (INIT, COMMON) else KINDRED


def _steered(recipe: Recipe, strategy: str | None) -> Recipe:
    """The recipe with the strategy asked for; forks come with the learned schedule, unless the recipe has one.

    Together they did better than either alone on four tasks, from good rates and from ones ten times too high.
    """
    if strategy is None:
        return recipe
    own = recipe.schedules or recipe.gap_aware or recipe.learned_schedule
    schedule = SHIPPED[-1] if strategy == "fork" and not own else recipe.learned_schedule
    return dataclasses.replace(recipe, strategy=strategy, learned_schedule=schedule)


def examine(recipe: Recipe, task: Task) -> None:
    """Checks a recipe that somebody asked for.

    Raises:
      MulliganError: it cannot be trained on this task.
    """
    classes = len(task.classes or ())
    check(recipe.architecture, task.shape, classes)
    make_game(recipe, task.shape, classes, horizon_nimg=1.0)
    if recipe.architecture.family != FAMILY:
        reason = refusal(recipe, task.shape, classes, Limits(bytes=memory_bytes()))
        if reason is not None:
            raise MulliganError(f"this recipe cannot be trained on {task.name}: {reason}")


def short_note(task: Task, plan: RacePlan, budget: Budget) -> str | None:
    """Whether a budget is too short for images of this size, and which budget or size would do; None where it is not.

    Shapes are drawn from about as many images on as the law of sizes wants the narrowest networks to see.
    """
    recipe = plan.arms[0].recipe
    if not is_large(task.shape) or recipe.init or recipe.architecture.family == FAMILY:
        return None
    seen, fewest = _foreseen(recipe, task, task.shape, budget), fewest_images(task.shape)
    if seen >= fewest:
        return None
    if budget.seconds is None:
        enough = f"{math.ceil(fewest / 1000):,},000 would do"
    else:
        cost = price(recipe, task.shape, len(task.classes or ()))
        seconds = (fewest / cost.images_per_second + cost.compile_seconds) / TRAINING_SHARE
        minutes = math.ceil(seconds / 60)
        enough = f"{minutes} minute{'s' * (minutes != 1)} would do"
    height, width, channels = task.shape
    for side in SMALLER if budget.seconds is not None else ():
        shape = (side, side, channels)
        narrow = default_recipe(shape, len(task.train), budget)
        if side < min(height, width) and _foreseen(narrow, task, shape, budget) >= fewest_images(shape):
            enough += f", or images of {side}x{side}"
            break
    return (
        f"this budget is short for images of {width}x{height}: about {float(f'{seen:.2g}'):,.0f} will be trained on, "
        f"and shapes begin to show at some {fewest // 1000 * 1000:,.0f}; {enough}"
    )


def _foreseen(recipe: Recipe, task: Task, shape: tuple[int, int, int], budget: Budget) -> float:
    """Images that a recipe will train on within a budget."""
    if budget.seconds is None:
        return float(budget.images or 0)
    cost = price(recipe, shape, len(task.classes or ()))
    return max(budget.seconds * TRAINING_SHARE - cost.compile_seconds, 0.0) * cost.images_per_second


def pretrained_note(plan: RacePlan) -> str | None:
    """What is to be said of the weights that a run begins with, where they are not fresh."""
    recipe = plan.arms[0].recipe
    if not recipe.init:
        return None
    sources = {name: None for card in cards(recipe.init) for name in card["trained_on"]}
    families = f"{len(sources)} families of images" if len(sources) > 1 else "one family of images"
    text = f"starting from weights learned on {families}: {', '.join(sources)}"
    near = "; they drew images near yours" if KINDRED in plan.arms[0].origin else ""
    return f"{text}{near} {AFRESH}"
