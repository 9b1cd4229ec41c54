"""Learned weights of whole runs: which tasks begin with which, which do not, and what is said and remembered of it."""

import json
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from PIL import Image, ImageDraw

from mulligan.meta.experience import Experience
from mulligan.meta.fit import fit
from mulligan.meta.initialisation import kindred
from mulligan.meta.initialisation.kindred import COMMON, COMPARED_COMMON, COMPARED_KINDS, KINDS, learned_recipe
from mulligan.meta.planning import KINDRED, PRETRAINED, Options, plan_run, with_learned_weights
from mulligan.meta.space.default import ENOUGH, ENOUGH_LEARNED, INIT, default_recipe
from mulligan.networks.pretrained import NEGATIVE, architectures, cards, load_pretrained
from mulligan.tasks.images import read_task
from mulligan.training.budget import Budget
from mulligan.training.engine import Sampler
from mulligan.training.run import RunFolder

SHORT, MINUTE = Budget(64, None), Budget(72_000, None)  # at 32x32 a minute of a core, by networks of width 16
DRAWINGS, CLIPART, PHOTOGRAPHS = KINDS[0], KINDS[2], KINDS[3]


@cache
def drawings(size: int = 64, channels: int = 1) -> np.ndarray:
    """Thick strokes and rings of ink on white."""
    rng, images = np.random.default_rng(0), []
    for _ in range(330):
        image = Image.new("L", (64, 64), 255)
        pen = ImageDraw.Draw(image)
        for _ in range(2):
            points = rng.integers(8, 56, (3, 2))
            pen.line([tuple(map(int, point)) for point in points], fill=0, width=int(rng.integers(3, 8)), joint="curve")
        left, top = map(int, rng.integers(8, 30, 2))
        pen.ellipse([left, top, left + 22, top + 22], outline=0, width=4)
        images.append(np.asarray(image.resize((size, size), Image.Resampling.BILINEAR)))
    return np.repeat(np.stack(images)[..., None], channels, axis=-1)


@cache
def stickers() -> np.ndarray:
    """Filled shapes of one colour each, outlined, on white."""
    rng, images = np.random.default_rng(0), []
    for _ in range(330):
        image = Image.new("RGB", (64, 64), "white")
        pen, colour = ImageDraw.Draw(image), tuple(map(int, rng.integers(0, 256, 3)))
        left, top, right, bottom = (int(edge) for edge in (*rng.integers(4, 28, 2), *rng.integers(40, 60, 2)))
        shape = pen.ellipse if rng.random() < 0.5 else pen.rectangle
        shape([left, top, right, bottom], fill=colour, outline="black", width=int(rng.integers(1, 4)))
        pen.ellipse([26, 26, 38, 38], fill="white")
        images.append(np.asarray(image))
    return np.stack(images)


def stripes() -> np.ndarray:
    """Soft grey waves, as no drawing has them."""
    rng, across = np.random.default_rng(0), np.arange(64) / 64
    waves = np.sin(2 * np.pi * (rng.uniform(1, 4, (330, 1)) * across + rng.uniform(0, 1, (330, 1))))
    return np.broadcast_to((127 + 60 * waves)[:, None, :, None], (330, 64, 64, 1)).astype(np.uint8)


def drawn_by(init: str, side: int = 64) -> np.ndarray:
    """Images of the narrowest generator that ships, at the size that it was learned at."""
    architecture, *_ = architectures(init, (side, side, 3))
    gen = load_pretrained(init, architecture, (side, side, 3)).networks.gen
    sampler = Sampler.make(architecture, 0)
    return sampler(gen, sampler.latents(330, seed=1))


def proposed(images: np.ndarray, budget: Budget = SHORT):
    task = read_task(images)
    usual, wider = (default_recipe(task.shape, len(task.train), budget, enough) for enough in (ENOUGH, ENOUGH_LEARNED))
    return learned_recipe(task, usual, wider)


@pytest.mark.parametrize(("size", "channels"), [(64, 1), (40, 3)])
@pytest.mark.parametrize("init", [DRAWINGS, DRAWINGS + NEGATIVE])
def test_drawings_begin_with_weights_of_their_kind_by_an_otherwise_equal_recipe(size, channels, init):
    images = drawings(size, channels)
    recipe = proposed(255 - images if init.endswith(NEGATIVE) else images)
    usual = default_recipe(images.shape[1:], 231, SHORT)
    assert recipe.init == init
    assert recipe.architecture in architectures(init, images.shape[1:])
    assert recipe == replace(usual, init=init, architecture=recipe.architecture)


def test_what_is_bright_on_black_begins_with_clip_art_in_negative():
    recipe = proposed(255 - stickers())
    assert recipe is not None
    assert recipe.init == CLIPART


@pytest.mark.parametrize("init", KINDS)
def test_images_that_weights_drew_are_of_their_kind(init):
    assert proposed(drawn_by(init)).init == init


