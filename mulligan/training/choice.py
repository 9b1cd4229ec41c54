"""Which generator a run keeps: its averages compared on validation images once training has ended.

With many candidates the best score is partly luck. So half of the validation images chooses, and the other half, with
other latents, confirms: only a candidate that beats the plain average there as well is kept.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from mulligan.averaging import Snapshot, discrepancy, greedy_soup, mixture_weights, rebuild
from mulligan.metrics.kernel import Difference, kid_difference, polynomial
from mulligan.metrics.score import Reference, quick_of_features
from mulligan.networks.mixture import Mixture
from mulligan.networks.parameters import with_parameters
from mulligan.online.quadratic import minimise_quadratic
from mulligan.training.evaluation import FEWEST, LATENT_SEED, Evaluator
from mulligan.training.loop import Loop
from mulligan.training.snapshots import Parameters
from mulligan.types import Pytree

WIDTHS = (0.10, 0.05, 0.15, 0.20, 0.07, 0.03)  # of the power averages tried, the most likely first
INGREDIENTS = 8  # newest snapshots that a soup is made from
POOL = 8  # best candidates that a mixture is made from
MOST_MEMBERS, LEAST_WEIGHT = 4, 0.05  # of a mixture: each member costs its memory and its time
BEYOND = 2.0  # deviations by which a mixture must be better than the one generator that it would replace
CONFIRMATIONS = 4  # evaluations kept for the second half

Features = Float[np.ndarray, "m d"]


class Candidate(NamedTuple):
    """A generator, and the images seen when it stood so."""

    name: str
    gen: Pytree
    nimg: int


class Choice(NamedTuple):
    """The generator to keep, the average that it is, and the images seen when it stood so."""

    gen: Pytree
    average: str
    nimg: int


def choose(loop: Loop, seconds: float = math.inf) -> Choice:
    """Compares the averages of a run that has ended, tells what it found, and says which generator to keep.

    Args:
      loop: of a run that has ended.
      seconds: after which no further candidate is tried; the plain average is always judged.
    """
    evaluator = Evaluator.make(loop.task, loop.sampler, "validation")
    if evaluator.split != "validation" or len(evaluator.reference.features) < 2 * FEWEST:
        kept = _kept_so_far(loop)
        loop.tell("choice", average="best", at_nimg=kept.nimg, gains={}, skipped=[], reason="too few images to choose")
        return kept
    return Comparison(loop, evaluator, seconds).choose()


def settled(kids: Mapping[str, float], plain: str, difference: Callable[[str, str], Difference]) -> str:
    """The candidate of the least KID in `kids`, unless `difference`, on other images, finds it no better than `plain`.

    Example:
      >>> settled({"ema": 0.3, "soup": 0.2}, "ema", lambda one, other: Difference(-0.1, 0.05))
      'soup'
      >>> settled({"ema": 0.3, "soup": 0.2}, "ema", lambda one, other: Difference(0.1, 0.05))
      'ema'
    """
    winner = min(kids, key=kids.__getitem__)
    return winner if winner != plain and difference(winner, plain).value < 0 else plain


def worth_its_cost(gain: Difference) -> bool:
    """Whether a mixture is better than one generator by more than noise.

    Example:
      >>> worth_its_cost(Difference(-0.3, 0.1)), worth_its_cost(Difference(-0.1, 0.1))
      (True, False)
    """
    return gain.value < -BEYOND * gain.deviation


class Comparison:
    """Candidates of one run, judged one after the other; what does not fit into the time is skipped."""

    def __init__(self, loop: Loop, evaluator: Evaluator, seconds: float):
        self.loop = loop
        self.choosing, self.confirming = halves(evaluator)
        self.began = time.monotonic()
        self.ends = self.began + seconds
        self.pace = math.inf  # seconds of an evaluation, without compiling
        self.candidates: dict[str, Candidate] = {}
        self.kids: dict[str, float] = {}  # on the first half
        self.features: dict[str, Features] = {}
        self.skipped: list[str] = []
        self._confirmed: dict[str, Features] = {}

    def choose(self) -> Choice:
        """All stages, the surest first."""
        singles = _finite(_singles(self.loop))
        plain = singles[0].name
        for number, candidate in enumerate(singles):
            self._try(candidate, necessary=number == 0)
        snapshots = self.loop.snapshots.read()
        for width in WIDTHS if snapshots else ():
            self._try_width(snapshots, width)
        if snapshots:
            self._try_soup(snapshots)
        chosen = settled(self.kids, plain, self.difference)
        mixture = self._mixture()
        if mixture and worth_its_cost(self.difference(mixture, chosen)):
            chosen = mixture
        return self._told(chosen, plain)

    def difference(self, one: str, other: str) -> Difference:
        """KID of one candidate less another's on the second half of the images."""
        return kid_difference(self.confirming.reference.features, self._confirm(one), self._confirm(other))

    def _confirm(self, name: str) -> Features:
        if name not in self._confirmed:
            self._confirmed[name] = self.confirming.features(self.candidates[name].gen)
        return self._confirmed[name]

    def _allows(self, evaluations: int) -> bool:
        return time.monotonic() + (evaluations + CONFIRMATIONS) * self.pace <= self.ends

    def _try(self, candidate: Candidate, necessary: bool = False) -> None:
        """Judges a candidate, if there is time."""
        if necessary or self._allows(1):
            self._judge(candidate)
        else:
            self.skipped.append(candidate.name)

    def _judge(self, candidate: Candidate, **entries: Any) -> float:
        """KID on the first half; tells it, the first time."""
        if candidate.name in self.kids:
            return self.kids[candidate.name]
        began = time.monotonic()
        features = self.choosing.features(candidate.gen)
        scores = quick_of_features(self.choosing.reference, features)
        self.candidates[candidate.name], self.features[candidate.name] = candidate, features
        spent = time.monotonic() - began
        self.pace = min(self.pace, spent)
        self.kids[candidate.name] = scores["kid"]
        told = {"split": self.choosing.split, **scores, "spent": round(spent, 3), **entries}
        self.loop.tell("average", average=candidate.name, at_nimg=candidate.nimg, **told)
        return scores["kid"]

    def _try_width(self, snapshots: Sequence[Snapshot], width: float) -> None:
        nimg = int(snapshots[-1].nimg)
        params = rebuild(snapshots, nimg, width)
        self._try(Candidate(_named(width), self._network(params), nimg))

    def _try_soup(self, snapshots: Sequence[Snapshot]) -> None:
        """A soup of the newest snapshots of the narrowest average."""
        narrowest = min(snapshot.width for snapshot in snapshots)
        ingredients = [snapshot for snapshot in snapshots if snapshot.width == narrowest][-INGREDIENTS:]
        if not self._allows(2 * len(ingredients)):
            self.skipped.append("soup")
            return
        names = {id(ingredient.params): f"{_named(narrowest)} at {ingredient.nimg}" for ingredient in ingredients}
        names[id(ingredients[-1].params)] = _named(narrowest)  # judged already, where there was time
        nimgs = {id(ingredient.params): int(ingredient.nimg) for ingredient in ingredients}

        def score(params: Parameters) -> float:
            if id(params) in names:
                return self._judge(Candidate(names[id(params)], self._network(params), nimgs[id(params)]))
            return quick_of_features(self.choosing.reference, self.choosing.features(self._network(params)))["kid"]

        soup = greedy_soup([snapshot.params for snapshot in ingredients], score)
        self._try(Candidate("soup", self._network(soup.params), int(ingredients[-1].nimg)))

    def _mixture(self) -> str | None:
        """The name of a mixture of the best candidates, if one has several members and there is time for it."""
        if not self._allows(POOL):  # finding the weights takes its time as well
            self.skipped.append("mixture")
            return None
        mixed = self._members()
        if len(mixed) < 2:
            return None
        gens = tuple(self.candidates[name].gen for name in mixed)
        gen = Mixture(gens, jnp.array(list(mixed.values()), jnp.float32))
        nimg = max(self.candidates[name].nimg for name in mixed)
        self._judge(Candidate("mixture", gen, nimg), members=mixed)
        return "mixture"

    def _members(self) -> dict[str, float]:
        """The members that a mixture should have, and their weights: the heaviest few of the best candidates."""
        heavy = sorted(self.kids, key=self.kids.__getitem__)[:POOL]
        while True:
            weights = dict(zip(heavy, self._weights(heavy), strict=True))
            heavy = sorted((name for name in heavy if weights[name] >= LEAST_WEIGHT), key=lambda name: -weights[name])
            heavy = heavy[:MOST_MEMBERS]
            if len(heavy) == len(weights):
                return weights

    def _weights(self, names: Sequence[str]) -> list[float]:
        found = discrepancy([self.features[name] for name in names], self.choosing.reference.features, polynomial)
        return mixture_weights(found, minimise_quadratic).tolist()

    def _network(self, params: Parameters) -> Pytree:
        return with_parameters(self.loop.best_gen, params)

    def _told(self, name: str, plain: str) -> Choice:
        """Tells the choice, and what it gains over the plain average and the last iterate."""
        candidate = self.candidates[name]
        others = [other for other in dict.fromkeys((plain, "last")) if other in self.candidates and other != name]
        gains = {other: self.difference(name, other)._asdict() for other in others}
        spent = round(time.monotonic() - self.began, 3)
        told = {"gains": gains, "skipped": self.skipped, "reason": None, "spent": spent}
        self.loop.tell("choice", average=name, at_nimg=candidate.nimg, **told)
        if name == "best":
            return _kept_so_far(self.loop)
        return Choice(candidate.gen, name, candidate.nimg)


