"""Greedy soups: never worse than the best ingredient, and better when ingredients differ in their errors."""

import math

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mulligan.averaging import greedy_soup
from mulligan.errors import MulliganError

candidates = st.lists(st.lists(st.floats(-5, 5), min_size=3, max_size=3), min_size=1, max_size=6)


def distance(params):
    return float(np.linalg.norm(np.asarray(params["w"]) - 1))


@settings(deadline=None)
@given(values=candidates)
def test_never_worse_than_the_best_candidate_and_is_the_mean_of_its_members(values):
    stock = [{"w": np.array(value)} for value in values]
    soup = greedy_soup(stock, distance)
    best = min(map(distance, stock))
    assert soup.score <= best
    assert distance(stock[soup.members[0]]) == best
    np.testing.assert_allclose(soup.params["w"], np.mean([values[i] for i in soup.members], 0), atol=1e-12)
    assert soup.score == distance(soup.params)


@settings(deadline=None)
@given(values=candidates)
def test_no_candidate_left_out_would_have_helped_at_its_turn(values):
    stock = [{"w": np.array(value)} for value in values]
    soup = greedy_soup(stock, distance)
    order = sorted(range(len(stock)), key=lambda i: distance(stock[i]))
    for turn, index in enumerate(order):
        if index not in soup.members:
            before = [i for i in soup.members if order.index(i) < turn]
            mean = lambda members: {"w": np.mean([values[i] for i in members], 0)}  # noqa: E731
            assert distance(mean([*before, index])) >= distance(mean(before)) - 1e-12


def test_noise_is_averaged_out():
    noise = np.random.default_rng(0).normal(size=(20, 1000))
    stock = [{"w": jnp.asarray(1 + row)} for row in noise]
    assert greedy_soup(stock, distance).score < 0.3 * min(map(distance, stock))


def test_a_candidate_without_a_score_stays_out():
    soup = greedy_soup([math.nan, -2.0, 3.0], abs)
    assert soup.members == (1, 2)
    assert soup.score == 0.5


def test_mistakes_are_told():
    with pytest.raises(MulliganError, match="at least one checkpoint"):
        greedy_soup([], distance)
