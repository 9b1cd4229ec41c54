"""What the study of shared choices compares: games that differ in one thing, and runs of one family and seed."""

import argparse
import json
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks.quality import shared_choices as study
from mulligan.meta.space.default import default_recipe
from mulligan.networks.architecture import Networks
from mulligan.networks.convolution import conv2d, conv2d_transpose
from mulligan.networks.piecewise import is_piecewise_linear
from mulligan.training.budget import Budget
from mulligan.training.engine import make_game, start_state

SHAPE = (32, 32, 3)


@pytest.mark.parametrize("name", study.CONTENDERS)
def test_a_contender_is_a_game_that_can_begin(name):
    contender = study.CONTENDERS[name]
    plain = default_recipe(SHAPE, 1000, Budget(seconds=None, images=100_000))
    recipe = contender.of(plain)
    game = contender.game(make_game(recipe, SHAPE, contender.clusters, 1e4))
    state = jax.eval_shape(lambda: start_state(game, recipe, SHAPE, contender.clusters, 0))
    usual = (plain, make_game(plain, SHAPE, 0, 1e4).optimiser, 0, None)
    changed = (recipe, game.optimiser, contender.clusters, contender.start) != usual
    assert changed == (name != "plain")
    assert jax.tree.leaves(state)


def test_a_smooth_generator_begins_without_a_pattern_of_windows():
    """Of one colour all over, a map becomes one of one colour but for its edges; the weights' size stays."""
    kernel: Any = jax.random.normal(jax.random.key(0), (4, 4, 3, 200))
    smooth: Any = study.smooth("gen")(Networks(kernel, kernel)).gen
    assert float(jnp.square(smooth).mean()) == pytest.approx(float(jnp.square(kernel).mean()), rel=0.2)
    drawn = conv2d_transpose(jnp.ones((1, 8, 8, 3)), smooth, 2, (16, 16))[:, 2:-2, 2:-2]
    np.testing.assert_allclose(drawn, jnp.broadcast_to(drawn[:, :1, :1], drawn.shape), atol=1e-4)
    assert np.ptp(conv2d_transpose(jnp.ones((1, 8, 8, 3)), kernel, 2, (16, 16))[0, 2:-2, 2:-2, 0]) > 0.1


def test_a_resized_map_is_doubled_and_convolved_and_a_pooled_one_convolved_and_averaged():
    x, kernel = (jax.random.normal(jax.random.key(n), shape) for n, shape in ((1, (2, 6, 6, 3)), (2, (3, 3, 3, 5))))
    doubled = jnp.repeat(jnp.repeat(x, 2, 1), 2, 2)
    found = conv2d_transpose(x, study.both_ways(kernel)[::-1, ::-1], 2, (12, 12))
    np.testing.assert_allclose(found, conv2d(doubled, kernel, 1), rtol=1e-4, atol=1e-4)
    means = conv2d(doubled, kernel, 1).reshape(2, 6, 2, 6, 2, 5).mean((2, 4))
    np.testing.assert_allclose(conv2d(doubled, study.both_ways(kernel) / 4, 2), means, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["resized generator", "resized players"])
def test_resized_players_train_with_the_cheap_penalty(name):
    images = np.random.default_rng(0).integers(0, 256, (40, *SHAPE), np.uint8)
    run = study.Run(name, images, 800, 0)
    assert is_piecewise_linear(run.state.disc)
    assert run.advance(3)
    assert run.draw().shape == (study.FAKES, *SHAPE)


def row(of, seed, energy, family="birds"):
    judged = {space: {"energy": energy} for space in ("random 1", "random 2", "pixels", "m1")}
    return {"family": family, "side": 32, "images": 10, "of": of, "seed": seed, "judged": judged}


def test_the_table_compares_runs_of_one_family_and_seed(tmp_path, capsys):
    rows = [row("plain", 0, 0.4), row("plain", 1, 0.1), row("relu", 0, 0.1), row("relu", 1, 0.1), row("relu", 2, 0.9)]
    (tmp_path / "results.jsonl").write_text("".join(json.dumps(each) + "\n" for each in rows))
    study.table(argparse.Namespace(output=tmp_path, side=32, images=10))
    assert "| relu | 2 | 0.50 (0.25 to 1.00) | 1 |" in capsys.readouterr().out