@pytest.mark.parametrize("channels", [1, 3])
def test_small_images_begin_with_weights_that_help_all(channels):
    images = drawings(32, channels)
    recipe = proposed(images, MINUTE)
    usual = default_recipe(images.shape[1:], 231, MINUTE)
    assert recipe == replace(usual, init=COMMON, architecture=recipe.architecture)
    for batch in (8, 32):
        other = replace(usual, batch=batch)
        assert learned_recipe(read_task(images), other, other) is None


def test_a_few_images_begin_with_weights_of_their_kind_where_that_was_compared():
    small = drawn_by(COMMON, 32)
    few = {"ten": drawings()[:10], "fewer": drawings()[:9], "small": small[:50], "others": stripes()[:50]}
    begun = {}
    for name, images in few.items():
        task = read_task(images)
        begun[name] = plan_run(task, MINUTE if name == "small" else SHORT, Options(), None).arms[0].recipe.init
    assert begun == {"ten": DRAWINGS, "fewer": INIT, "small": INIT, "others": INIT}


def test_all_networks_that_ship_were_compared():
    assert {_networks(card) for init in KINDS for card in cards(init)} == set(COMPARED_KINDS)
    assert {_networks(card) for card in cards(COMMON)} == set(COMPARED_COMMON)


def _networks(card):
    return card["architecture"]["resampling"], card["architecture"]["gen_width"]


def test_other_images_begin_with_weights_that_help_all_for_as_long_as_that_was_compared():
    images = stripes()
    assert proposed(images).init == COMMON
    task, longer = read_task(images), replace(default_recipe(images.shape[1:], 231, SHORT), batch=32)
    assert learned_recipe(task, longer, longer) is None
    compared = replace(longer, batch=16)
    assert learned_recipe(task, compared, compared).batch == 16


@pytest.mark.parametrize("of", [stripes, lambda: drawn_by(PHOTOGRAPHS)], ids=["others", "photographs"])
def test_they_make_wider_networks_worth_their_while(of):
    images, minutes = of(), Budget(35_000, None)
    shape = images.shape[1:]
    recipe = proposed(images, minutes)
    assert recipe.init == COMMON
    assert recipe.architecture.gen_width == 2 * default_recipe(shape, 231, minutes).architecture.gen_width
    assert proposed(drawings(), minutes).init == DRAWINGS  # whose own weights were not compared with those


def test_ten_minutes_begin_with_them_in_the_networks_that_fresh_weights_would_have_and_an_hour_begins_afresh():
    images, minutes = stripes(), Budget(110_000, None)
    usual = default_recipe(images.shape[1:], 231, minutes)
    recipe = proposed(images, minutes)
    assert (usual.architecture.gen_width, usual.batch) == (16, 16)
    assert recipe == replace(usual, init=COMMON, architecture=recipe.architecture)
    assert proposed(images, Budget(200_000, None)) is None


def test_wider_networks_keep_the_strategy_that_was_asked_for():
    task, minutes = read_task(stripes()), Budget(35_000, None)
    plan = plan_run(task, minutes, Options(experience="none", strategy="switch"), None)
    recipe = with_learned_weights(plan, task, minutes).arms[0].recipe
    assert (recipe.init, recipe.architecture.gen_width, recipe.strategy) == (COMMON, 16, "switch")


def test_nothing_is_drawn_where_there_are_no_weights_for_such_networks(monkeypatch):
    monkeypatch.setattr(kindred, "load_embedding", None)
    assert proposed(drawings(size=32)) is None
    assert proposed(drawings(), Budget(10_000_000, None)) is None  # for so many the networks would be wider


def test_a_run_says_that_it_begins_with_weights_that_help_all_and_is_no_trial(tmp_path):
    place, notes = str(tmp_path / "experience.db"), []
    hear = lambda event: notes.append(event.get("text"))  # noqa: E731
    fit(stripes(), SHORT, Options(out=tmp_path / "run", experience=place, listener=hear))
    folder = RunFolder.open(tmp_path / "run")
    assert folder.document("recipe")["init"] == COMMON
    assert PRETRAINED in json.dumps(folder.document("plan"))
    assert any(text and "objects drawn at random" in text and "--init none" in text for text in notes)
    assert not list(Experience(place).trials())


@pytest.mark.parametrize("init", [None, "none"])
def test_a_run_says_that_it_begins_so_and_is_no_trial_and_can_be_asked_not_to(tmp_path, monkeypatch, init):
    place, notes = str(tmp_path / "experience.db"), []
    monkeypatch.setattr("mulligan.meta.fit.nearest_run", None)  # no run of one's own is looked for
    hear = lambda event: notes.append(event.get("text"))  # noqa: E731
    fit(drawings(), SHORT, Options(out=tmp_path / "run", experience=place, init=init, listener=hear))
    folder, begun = RunFolder.open(tmp_path / "run"), init is None
    assert (folder.document("recipe").get("init") == DRAWINGS) is begun
    assert any(text and "they drew images near yours" in text for text in notes) is begun
    assert (KINDRED in json.dumps(folder.document("plan"))) is begun
    assert bool(list(Experience(place).trials())) is not begun
