"""Learning initial weights as a whole: sources, files, being killed, and networks of other shapes."""

import dataclasses
import json
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mulligan.errors import MulliganError
from mulligan.game.step import Data, Players
from mulligan.meta.initialisation import learn_initialisation as module
from mulligan.meta.initialisation.adaptation import adapt, fresh_initialisation
from mulligan.meta.initialisation.init_file import (
    PretrainedInit,
    fit_to_shape,
    grow,
    inner_game,
    read_pretrained,
    scale_latents,
    shipped_pretrained,
    write_pretrained,
)
from mulligan.meta.initialisation.learn_initialisation import INNER, MetaConfig, MetaRun, learn_initialisation
from mulligan.networks.architecture import Networks, build
from mulligan.networks.negative import negative
from mulligan.networks.parameters import named_parameters
from mulligan.recipe import Architecture
from mulligan.training import checkpoint

CONV = dataclasses.replace(INNER, batch=4, architecture=Architecture(gen_width=4, disc_width=4, latent=4))
TINY = dataclasses.replace(CONV, architecture=Architecture("mlp", 4, 4, 1, 1, latent=4))  # compiles at once
SHORT = MetaConfig(TINY, "fomaml", updates=2, tasks=2, query=4, fakes=4, feature_steps=3)
SAW = {"tasks": 3, "sources": ["made up"], "descriptor": {"mean": 0.9}}
KEY = jax.random.key(0)

drawn = jax.jit(lambda gen, z: gen(z))  # one program, not one for each operation
adapted = jax.jit(adapt, static_argnums=0)


def source(folder, classes=3, each=12, side=16):
    """An `.npz` with classes of a few small images each."""
    images = np.random.default_rng(0).integers(0, 256, (classes * each, side, side), np.uint8)
    np.savez(folder / "made.npz", images=images, labels=np.repeat(np.arange(classes), each))
    return f"{folder / 'made.npz'}@labels"


def course(folder, steps, config=SHORT, **entries):
    return MetaRun([source(folder)], folder / "out" / "w.safetensors", 1e6, config, steps, **entries)


@pytest.mark.slow
def test_what_was_learned_is_the_same_however_often_it_was_interrupted(tmp_path):
    parts, whole = tmp_path / "parts", tmp_path / "whole"
    for folder in (parts, whole):
        folder.mkdir()
    for steps in (1, 3):
        learn_initialisation(course(parts, steps))
    told = []
    done = learn_initialisation(course(whole, 3), told.append)
    assert (done["steps"], done["episodes"], done["tasks"], done["images"]) == (3, 6, 3, 36)
    assert told[0]["kind"] == "source"
    ends = [
        checkpoint.newest(folder / "out" / "w.safetensors.learning" / "steps")[0].arrays for folder in (parts, whole)
    ]
    assert ends[0].keys() == ends[1].keys()
    assert all((ends[0][name] == ends[1][name]).all() for name in ends[0])
    json.dumps(read_pretrained(whole / "out" / "w.safetensors").provenance)


@pytest.mark.slow
def test_a_rate_with_an_end_rises_from_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "SAVE_SECONDS", 0.0)  # a checkpoint at every step
    curriculum = dataclasses.replace(SHORT, rate=0.1, decay_steps=200)
    at = [
        checkpoint.arrays_of(
            fresh_initialisation(TINY.architecture, (16, 16, 1), SHORT.scale, jax.random.split(KEY)[0]), "x"
        )
    ]

    def look(event):
        if event["kind"] != "source":
            saved, _ = checkpoint.newest(tmp_path / "out" / "w.safetensors.learning" / "steps")
            at.append({name: saved.arrays[name.replace("x.", "outer.learned.", 1)] for name in at[0]})

    learn_initialisation(course(tmp_path, 3, curriculum), look)
    moves = [max(np.abs(a[name] - b[name]).max() for name in a) for a, b in pairwise(at)]
    assert moves[0] == 0 < moves[1] < moves[2]


@pytest.mark.slow
@pytest.mark.parametrize(("algorithm", "moved"), [("fomaml", True), ("reptile", False)])
def test_what_comes_before_hands_on_its_weights_and_the_scale_if_it_learns_one(tmp_path, algorithm, moved):
    first = dataclasses.replace(SHORT, algorithm=algorithm, rate=0.1)
    learn_initialisation(course(tmp_path, 1, dataclasses.replace(SHORT, rate=0.0, scale=0.5, before=(first, 2))))
    out = tmp_path / "out" / "w.safetensors"
    earlier = read_pretrained(out.with_name("w.safetensors.learning") / "before.safetensors").learned
    later = read_pretrained(out).learned
    assert all((a == b).all() for a, b in zip(*map(jax.tree.leaves, (earlier.centre, later.centre)), strict=True))
    scales = [leaf for leaf in jax.tree.leaves(later.log_scale) if leaf.size]
    assert all((leaf == np.float16(np.log(0.5))).all() for leaf in scales) != moved
    if moved:
        pairs = zip(*map(jax.tree.leaves, (earlier.log_scale, later.log_scale)), strict=True)
        assert all((a == b).all() for a, b in pairs)


