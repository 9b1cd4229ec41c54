"""What the study of shared choices compares: games that differ in one thing, and runs of one family and seed."""

import argparse
import dataclasses
import json

import jax
import jax.numpy as jnp
import pytest

from benchmarks.quality import shared_choices as study
from mulligan.meta.space.default import default_recipe
from mulligan.networks.architecture import build
from mulligan.recipe import Architecture
from mulligan.training.budget import Budget
from mulligan.training.engine import make_game, start_state
from tools.pretrain import write_weights

SHAPES = {"strided": (64, 64, 3)}  # smaller images are resized so, whoever contends
IMAGES = {"batch 16": 150_000}  # shorter runs have such batches, whoever contends


@pytest.mark.parametrize("name", study.CONTENDERS)
def test_a_contender_is_a_game_that_can_begin(name):
    contender, shape = study.CONTENDERS[name], SHAPES.get(name, (32, 32, 3))
    plain = default_recipe(shape, 1000, Budget(seconds=None, images=IMAGES.get(name, 100_000)))
    recipe = contender.of(plain)
    game = contender.game(make_game(recipe, shape, contender.clusters, 1e4))
    state = jax.eval_shape(lambda: start_state(game, recipe, shape, contender.clusters, 0))
    usual = (plain, make_game(plain, shape, 0, 1e4).optimiser, 0, 0.0)
    changed = (recipe, game.optimiser, contender.clusters, contender.learned) != usual
    assert changed == (name != "plain")
    assert jax.tree.leaves(state)


def test_a_learned_contender_begins_with_a_share_of_a_file(tmp_path):
    architecture = Architecture(gen_width=8, disc_width=8, resampling="folded", kernel=3)
    learned = build(architecture, (32, 32, 3), 0, jax.random.key(7))
    card = {"architecture": dataclasses.asdict(architecture), "shape": [32, 32, 3]}
    write_weights(tmp_path / "w8", learned, card)
    fresh = build(architecture, (32, 32, 3), 0, jax.random.key(0))

    def begun(name):
        contender = study.CONTENDERS[name]
        return study.players_from(tmp_path / "w8.safetensors", architecture, (32, 32, 3), contender, 0)

    leaves = zip(*(jax.tree.leaves(players) for players in (learned, fresh, begun("half learned"))), strict=True)
    for old, new, mixed in leaves:
        assert jnp.allclose((old + new) / 2, mixed, atol=2e-3)
    assert begun("plain") is None
    generator = begun("learned generator")
    assert jnp.allclose(generator.gen.layers[0].weight, learned.gen.layers[0].weight, atol=2e-3)
    assert jnp.array_equal(generator.disc.head.dense.weight, fresh.disc.head.dense.weight)


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
