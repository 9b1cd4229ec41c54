"""Greedy soup: the mean of those checkpoints that make it better (Wortsman et al. 2022, arXiv 2203.05482)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax

from mulligan.errors import MulliganError
from mulligan.types import Pytree


class Soup(NamedTuple):
    """A mean of candidates."""

    params: Pytree
    members: tuple[int, ...]  # which candidates are in it, best first
    score: float


def greedy_soup(candidates: Sequence[Pytree], score: Callable[[Pytree], float]) -> Soup:
    """Goes through the candidates from best to worst and keeps each that does not make the mean worse.

    Never worse than the best candidate (algorithm 1). `score` is called at most twice a candidate.

    Args:
      candidates: parameters of one structure, at least one.
      score: on validation data, lower is better; NaN counts as infinitely bad.

    Raises:
      MulliganError: no candidates.

    Example:
      >>> greedy_soup([1.0, 4.0, -0.5], score=abs)
      Soup(params=0.25, members=(2, 0), score=0.25)
    """
    if not candidates:
        raise MulliganError("a soup needs at least one checkpoint.")
    scores = [_finite(score(candidate)) for candidate in candidates]
    order = sorted(range(len(candidates)), key=scores.__getitem__)
    soup = Soup(candidates[order[0]], (order[0],), scores[order[0]])
    for index in order[1:]:
        members = (*soup.members, index)
        mixed = [candidates[member] for member in members]
        params = jax.tree.map(lambda *leaves: sum(leaves[1:], start=leaves[0]) / len(leaves), *mixed)
        stirred = Soup(params, members, _finite(score(params)))
        soup = stirred if stirred.score <= soup.score else soup
    return soup


def _finite(score: float) -> float:
    return math.inf if math.isnan(score) else float(score)
