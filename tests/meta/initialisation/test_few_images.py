"""Few images in `fit`: one alone, copies that end a run, and learned weights where they should help."""

import dataclasses

import jax
import numpy as np
import pytest
from quick import quick_of

from mulligan.errors import MulliganError, UsageError
from mulligan.meta.fit import fit, resume
from mulligan.meta.initialisation import few_images
from mulligan.meta.initialisation.adaptation import fresh_initialisation
from mulligan.meta.initialisation.few_images import NONE, choose_init
from mulligan.meta.initialisation.init_file import PretrainedInit, write_pretrained
from mulligan.meta.initialisation.learn_initialisation import INNER
from mulligan.meta.planning import Options
from mulligan.recipe import Architecture, Hyperparameters, Recipe
from mulligan.report.page import write_report
from mulligan.report.pictures import read_neighbours
from mulligan.tasks.images import read_task
from mulligan.training.budget import Budget
from mulligan.training.progress import Evaluation, Progress
from mulligan.training.run import RunFolder
from mulligan.training.stop import PATIENCE, memorised, with_evaluation

SMALL = Architecture(family="mlp", gen_width=16, disc_width=16, gen_depth=1, disc_depth=1, latent=8)
TINY = Recipe(SMALL, batch=8, averages=("ema",), hyperparameters=Hyperparameters(gen_lr=2e-3, disc_lr=2e-3))
TOLD = {"tasks": 7, "sources": ["made up"], "descriptor": {"mean": 0.9}}
NETS = Architecture("mlp", 4, 4, 1, 1, latent=8)


def strokes(n, side=16, seed=0, ground=255):
    """Dark lines on a light ground, or the negative of that."""
    rng = np.random.default_rng(seed)
    images = np.full((n, side, side, 1), 255, np.uint8)
    for image in images:
        image[rng.integers(2, side - 2)] = image[:, rng.integers(2, side - 2)] = 0
    return images if ground == 255 else 255 - images


@pytest.fixture
def start(tmp_path):
    recipe = dataclasses.replace(INNER, batch=4, architecture=NETS)
    learned = PretrainedInit(
        fresh_initialisation(NETS, (16, 16, 1), 1e-3, jax.random.key(3)), recipe, (16, 16, 1), 2, TOLD
    )
    write_pretrained(tmp_path / "w.safetensors", learned)
    return tmp_path / "w.safetensors"


def told_by(images, tmp_path, name="run", budget=2000, **entries):
    told = []
    options = Options(out=tmp_path / name, experience=NONE, listener=told.append, **entries)
    return fit(images, Budget(budget, None), options), told


# --- one image, or a handful


@pytest.mark.parametrize("n", quick_of([1, 5], 1))
def test_a_handful_of_images_trains_and_says_what_was_kept_back(tmp_path, n):
    gan, told = told_by(strokes(n), tmp_path, recipe=TINY)
    [note] = [event["text"] for event in told if event["kind"] == "note"]
    assert ("a single image" if n == 1 else f"{n} images, too few to keep any back") in note
    assert gan.sample(3).shape == (3, 16, 16, 1)
    assert gan.result["split"] == "train"
    assert np.isfinite([gan.result["kid"], gan.result["memorisation"]["ratio"]]).all()
    shown = read_neighbours(tmp_path / "run" / "final" / "neighbours.npz")
    assert shown.nearest.shape[1] == min(4, n if n > 1 else 4)
    assert shown.typical > 0
    write_report(tmp_path / "run")
    assert "Nearest training images" in (tmp_path / "run" / "report.html").read_text()


@pytest.mark.slow
def test_few_images_are_augmented_by_default(tmp_path):
    _, told = told_by(strokes(5), tmp_path, init=NONE, budget=128)
    assert len([event for event in told if event["kind"] == "note"]) == 1  # none on weights to begin with
    recipe = RunFolder.open(tmp_path / "run").document("recipe")
    assert recipe["augmentation"]
    assert recipe["hyperparameters"]["augment"] > 0


# --- copies


def look(kid, ratio):
    return Evaluation(kid, kid - 0.1, kid + 0.1, 0.9, 10, "ema", 0, ratio)


def test_only_a_row_of_copies_ends_a_run():
    progress, seen = Progress(), []
    for ratio in (0.1, 0.2, 0.9, 0.3, 0.3):
        progress = with_evaluation(progress, look(0.1, ratio))
        seen.append(progress.copies > 0)
    assert seen == [True, True, False, True, True]
    assert memorised(progress) is None
    assert progress.copies == PATIENCE - 1
    assert "memorised" in memorised(with_evaluation(progress, look(0.1, 0.0)))
    assert with_evaluation(progress, look(0.1, None)).copies == 0


