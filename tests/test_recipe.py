"""A recipe that is read either can be trained or is refused in one sentence that names the field."""

import dataclasses
import json
import tempfile
from pathlib import Path
from typing import Any

import jax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mulligan.api import _recipe
from mulligan.errors import MulliganError
from mulligan.networks.architecture import check
from mulligan.recipe import HYPERPARAMETERS, Architecture, Form, Hyperparameters, Recipe
from mulligan.schema import Named
from mulligan.training.engine import make_game, start_state

DEFAULT = Recipe().to_json()
SMALL = {"family": "mlp", "gen_width": 4, "disc_width": 4, "gen_depth": 1, "disc_depth": 1, "latent": 2}
BIG = 10**400
REFUSED = [  # what stands at a path, and what the sentence says
    ("batch", 0, "the recipe's batch is 0: it must be 1 at least"),
    ("batch", 2.5, "batch is 2.5: it must be a whole number"),
    ("batch", True, "batch is true: it must be a whole number"),
    ("batch", "32", 'batch is "32": it must be a whole number'),
    ("batch", BIG, "batch"),
    ("batch", 10**9, "batch is 1000000000: it can be 16384 at most"),
    ("batch", None, "batch is null"),
    ("batchsize", 32, "has no field 'batchsize'; did you mean 'batch'"),
    ("architecture", "conv", 'the recipe\'s architecture is "conv": it must be an object'),
    ("architecture", [1], "it must be an object"),
    ("architecture.gen_width", -5, "architecture.gen_width is -5"),
    ("architecture.disc_width", 100_000, "4096 at most"),
    ("architecture.gen_width", [[]], "whole number"),
    ("architecture.latent", 10**12, "architecture.latent"),
    ("architecture.gen_depth", -1, "architecture.gen_depth"),
    ("architecture.disc_depth", 10**6, "16 at most"),
    ("architecture.kernel", 99, "architecture.kernel is 99: it can be 5 at most"),
    ("architecture.attention", "no", "it must be true or false"),
    ("architecture.minibatch_std", 1, "it must be true or false"),
    ("architecture.activation", "rlu", "did you mean 'relu'"),
    ("architecture.gen_normalisation", "spectral", "choose none, pixel, group"),
    ("architecture.resampling", "evil", "choose strided, folded, filtered, nearest, bilinear"),
    ("architecture.models", 7, "it must be text"),
    ("architecture.genwidth", 7, "the recipe's architecture has no field 'genwidth'; did you mean 'gen_width'"),
    ("loss", "hinj", "did you mean 'hinge'"),
    ("loss", 3, "it must be text"),
    ("penalty", "evil", "choose none, r1"),
    ("penalty_every", 0, "penalty_every"),
    ("dynamics", "evil", "dynamics"),
    ("disc_steps", 10**6, "16 at most"),
    ("opponents", 10**9, "64 at most"),
    ("augmentation", "flip", "it must be a list"),
    ("augmentation", ["flip", "evil"], "augmentation.1"),
    ("averages", ["ema", "ema"], "names something twice"),
    ("averages", {"ema": 1}, "it must be a list"),
    ("hyperparameters", [1e-3], "hyperparameters"),
    ("hyperparameters.gen_lr", float("nan"), "it must be a finite number"),
    ("hyperparameters.gen_lr", float("inf"), "it must be a finite number"),
    ("hyperparameters.gen_lr", 1e308, "1e+06 at most"),
    ("hyperparameters.gen_lr", BIG, "hyperparameters.gen_lr"),
    ("hyperparameters.disc_lr", "1e-3", "it must be a number"),
    ("hyperparameters.disc_lr", -1, "0 at least"),
    ("hyperparameters.gen_beta1", 1, "hyperparameters.gen_beta1"),
    ("hyperparameters.disc_beta2", -0.5, "hyperparameters.disc_beta2"),
    ("hyperparameters.augment", 1.5, "1 at most"),
    ("hyperparameters.learning_rate", 1e-3, "the recipe's hyperparameters has no field"),
    ("schedules", ["gen_lr"], "it must be an object"),
    ("schedules.gen_lr", "cosine", "schedules.gen_lr"),
    ("schedules.lr", {"kind": "cosine"}, "schedules"),
    ("schedules.gen_lr", {"kind": "cos"}, "did you mean 'cosine'"),
    ("schedules.gen_lr", {"kind": "cosine", "over": 5}, "has no field 'over'"),
    ("schedules.gen_lr", {"kind": "cosine", "final": -1}, "schedules.gen_lr.final"),
    ("strategy", "evil", "choose none, fork, switch"),
    ("strategy_prior", {"as it is": float("nan")}, "finite number"),
    ("strategy_prior", {"evil": 1}, "strategy_prior"),
    ("gap_aware", 0, "it must be true or false"),
    ("matching", -1.0, "matching is -1.0"),
    ("learned_schedule", "../../../etc/passwd", "choose nothing, s1, s2"),
    ("format", 99, "written by a newer version of mulligan (format 99; this version reads up to 1)"),
    ("format", None, "format None is none"),
    ("format", "1", "format '1' is none"),
    ("format", True, "format True is none"),
]