@pytest.mark.slow
def test_what_comes_before_leaves_half_of_the_time_and_is_over_once_the_rest_has_begun(tmp_path):
    stages = dataclasses.replace(SHORT, before=(dataclasses.replace(SHORT, before=(SHORT, 10**9)), 10**9))
    last = tmp_path / "out" / "w.safetensors"
    middle = last.with_name("w.safetensors.learning") / "before.safetensors"
    files = [middle.with_name("before.safetensors.learning") / "before.safetensors", middle, last]

    def spent(seconds):
        learn_initialisation(dataclasses.replace(course(tmp_path, None, stages), seconds=seconds))
        return [read_pretrained(file).provenance["seconds"] for file in files]

    first = spent(0.8)  # on a busy machine a step takes a tenth of a second
    rounding = 0.005
    assert first[0] >= 0.2 - rounding
    assert first[0] + first[1] >= 0.4 - rounding
    assert sum(first) >= 0.8 - rounding
    longer = spent(sum(first) + 0.1)
    assert longer[:2] == first[:2]
    assert longer[2] > first[2]


@pytest.mark.slow
def test_a_checkpoint_that_was_torn_costs_only_what_came_after_the_one_before(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "SAVE_SECONDS", 0.0)
    learn_initialisation(course(tmp_path, 3))
    folder = tmp_path / "out" / "w.safetensors.learning" / "steps"
    newest = max(folder.glob("*.safetensors"))
    whole = checkpoint.read(newest).arrays
    newest.write_bytes(newest.read_bytes()[:-100])
    learn_initialisation(course(tmp_path, 3))
    again = checkpoint.newest(folder)[0].arrays
    assert all((again[name] == whole[name]).all() for name in whole)


@pytest.mark.slow
def test_going_on_with_other_settings_is_refused(tmp_path):
    learn_initialisation(course(tmp_path, 1))
    with pytest.raises(MulliganError, match="was begun with other images or settings: give another file, or delete"):
        learn_initialisation(course(tmp_path, 2, dataclasses.replace(SHORT, rate=0.5)))


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda folder: source(folder, classes=1), "all images are of one class"),
        (lambda folder: source(folder, each=4), "0 of 3 has 8 images: give a source with classes"),
        (lambda folder: "digits", "learned across tasks, and 1 of 1 has 8 images"),
    ],
)
def test_sources_that_hold_no_family(tmp_path, make, sentence):
    with pytest.raises(MulliganError, match=sentence):
        learn_initialisation(MetaRun([make(tmp_path)], tmp_path / "w.safetensors", 1e6, SHORT, 1))


@pytest.mark.slow
def test_numbers_that_are_not_finite_are_one_sentence(tmp_path):
    with pytest.raises(MulliganError, match="lower the rate or the scale"):
        learn_initialisation(course(tmp_path, 3, dataclasses.replace(SHORT, scale=1e30)))


# --- files


@pytest.fixture(scope="module")
def start():
    return PretrainedInit(fresh_initialisation(CONV.architecture, (16, 16, 1), 0.01, KEY), CONV, (16, 16, 1), 2, SAW)


def test_a_file_holds_what_was_written(tmp_path, start):
    write_pretrained(tmp_path / "w.safetensors", start)
    again = read_pretrained(tmp_path / "w.safetensors")
    assert (again.recipe, again.shape, again.updates, again.provenance) == (start.recipe, start.shape, 2, SAW)
    for a, b in zip(jax.tree.leaves(again.learned), jax.tree.leaves(start.learned), strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-3, atol=1e-6)


def test_files_that_are_something_else(tmp_path, start):
    checkpoint.write(tmp_path / "x.safetensors", {"a": np.zeros(2)}, {})
    with pytest.raises(MulliganError, match="holds no initial weights"):
        read_pretrained(tmp_path / "x.safetensors")
    (tmp_path / "x.safetensors").write_bytes(b"x")
    with pytest.raises(MulliganError, match="cannot be used"):
        read_pretrained(tmp_path / "x.safetensors")


