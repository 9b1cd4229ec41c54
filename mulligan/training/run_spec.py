"""What a run is: all that defines it, where it is written, and who listens."""

from __future__ import annotations

from dataclasses import dataclass

from mulligan.events import Listener
from mulligan.recipe import Recipe
from mulligan.tasks.task import Task
from mulligan.training.budget import NO_COST, Budget, Cost
from mulligan.training.run import RunFolder
from mulligan.types import Pytree


@dataclass(frozen=True)
class RunSpec:
    """What to do: all that defines a run, where it is written, and who listens."""

    folder: RunFolder
    task: Task
    recipe: Recipe
    seed: int
    budget: Budget
    emit: Listener
    started: float  # time.monotonic() when this session's clock started
    spent_by_others: Cost = NO_COST  # what others took of the budget that this run was given a part of
    extensions: int = 0  # how often the budget of the run was made larger
    players: tuple[Pytree, Pytree] | None = None  # generator and discriminator to start from; None for fresh ones

    @property
    def classes(self) -> int:
        return len(self.task.classes or ())

    @property
    def step_nimg(self) -> int:
        """Images that a step shows the discriminator."""
        return self.recipe.batch * self.recipe.disc_steps