def with_value(path, value):
    document = json.loads(json.dumps(DEFAULT))
    *parents, last = path.split(".")
    place = document
    for part in parents:
        place = place[part]
    place[last] = value
    return document


@pytest.mark.parametrize(("path", "value", "sentence"), REFUSED, ids=lambda value: str(value)[:30])
def test_what_no_recipe_can_be_is_one_sentence_that_names_the_field(path, value, sentence):
    with pytest.raises(MulliganError) as refusal:
        Recipe.from_json(with_value(path, value))
    said = str(refusal.value)
    assert sentence in said
    assert "\n" not in said
    assert len(said) < 400


@pytest.mark.parametrize("document", [[1, 2], 7, None, "conv", True, [[]], 1.5])
def test_what_is_no_object_is_no_recipe(document):
    with pytest.raises(MulliganError, match="a recipe is a JSON object"):
        Recipe.from_json(document)


def test_whole_numbers_are_numbers_and_every_field_may_be_left_out():
    assert Recipe.from_json({}) == Recipe()
    read = Recipe.from_json({"hyperparameters": {"gamma": 2}, "schedules": {"gen_lr": {"kind": "linear", "final": 0}}})
    assert read.hyperparameters.gamma == 2.0
    assert read.schedules == (("gen_lr", Form("linear", final=0.0)),)


def test_what_to_json_wrote_is_read_back():
    recipe = Recipe(
        augmentation=("flip",),
        averages=(),
        schedules=(("disc_lr", Form("cosine", final=0.1)), ("gamma", Form("exponential", rate=1e-6))),
        strategy="fork",
        strategy_prior=(("as it is", 0.0),),
    )
    assert Recipe.from_json(json.loads(json.dumps(recipe.to_json()))) == recipe


def a_recipe(width, batch, gamma, schedules, matching):
    return Recipe(
        architecture=Architecture(gen_width=width, attention=width % 2 == 0),
        batch=batch,
        hyperparameters=Hyperparameters(gamma=gamma),
        schedules=schedules,
        matching=matching,
    )


COSINE, LINEAR = ("gen_lr", Form("cosine")), ("gamma", Form("linear", warmup=0.1))
RECIPES = st.builds(
    a_recipe,
    width=st.integers(31, 33),
    batch=st.integers(63, 65),
    gamma=st.sampled_from([0.0, 0.5, 1.0]),
    schedules=st.sampled_from([(), (COSINE,), (LINEAR,), (LINEAR, COSINE)]),
    matching=st.sampled_from([0.0, 1.0]),
)


ADDED = [("novel", float, 0.5)]  # by another version
NewerArchitecture = dataclasses.make_dataclass("NewerArchitecture", ADDED, bases=(Architecture,), frozen=True)
NewerForm = dataclasses.make_dataclass("NewerForm", ADDED, bases=(Form,), frozen=True)
NewerRecipe = dataclasses.make_dataclass(
    "NewerRecipe",
    [("architecture", Any, dataclasses.field(default_factory=NewerArchitecture)), ("novel", str, "none")],
    bases=(Recipe,),
    frozen=True,
)


@given(RECIPES)
def test_a_field_that_is_added_with_a_default_changes_no_name(recipe):
    newer = NewerRecipe(
        **{
            **vars(recipe),
            "architecture": NewerArchitecture(**vars(recipe.architecture)),
            "schedules": tuple((name, NewerForm(**vars(form))) for name, form in recipe.schedules),
        }
    )
    assert newer.hash() == recipe.hash()
    assert dataclasses.replace(newer, novel="some").hash() != recipe.hash()


@given(RECIPES, RECIPES)
def test_recipes_of_one_name_are_equal(one, other):
    assert (one.hash() == other.hash()) == (one == other)
    assert Recipe.from_json(one.differences()) == one


def test_a_recipe_made_in_python_is_checked_too():
    with pytest.raises(MulliganError, match="batch is 0"):
        _recipe(Recipe(batch=0))
    with pytest.raises(MulliganError, match="plain"):
        _recipe(Recipe(hyperparameters=Hyperparameters(gen_lr=object())))
    with pytest.raises(MulliganError, match="plain"):
        _recipe({"batch": {1, 2}})


