"""Candidates for the generator that a run keeps, judged one after the other within an allowance.

With many candidates the best score is partly luck. So half of the validation images chooses, and the other half, with
other latents, confirms.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from mulligan.events import AverageScored, RunEvent
from mulligan.metrics.mmd import Difference, mmd2_difference
from mulligan.metrics.score import KERNELS, Reference, validation_metrics_of
from mulligan.metrics.selection import SELECTS
from mulligan.training.budget import Allowance
from mulligan.training.evaluation import LATENT_SEED, Evaluator
from mulligan.training.latents import LatentPrior
from mulligan.types import Pytree

CONFIRMATIONS = 4  # evaluations kept for the second half

Features = Float[np.ndarray, "m d"]


class Candidate(NamedTuple):
    """A generator, the images seen when it stood so, and where its latents are drawn; None for normal ones."""

    name: str
    gen: Pytree
    nimg: int
    prior: LatentPrior | None = None


class Comparison:
    """Candidates of one run by name, their values on the first half, and what the allowance excludes (`skipped`)."""

    def __init__(self, evaluator: Evaluator, allowance: Allowance, emit: Callable[[RunEvent], None], pace: float):
        """`emit` is given an event a candidate; `pace` is what an evaluation takes, in seconds."""
        self.choosing, self.confirming = halves(evaluator)
        self.candidates: dict[str, Candidate] = {}
        self.values: dict[str, float] = {}
        self.features: dict[str, Features] = {}
        self.skipped: list[str] = []
        self.reserved = 0  # evaluations that are kept for what comes later
        self._allowance, self._emit, self._pace = allowance, emit, pace
        self._began = time.monotonic()
        self._evaluations = 0
        self._confirmed: dict[str, Features] = {}

    def seconds(self) -> float:
        """Since it began."""
        return time.monotonic() - self._began

    def allows(self, evaluations: int) -> bool:
        """Whether so many more fit into the allowance, and the confirmations and what is reserved after them."""
        wanted = evaluations + CONFIRMATIONS + self.reserved
        in_time = self.seconds() + wanted * self._pace <= self._allowance.seconds
        return in_time and self._evaluations + wanted <= self._allowance.evaluations

    def attempt(self, candidate: Candidate) -> None:
        """Judges a candidate, if the allowance has room for it."""
        if self.allows(1):
            self.judge(candidate)
        else:
            self.skipped.append(candidate.name)

    def judge(self, candidate: Candidate, **entries: Any) -> float:
        """What selects, on the first half, whatever the allowance; told, with these entries, the first time."""
        if candidate.name in self.values:
            return self.values[candidate.name]
        began = time.monotonic()
        features, scores = self.score(candidate.gen, candidate.prior)
        # The first one compiles: the pace is that of the fastest.
        spent = time.monotonic() - began
        self._pace = min(self._pace, spent)
        self.candidates[candidate.name], self.features[candidate.name] = candidate, features
        self.values[candidate.name] = scores[SELECTS.name]
        found = {"split": self.choosing.split, **scores, "spent": round(spent, 3), **entries}
        self._emit(AverageScored(average=candidate.name, at_nimg=candidate.nimg, **found))
        return self.values[candidate.name]

    def score(self, gen: Pytree, prior: LatentPrior | None = None) -> tuple[Features, dict[str, Any]]:
        """Features, and figures on the first half, of what may be no candidate itself; not told."""
        self._evaluations += 1
        features = self.choosing.drawing(prior).features(gen)
        return features, validation_metrics_of(self.choosing.reference, features)

    def difference(self, one: str, other: str) -> Difference:
        """Of what selects, one candidate's value less another's on the second half."""
        for name in (one, other):
            if name not in self._confirmed:
                candidate = self.candidates[name]
                self._confirmed[name] = self.confirming.drawing(candidate.prior).features(candidate.gen)
        reference = self.confirming.reference
        joint = reference.joint, self._confirmed[one], self._confirmed[other]
        return mmd2_difference(KERNELS[SELECTS], *(reference.columns(SELECTS, each) for each in joint))


def halves(evaluator: Evaluator) -> tuple[Evaluator, Evaluator]:
    """Two evaluators, each with half of the real images and with latents of its own.

    Args:
      evaluator: on at least two real images.
    """
    reference = evaluator.reference
    order = np.random.default_rng(0).permutation(len(reference.joint))
    first, second = (
        dataclasses.replace(
            evaluator,
            reference=Reference(reference.embedding, reference.joint[np.sort(order[half::2])]),
            latent_seed=LATENT_SEED + 1 + half,
        )
        for half in (0, 1)
    )
    return first, second
