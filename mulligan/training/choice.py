"""Which generator a run keeps: its averages compared on validation images once training has ended.

The plain average is kept unless a candidate that does better on one half of the images beats it on the other half too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mulligan.averaging import PLAIN, Snapshot, discrepancy, greedy_soup, mixture_weights, power_name, rebuild
from mulligan.events import Gain, GeneratorChosen
from mulligan.metrics.mmd import Difference
from mulligan.metrics.score import KERNELS
from mulligan.metrics.selection import SELECTS
from mulligan.networks.architecture import FAMILIES
from mulligan.networks.mixture import Mixture
from mulligan.networks.parameters import with_parameters
from mulligan.online.quadratic import minimise_quadratic
from mulligan.tasks.splits import FEWEST
from mulligan.training.budget import Allowance
from mulligan.training.comparison import Candidate, Comparison
from mulligan.training.distil import distil
from mulligan.training.evaluation import FAKES, examples
from mulligan.training.latents import LatentPrior
from mulligan.training.loop import Loop
from mulligan.training.reweighting import weighted_prior
from mulligan.types import Pytree

Parameters = dict[str, np.ndarray]  # of a generator, by name
WIDTHS = (0.10, 0.05, 0.15, 0.20, 0.07, 0.03)  # of the power averages tried, the most likely first
INGREDIENTS = 8  # newest snapshots that a soup is made from
POOL = 8  # best candidates that a mixture is made from
MOST_MEMBERS, LEAST_WEIGHT = 4, 0.05  # of a mixture: each member costs its memory and its time
BEYOND = 2.0  # deviations by which a mixture must be better than the one generator that it would replace

FEWEST_TO_REWEIGHT = 200  # training images
REWEIGHTING = 5  # evaluations that weighting latents costs: it draws and sees two, and real images
REWEIGHTED = "weighted latents"

TOO_FEW = f"fewer than {2 * FEWEST} validation images are too few to choose by"
NO_TIME = "the budget left no time to compare"
NOT_FINITE = "no other generator has finite weights"
NOTHING_TO_DISTIL = "no mixture beats a single generator, so there is nothing to distil"


class KeptGenerator(NamedTuple):
    """The generator to keep, the average that it is, and the images seen when it stood so.

    `name` is its own among the `candidates` that were compared; "best" is an average too, of an earlier moment. Its
    latents are drawn from the `prior`, normal ones where there is none.
    """

    gen: Pytree
    average: str
    nimg: int
    name: str
    candidates: Mapping[str, Candidate]
    prior: LatentPrior | None = None


def choose(loop: Loop, allowance: Allowance) -> KeptGenerator:
    """Compares the averages of a run that has ended, tells what it found, and says which generator to keep.

    Where they cannot be compared that is the best one of the run's evaluations.

    Args:
      loop: of a run that has ended.
      allowance: what the comparison may take.

    Raises:
      MulliganError: the run's folder cannot be written.
    """
    evaluator = loop.evaluator
    if evaluator.split != "validation" or len(evaluator.reference.joint) < 2 * FEWEST:
        return _uncompared(loop, TOO_FEW)
    comparison = Comparison(
        evaluator, allowance, loop.emit, loop.now.progress.last_evaluation_seconds / len(loop.averages_to_evaluate())
    )
    if not comparison.allows(2):
        return _uncompared(loop, NO_TIME)
    # A run that the guard gave up may end in numbers that are not finite.
    singles = [each for each in _singles(loop) if all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(each.gen))]
    if not singles:
        return _uncompared(loop, NOT_FINITE)

    plain = singles[0].name
    weighing = allowance.weigh_latents and _may_reweight(loop)
    comparison.reserved = REWEIGHTING if weighing and comparison.allows(2 + REWEIGHTING) else 0
    comparison.judge(singles[0])
    for candidate in singles[1:]:
        comparison.attempt(candidate)
    ended = Ended(comparison, loop.now.best_gen, loop.snapshots.read())
    for made_from_snapshots in STAGES.values() if ended.snapshots else ():
        made_from_snapshots(ended)
    single = settled(comparison.values, plain, comparison.difference)
    single = _reweighted(loop, comparison, single) if weighing else single

    mixture = _mixture(comparison)
    if not mixture or not worth_its_cost(comparison.difference(mixture, single)):
        return _told(loop, comparison, single, plain, NOTHING_TO_DISTIL if allowance.distil else None)
    if not allowance.distil:
        return _told(loop, comparison, mixture, plain)

    # The mixture as one network is kept where it is better than the best single generator.
    mixed, labels = comparison.candidates[mixture], loop.task.train.labels if loop.spec.classes else None
    often = None if labels is None else jnp.bincount(jnp.asarray(labels), length=loop.spec.classes) / len(labels)
    distilled = distil(mixed.gen, loop.recipe.architecture.latent, often, jax.random.key(loop.spec.seed))
    candidate = Candidate("distilled", distilled.gen, mixed.nimg)
    comparison.judge(candidate, loss=distilled.after, loss_before=distilled.before)
    better = comparison.difference("distilled", single).value < 0
    return _told(loop, comparison, "distilled" if better else single, plain)


def settled(values: Mapping[str, float], plain: str, difference: Callable[[str, str], Difference]) -> str:
    """The candidate of the least of `values`, unless `difference`, on other images, finds it no better than `plain`.

    Example:
      >>> settled({"ema": 0.3, "soup": 0.2}, "ema", lambda one, other: Difference(-0.1, 0.05))
      'soup'
      >>> settled({"ema": 0.3, "soup": 0.2}, "ema", lambda one, other: Difference(0.1, 0.05))
      'ema'
    """
    winner = min(values, key=values.__getitem__)
    return winner if winner != plain and difference(winner, plain).value < 0 else plain


def worth_its_cost(gain: Difference) -> bool:
    """Whether a mixture is better than one generator by more than noise.

    Example:
      >>> worth_its_cost(Difference(-0.3, 0.1)), worth_its_cost(Difference(-0.1, 0.1))
      (True, False)
    """
    return gain.value < -BEYOND * gain.deviation


def members(comparison: Comparison) -> dict[str, float]:
    """The members that a mixture should have, and their weights: the heaviest few of the best candidates."""
    weighted = [name for name, each in comparison.candidates.items() if each.prior]  # a mixture's latents are normal
    alike = (name for name in comparison.values if name not in weighted)
    heavy = sorted(alike, key=comparison.values.__getitem__)[:POOL]
    reference = comparison.choosing.reference
    real = reference.columns(SELECTS, reference.joint)
    while True:
        drawn = [reference.columns(SELECTS, comparison.features[name]) for name in heavy]
        found = discrepancy(drawn, real, KERNELS[SELECTS])
        weights = dict(zip(heavy, mixture_weights(found, minimise_quadratic).tolist(), strict=True))
        heavy = sorted((name for name in heavy if weights[name] >= LEAST_WEIGHT), key=lambda name: -weights[name])
        heavy = heavy[:MOST_MEMBERS]
        if len(heavy) == len(weights):
            return weights


def _singles(loop: Loop) -> list[Candidate]:
    """The averages that the run ends with, the plain one first; the best of its evaluations; the last iterate."""
    nimg, averages = loop.now.progress.nimg, loop.averages()
    plain = PLAIN if PLAIN in averages else next(iter(averages), "last")
    kept = [name for name in averages if name not in (plain, "last") and name not in loop.snapshots.names]
    gens = {**averages, "last": loop.now.gan.gen}
    others = [Candidate(name, gens[name], nimg) for name in (*kept, "last") if name != plain]
    best = _best(loop)
    if (best.average, best.nimg) != (plain, nimg):
        others.insert(0, Candidate("best", best.gen, best.nimg))
    return [Candidate(plain, gens[plain], nimg), *others]


class Ended(NamedTuple):
    """What further candidates are made from once a run has ended.

    Attributes:
      comparison: judges candidates, and says whether there is time for so many more.
      gen: a generator of the run, for its structure.
      snapshots: of its power averages, oldest first.
    """

    comparison: Comparison
    gen: Pytree
    snapshots: Sequence[Snapshot]


def power_averages(ended: Ended) -> None:
    """Power averages up to the newest snapshot."""
    nimg = int(ended.snapshots[-1].nimg)
    for width in WIDTHS:
        gen = with_parameters(ended.gen, rebuild(ended.snapshots, nimg, width))
        ended.comparison.attempt(Candidate(power_name(width), gen, nimg))


def soup(ended: Ended) -> None:
    """A soup of the newest snapshots of the narrowest average."""
    comparison, snapshots = ended.comparison, ended.snapshots
    narrowest = min(snapshot.width for snapshot in snapshots)
    ingredients = [snapshot for snapshot in snapshots if snapshot.width == narrowest][-INGREDIENTS:]
    if not comparison.allows(2 * len(ingredients)):
        comparison.skipped.append("soup")
        return
    newest = int(ingredients[-1].nimg)

    def score(params: Parameters) -> float:
        gen = with_parameters(ended.gen, params)
        alone = next((int(each.nimg) for each in ingredients if each.params is params), None)
        if alone is None:  # a mean of several
            return comparison.score(gen)[1][SELECTS.name]
        name = power_name(narrowest) + (f" at {alone}" if alone < newest else "")
        return comparison.judge(Candidate(name, gen, alone))

    found = greedy_soup([each.params for each in ingredients], score)
    if len(found.members) > 1:
        comparison.judge(Candidate("soup", with_parameters(ended.gen, found.params), newest))


# What makes further candidates of a run's snapshots, the surest first; each is a function and a line here.
STAGES: dict[str, Callable[[Ended], None]] = {"power averages": power_averages, "soup": soup}


def _reweighted(loop: Loop, comparison: Comparison, single: str) -> str:
    """The name of the same generator with weighted latents, if that is better; else of itself.

    Weights are found on the training images, and they are one candidate: so both halves of the validation images judge.
    """
    comparison.reserved = 0
    if not comparison.allows(REWEIGHTING):
        comparison.skipped.append(REWEIGHTED)
        return single
    candidate, name = comparison.candidates[single], f"{single}, {REWEIGHTED}"
    prior = weighted_prior(comparison.choosing, candidate.gen, examples(loop.task.train, FAKES))
    comparison.judge(candidate._replace(name=name, prior=prior))
    gains = comparison.values[single] - comparison.values[name], -comparison.difference(name, single).value
    return name if sum(gains) > 0 else single


def _may_reweight(loop: Loop) -> bool:
    """Not with classes, whose latents would each want their own; not few images, which would be copied for it; and
    models of the caller's own are handed back as they are.
    """
    own = loop.recipe.architecture.family in FAMILIES
    return own and not loop.spec.classes and len(loop.task.train) >= FEWEST_TO_REWEIGHT


def _mixture(comparison: Comparison) -> str | None:
    """The name of a mixture of the best candidates, if one has several members and there is time for it."""
    if not comparison.allows(POOL):  # finding the weights takes its time as well
        comparison.skipped.append("mixture")
        return None
    mixed = members(comparison)
    if len(mixed) < 2:
        return None
    candidates = [comparison.candidates[name] for name in mixed]
    gen = Mixture(tuple(each.gen for each in candidates), jnp.array(list(mixed.values()), jnp.float32))
    comparison.judge(Candidate("mixture", gen, max(each.nimg for each in candidates)), members=mixed)
    return "mixture"


def _told(loop: Loop, comparison: Comparison, name: str, plain: str, reason: str | None = None) -> KeptGenerator:
    """Tells the choice, and what it gains over the plain average and the last iterate."""
    candidates = comparison.candidates
    gen, nimg = candidates[name].gen, candidates[name].nimg
    others = [other for other in dict.fromkeys((plain, "last")) if other in candidates and other != name]
    differences = {other: comparison.difference(name, other) for other in others}
    gains = {other: Gain(value=gain.value, deviation=gain.deviation) for other, gain in differences.items()}
    spent = round(comparison.seconds(), 3)
    by, skipped = SELECTS.name, comparison.skipped
    loop.emit(
        GeneratorChosen(average=name, at_nimg=nimg, figure=by, gains=gains, skipped=skipped, reason=reason, spent=spent)
    )
    average = _best(loop).average if name == "best" else name
    return KeptGenerator(gen, average, nimg, name, candidates, candidates[name].prior)


def _best(loop: Loop) -> KeptGenerator:
    """The best one of the run's evaluations."""
    best = loop.now.progress.best
    nimg = best.nimg if best else loop.now.progress.nimg
    return KeptGenerator(loop.now.best_gen, best.average if best else "last", nimg, "best", {})


def _uncompared(loop: Loop, reason: str) -> KeptGenerator:
    best = _best(loop)
    loop.emit(
        GeneratorChosen(
            average="best", at_nimg=best.nimg, figure=SELECTS.name, gains={}, skipped=[], reason=reason, spent=0.0
        )
    )
    return best