def halves(evaluator: Evaluator) -> tuple[Evaluator, Evaluator]:
    """Two evaluators, each with half of the real images and with latents of its own."""
    reference = evaluator.reference
    order = np.random.default_rng(0).permutation(len(reference.features))
    first, second = (
        dataclasses.replace(
            evaluator,
            reference=Reference(reference.embedding, reference.features[np.sort(order[half::2])]),
            latent_seed=LATENT_SEED + 1 + half,
        )
        for half in (0, 1)
    )
    return first, second


def _singles(loop: Loop) -> list[Candidate]:
    """The averages that the run ends with, the plain one first; the best of its evaluations; the last iterate."""
    nimg, averages = loop.progress.nimg, loop.averages()
    plain = "ema" if "ema" in averages else next(iter(averages), "last")
    kept = [name for name in averages if name not in (plain, "last") and name not in loop.snapshots.names]
    gens = {**averages, "last": loop.state.gen}
    others = [Candidate(name, gens[name], nimg) for name in (*kept, "last") if name != plain]
    best = _kept_so_far(loop)
    if (best.average, best.nimg) != (plain, nimg):
        others.insert(0, Candidate("best", best.gen, best.nimg))
    return [Candidate(plain, gens[plain], nimg), *others]


def _named(width: float) -> str:
    """As in `averaging.AVERAGES`."""
    return f"power_{round(100 * width):02d}"


def _kept_so_far(loop: Loop) -> Choice:
    best = loop.progress.best
    return Choice(loop.best_gen, best.average if best else "last", best.nimg if best else loop.progress.nimg)


def _finite(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Those without a number that is not finite: a run that the guard gave up may end in such."""
    return [
        candidate
        for candidate in candidates
        if all(np.isfinite(np.asarray(leaf)).all() for leaf in jax.tree.leaves(candidate.gen))
    ]