@pytest.mark.slow
def test_a_run_whose_samples_become_copies_stops_and_keeps_what_came_before(tmp_path, monkeypatch):
    ratios = iter([0.9, 0.8, 0.4, 0.3, 0.2, *[0.9] * 100])
    found = few_memorisation(monkeypatch, ratios)
    gan, told = told_by(strokes(30), tmp_path, recipe=TINY, budget=20_000)
    [stop] = [event for event in told if event["kind"] == "stop"]
    assert stop["code"] == "memorised"
    looks = [event for event in told if event["kind"] == "evaluation"]
    assert len(looks) == len(found) == 5
    assert gan.result["best_nimg"] in [event["nimg"] for event in looks[:2]]


def few_memorisation(monkeypatch, ratios):
    """Makes evaluations find these ratios, ever better values, and returns the list of what they found."""
    from mulligan.metrics.memorisation import Memorisation
    from mulligan.metrics.selection import SELECTS
    from mulligan.training import evaluation

    found = []

    def memorisation(*features):
        found.append(next(ratios))
        return Memorisation(found[-1], 0.0)

    def quick(reference, joint):
        return real(reference, joint) | {SELECTS.name: 1.0 / (1 + len(found))}

    real = evaluation.validation_metrics_of
    monkeypatch.setattr(evaluation, "memorisation", memorisation)
    monkeypatch.setattr(evaluation, "validation_metrics_of", quick)
    return found


# --- learned weights


@pytest.mark.slow
def test_a_run_starts_from_the_weights_after_some_updates_on_its_images(tmp_path, start):
    _, told = told_by(strokes(5), tmp_path, init=str(start), budget=128)
    notes = [event["text"] for event in told if event["kind"] == "note"]
    assert "learned on 7 tasks (made up), 100% of them fitting, after 2 updates on your 5 images" in notes[1]
    folder = RunFolder.open(tmp_path / "run")
    assert folder.document("recipe")["architecture"]["gen_width"] == 4
    assert folder.document("run")["init"] == notes[1]


@pytest.mark.slow
def test_such_a_run_resumes_to_the_same_end(tmp_path, start):
    whole, _ = told_by(strokes(12), tmp_path, "whole", init=str(start), budget=1000)
    events = []

    def kill(event):
        events.append(event)
        if event["kind"] == "checkpoint" and len([e for e in events if e["kind"] == "checkpoint"]) == 2:
            raise SystemExit

    options = Options(out=tmp_path / "killed", experience=NONE, listener=kill, init=str(start))
    with pytest.raises(SystemExit):
        fit(strokes(12), Budget(1000, None), options)
    start.unlink()  # the run has all that it needs
    assert (resume(tmp_path / "killed").sample(4) == whole.sample(4)).all()


@pytest.mark.parametrize(
    ("images", "used"),
    [
        (strokes(6), True),
        (strokes(6, ground=0), True),
        (strokes(80), False),
        (strokes(6, side=20), False),
        (np.random.default_rng(0).integers(0, 256, (6, 16, 16, 1), np.uint8), False),
        (np.random.default_rng(0).integers(0, 256, (6, 16, 16, 3), np.uint8), False),
    ],
)
def test_shipped_weights_are_used_for_few_drawings_of_their_size_alone(start, monkeypatch, images, used):
    monkeypatch.setattr(few_images, "shipped_pretrained", lambda: start)
    task = read_task(images)
    found = choose_init(task, None)
    assert (found is not None) is used
    assert choose_init(task, NONE) is None
    if used:
        dark = task.descriptor["mean"] < 0.5
        centre = found.start.learned.centre.gen.layers[-1].weight
        shipped = fresh_initialisation(NETS, (16, 16, 1), 1e-3, jax.random.key(3)).centre.gen.layers[-1].weight
        np.testing.assert_allclose(centre, -shipped if dark else shipped, rtol=2e-3)


def test_weights_that_cannot_be_used_are_one_sentence(tmp_path, start):
    with pytest.raises(MulliganError, match="cannot be used"):
        told_by(strokes(5), tmp_path, init=str(tmp_path / "nothing"))
    (tmp_path / "photos" / "a").mkdir(parents=True)
    task = dataclasses.replace(read_task(strokes(5)), classes=("a",))
    with pytest.raises(UsageError, match="leave out `labels` or `init`"):
        choose_init(task, str(start))