def test_what_is_shipped_is_small_and_plays():
    path = shipped_pretrained()
    assert path is not None
    assert path.stat().st_size < 2_000_000
    shipped = read_pretrained(path)
    images = jnp.full((4, *shipped.shape), 255, jnp.uint8)
    players = adapted(shipped.inner._replace(updates=1), shipped.learned, Data(images), KEY)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(players))


# --- other networks


@pytest.mark.parametrize("shape", [(16, 16, 3), (20, 12, 1), (32, 32, 1)])
def test_what_fits_other_images_is_taken_and_the_rest_is_fresh(start, shape):
    other, share = fit_to_shape(start, shape)
    assert 0 < share < 1
    built = build(CONV.architecture, shape, 0, KEY)
    assert jax.tree.structure(other.learned.centre.gen) == jax.tree.structure(built.gen)
    ours, theirs = (named_parameters(players.centre.disc) for players in (other.learned, start.learned))
    first = next(iter(ours))
    assert ours[first].shape == build(CONV.architecture, shape, 0, KEY).disc.layers[0].kernel.shape
    if shape[2] == 1:
        assert (ours[first] == theirs[first]).all()
        last = [players.centre.gen.layers[-1].kernel for players in (other.learned, start.learned)]
        assert (last[0] == last[1]).all()
    assert fit_to_shape(start, start.shape) == (start, 1.0)


@pytest.mark.slow
@pytest.mark.parametrize(("deeper", "apart"), [(0, 1e-3), (1, 0.1)])
def test_larger_networks_play_as_the_smaller_ones_did(deeper, apart):
    """Exactly where only channels are repeated; nearly where new layers move a little, too."""
    start = PretrainedInit(fresh_initialisation(TINY.architecture, (16, 16, 1), 0.02, KEY), TINY, (16, 16, 1), 2, SAW)
    larger = dataclasses.replace(TINY.architecture, gen_width=9, disc_width=8, gen_depth=1 + deeper)
    images = Data(jnp.asarray(np.random.default_rng(0).integers(0, 256, (4, 16, 16, 1), np.uint8)))
    z = jax.random.normal(KEY, (3, 4))

    def played(architecture, learned):
        inner = inner_game(dataclasses.replace(TINY, architecture=architecture), (16, 16, 1), 5)
        return np.asarray(drawn(adapted(inner, learned, images, KEY).gen, z))

    before = np.asarray(drawn(start.learned.centre.gen, z))
    ends = [played(TINY.architecture, start.learned), played(larger, grow(start, larger, 1e-6, KEY))]
    assert np.abs(ends[1] - ends[0]).max() < apart * np.abs(ends[0] - before).max()
    assert grow(start, TINY.architecture, 1e-6, KEY) is start.learned


@pytest.mark.slow
def test_learning_goes_on_in_larger_networks_than_came_before(tmp_path):
    larger = dataclasses.replace(TINY, architecture=dataclasses.replace(TINY.architecture, gen_width=8))
    curriculum = dataclasses.replace(SHORT, recipe=larger, rate=0.0, before=(SHORT, 2))
    learn_initialisation(course(tmp_path, 1, curriculum))
    out = tmp_path / "out" / "w.safetensors"
    small, large = (
        read_pretrained(path) for path in (out.with_name(f"{out.name}.learning") / "before.safetensors", out)
    )
    assert large.recipe == larger
    z = jax.random.normal(KEY, (3, 4))
    np.testing.assert_allclose(large.learned.centre.gen(z), small.learned.centre.gen(z), atol=5e-3)  # float16 on disk


@pytest.mark.parametrize("family", ["conv", "residual", "mlp"])
def test_latents_that_reach_less_far(family):
    learned = fresh_initialisation(Architecture(family, 4, 4, 1, 1, kernel=3, latent=4), (16, 16, 1), 0.01, KEY)
    z = jax.random.normal(KEY, (3, 4))
    np.testing.assert_allclose(
        drawn(scale_latents(learned, 0.5).centre.gen, z), drawn(learned.centre.gen, 0.5 * z), atol=1e-6
    )


def test_the_same_game_in_negative(start):
    """Players that start mirrored, on images in negative, end mirrored."""
    images = jnp.asarray(np.random.default_rng(0).integers(0, 256, (4, 16, 16, 1), np.uint8))
    inner = inner_game(dataclasses.replace(CONV, dynamics="simultaneous"), (16, 16, 1), 2)
    z = jax.random.normal(KEY, (3, 4))
    plain = adapted(inner, start.learned, Data(images), KEY).gen
    centre = Players(*negative(Networks(*start.learned.centre)))
    mirrored = adapted(inner, start.learned._replace(centre=centre), Data(255 - images), KEY).gen
    np.testing.assert_allclose(drawn(mirrored, z), -drawn(plain, z), atol=1e-5)
