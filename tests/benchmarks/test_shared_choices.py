"""What the study of shared choices compares: games that differ in one thing, and runs of one family and seed."""

import argparse
import json

import jax
import pytest

from benchmarks.quality import shared_choices as study
from mulligan.meta.space.default import default_recipe
from mulligan.training.budget import Budget
from mulligan.training.engine import make_game, start_state

SHAPES = {"strided": (64, 64, 3)}  # smaller images are resized so, whoever contends


@pytest.mark.parametrize("name", study.CONTENDERS)
def test_a_contender_is_a_game_that_can_begin(name):
    contender, shape = study.CONTENDERS[name], SHAPES.get(name, (32, 32, 3))
    plain = default_recipe(shape, 1000, Budget(seconds=None, images=100_000))
    recipe = contender.of(plain)
    game = contender.game(make_game(recipe, shape, contender.clusters, 1e4))
    state = jax.eval_shape(lambda: start_state(game, recipe, shape, contender.clusters, 0))
    changed = (recipe, game.optimiser, contender.clusters) != (plain, make_game(plain, shape, 0, 1e4).optimiser, 0)
    assert changed == (name != "plain")
    assert jax.tree.leaves(state)


def row(of, seed, energy, family="birds"):
    judged = {space: {"energy": energy} for space in ("random 1", "random 2", "pixels", "m1")}
    return {"family": family, "side": 32, "images": 10, "of": of, "seed": seed, "judged": judged}


def test_seconds_of_a_core_are_those_of_the_table_of_speeds():
    recipe, nimg = study.plain_recipe((64, 64, 3), 1000, 0, 180.0)
    assert (recipe.architecture.gen_width, nimg) == (8, 95_192)
    assert study.plain_recipe((64, 64, 3), 1000, nimg, None)[1] == nimg


def test_the_table_compares_runs_of_one_family_and_seed(tmp_path, capsys):
    rows = [row("plain", 0, 0.4), row("plain", 1, 0.1), row("relu", 0, 0.1), row("relu", 1, 0.1), row("relu", 2, 0.9)]
    (tmp_path / "results.jsonl").write_text("".join(json.dumps(each) + "\n" for each in rows))
    study.table(argparse.Namespace(output=tmp_path, side=32, images=10))
    assert "| relu | 2 | 0.50 (0.25 to 1.00) | 1 |" in capsys.readouterr().out