ENCODINGS = ["utf-8", "utf-8-sig", "utf-16", "utf-32"]


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_files_of_powershell_and_editors_are_read(encoding, tmp_path):
    file = tmp_path / "mine.json"
    file.write_bytes(json.dumps(Recipe(batch=32).to_json(), indent=2).replace("\n", "\r\n").encode(encoding))
    assert _recipe(file) == Recipe(batch=32)


BROKEN = {
    "empty": b"",
    "brace": b"{",
    "binary": bytes(range(256)),
    "half of a UTF-16 letter": b"\xff\xfe{",
    "nested": b"[" * 200_000,
    "digits": b'{"batch": 1' + b"0" * 5000 + b"}",
    "two": b"{}{}",
    "surrogate": b'{"loss": "\\ud800"}',
    "nul": b'{"loss": "a\\u0000b"}',
    "escape": b'{"loss": "\\u001b[31m"}',
}


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN)
def test_a_file_that_holds_no_recipe_is_one_sentence(content, tmp_path):
    file = tmp_path / "mine.json"
    file.write_bytes(content)
    with pytest.raises(MulliganError) as refusal:
        _recipe(file)
    assert str(refusal.value).isprintable()


def test_places_that_are_no_file_are_one_sentence(tmp_path):
    for place in (tmp_path, tmp_path / "none.json", Path("/dev/zero"), "a\0b"):
        with pytest.raises(MulliganError):
            _recipe(place)


def test_every_table_that_a_recipe_names_is_there():
    """A name in an annotation is a string: this finds those that nothing is called any more."""
    hints = [*Recipe.__annotations__.values(), *Architecture.__annotations__.values(), *Form.__annotations__.values()]
    named = [eval(part.split("]")[0]) for hint in hints for part in hint.split("str, ")[1:] if part.startswith("Named")]
    assert len(named) >= 12
    assert all(isinstance(each, Named) and each.names() for each in named)


# --- fuzzing

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([0, 1, -1, 2**63, BIG, 16, 1e-3, 1e308, float("nan"), float("inf"), -0.0]),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(["mlp", "conv", "keras", "hinge", "r1r2", "ema", "flip", "gen_lr", "cosine", "fork", "as it is"]),
)
JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3)
)
PATHS = [
    *DEFAULT,
    *(f"architecture.{field.name}" for field in dataclasses.fields(Architecture)),
    *(f"hyperparameters.{name}" for name in HYPERPARAMETERS),
    *(f"schedules.{name}" for name in HYPERPARAMETERS[:2]),
    "strategy_prior.as it is",
    "evil",
]
CHANGES = st.dictionaries(st.sampled_from(PATHS), JSON, min_size=1, max_size=3)


def changed(changes):
    document = json.loads(json.dumps(DEFAULT | {"architecture": DEFAULT["architecture"] | SMALL}))
    for path, value in changes.items():
        *parents, last = path.split(".")
        place = document
        for part in parents:
            place = place.get(part)
            if not isinstance(place, dict):
                break
        else:
            place[last] = value
    return document


@given(JSON)
def test_any_json_is_a_recipe_or_a_sentence(document):
    _read_or_refused(document)


@settings(deadline=None)
@given(CHANGES)
def test_a_recipe_with_anything_anywhere_is_a_recipe_or_a_sentence(changes):
    recipe = _read_or_refused(changed(changes))
    if recipe is not None:
        assert Recipe.from_json(recipe.to_json()) == recipe
        assert isinstance(recipe.hash(), str)


@settings(deadline=None, max_examples=60)
@given(CHANGES)
def test_what_is_read_can_be_built_or_is_refused_for_these_images(changes):
    recipe = _read_or_refused(changed(changes))
    if recipe is None or recipe.architecture.family == "keras":
        return
    try:
        check(recipe.architecture, (8, 8, 1), 0)
        game = make_game(recipe, (8, 8, 1), 0, 1000.0)
    except MulliganError:
        return
    jax.eval_shape(lambda: start_state(game, recipe, (8, 8, 1), 0, 0))


def _read_or_refused(document):
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "recipe.json"
        file.write_text(json.dumps(document))
        try:
            recipe = _recipe(file)
        except MulliganError as error:
            refusal = str(error)
        else:
            refusal = None
    if refusal is not None:
        assert refusal.isprintable()
        return None
    assert isinstance(recipe, Recipe)
    assert isinstance(recipe.hyperparameters, Hyperparameters)
    return recipe
