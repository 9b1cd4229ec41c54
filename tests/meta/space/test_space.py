"""The space of recipes: what is drawn can be trained, changes are what they say, old recipes stay what they were."""

import json
from dataclasses import replace

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mulligan.game.dynamics import DYNAMICS
from mulligan.meta.space.default import default_recipe, textbook_recipe
from mulligan.meta.space.domains import Names, Range, Steps
from mulligan.meta.space.space import CHOICES, VERSION, Choice, Space, is_
from mulligan.networks.architecture import build, check
from mulligan.recipe import Architecture, Form, Hyperparameters, Recipe
from mulligan.training.budget import Budget
from mulligan.training.engine import make_game

SPACE = Space()
SEEDS = st.integers(0, 2**32 - 1)


def sampled(seed: int) -> Recipe:
    return SPACE.sample(np.random.default_rng(seed))


def different(one: Recipe, other: Recipe, space: Space = SPACE) -> list[str]:
    """Choices that both use, with another value each."""
    ours, theirs = space.values(one), space.values(other)
    return [name for name in ours.keys() & theirs.keys() if ours[name] != theirs[name]]


@pytest.mark.slow
@settings(max_examples=15)
@given(SEEDS)
def test_every_sample_is_valid_and_survives_json(seed):
    recipe = sampled(seed)
    check(recipe.architecture, (28, 28, 1), 0)
    make_game(recipe, (28, 28, 1), 0, 1e4)
    assert Recipe.from_json(json.loads(json.dumps(recipe.to_json()))) == recipe
    assert SPACE.recipe(SPACE.values(recipe)) == recipe


@settings(max_examples=8)  # every family and form is built in test_layers.py
@given(SEEDS)
@pytest.mark.slow
def test_every_sample_builds(seed):
    architecture = sampled(seed).architecture
    networks = jax.eval_shape(lambda key: build(architecture, (9, 12, 3), 0, key), jax.random.key(0))
    z = jax.ShapeDtypeStruct((2, architecture.latent), np.float32)
    fake = jax.eval_shape(lambda gen, z: gen(z), networks.gen, z)
    assert fake.shape == (2, 9, 12, 3)
    assert jax.eval_shape(lambda disc, x: disc(x), networks.disc, fake).shape == (2,)


@settings(max_examples=25)
@given(SEEDS)
def test_samples_stay_inside_their_domains(seed):
    values = SPACE.values(sampled(seed))
    for choice in CHOICES:
        if choice.name in values:
            place = choice.domain.encode(values[choice.name])
            assert min(place) >= -1e-2
            assert max(place) <= 1 + 1e-2


def test_samples_reach_every_option():
    seen: dict[str, set] = {}
    for seed in range(300):
        for name, value in SPACE.values(sampled(seed)).items():
            seen.setdefault(name, set()).add(value)
    for choice in CHOICES:
        if not isinstance(choice.domain, Range):
            assert seen[choice.name] == set(choice.domain.options), choice.name
    assert seen["dynamics"] == set(DYNAMICS) - {"consensus", "nested_lookahead"}  # measured to hurt


@settings(max_examples=25)
@given(SEEDS)
def test_a_mutation_changes_exactly_one_active_choice(seed):
    rng = np.random.default_rng(seed)
    recipe = SPACE.sample(rng)
    child = SPACE.mutate(recipe, rng)
    assert len(different(recipe, child)) == 1
    newly = SPACE.values(child).keys() - SPACE.values(recipe).keys()
    defaults = {choice.name: choice.default for choice in CHOICES}
    assert all(SPACE.values(child)[name] == defaults[name] for name in newly)


@settings(max_examples=4)  # of some 70 neighbours each
@given(SEEDS)
def test_neighbours_are_one_choice_away_and_all_different(seed):
    recipe = sampled(seed)
    found = list(SPACE.neighbours(recipe))
    assert all(len(different(recipe, near)) == 1 for near in found)
    assert len({near.hash() for near in found} | {recipe.hash()}) == len(found) + 1
    changed = {name for near in found for name in different(recipe, near)}
    assert changed == SPACE.values(recipe).keys()


@settings(max_examples=25)
@given(SEEDS)
def test_a_child_takes_each_choice_from_a_parent(seed):
    rng = np.random.default_rng(seed)
    one, other = SPACE.sample(rng), SPACE.sample(rng)
    parents = [SPACE.values(one), SPACE.values(other)]
    for name, value in SPACE.values(SPACE.cross(one, other, rng)).items():
        offered = [values[name] for values in parents if name in values]
        default = next(choice.default for choice in CHOICES if choice.name == name)
        assert value in (offered or [default])


def test_crossing_a_recipe_with_itself_changes_nothing():
    recipe = sampled(3)
    assert SPACE.cross(recipe, recipe, np.random.default_rng(0)) == recipe


@settings(max_examples=25)
@given(SEEDS, SEEDS)
def test_different_recipes_have_different_codes(seed, other_seed):
    rng = np.random.default_rng(seed)
    recipe, other = SPACE.sample(rng), sampled(other_seed)
    for near in (other, SPACE.mutate(recipe, rng)):
        assert (near == recipe) == bool((SPACE.encode(near) == SPACE.encode(recipe)).all())


@settings(max_examples=25)
@given(SEEDS)
def test_codes_are_finite_named_and_zero_where_inactive(seed):
    recipe = sampled(seed)
    code, values = SPACE.encode(recipe), SPACE.values(recipe)
    assert code.dtype == np.float32
    assert np.isfinite(code).all()
    assert len(code) == len(SPACE.features) == len(set(SPACE.features))
    by_name = dict(zip(SPACE.features, code.tolist(), strict=True))
    for choice in CHOICES:
        assert by_name[f"{choice.name}?"] == float(choice.name in values)
        if choice.name not in values:
            assert all(by_name[f"{choice.name}{label}"] == 0 for label in choice.domain.labels)


def test_defaults_are_those_of_the_recipe():
    """What a recipe does not say is what it was before the choice existed."""
    values = SPACE.values(Recipe())
    for choice in CHOICES:
        if choice.name in values:
            assert values[choice.name] == choice.default, choice.name


@pytest.mark.parametrize(
    "recipe",
    [
        Recipe(),
        textbook_recipe(),
        default_recipe((28, 28, 1), 100, Budget(1000, None)),
        Recipe(Architecture(gen_width=20, disc_width=7), schedules=(("gen_lr", Form("linear", final=0.3)),)),
        Recipe(schedules=(("gamma", Form("cosine", final=0.1)), ("gen_lr", Form("exponential", rate=1e-5)))),
        Recipe(hyperparameters=Hyperparameters(gamma=0.0, gen_lr=1.0)),
    ],
)
def test_recipes_from_elsewhere_are_kept_encoded_and_mutated(recipe):
    assert SPACE.recipe(SPACE.values(recipe), like=recipe) == recipe
    assert np.isfinite(SPACE.encode(recipe)).all()
    rng = np.random.default_rng(0)
    for _ in range(20):
        child = SPACE.mutate(recipe, rng)
        assert len(different(recipe, child)) == 1
        check(child.architecture, (28, 28, 1), 0)


def test_a_new_choice_leaves_old_recipes_what_they_were():
    added = (
        Choice("gamma_form", "schedules.gamma.kind", Names(("constant", "cosine")), "constant"),
        Choice("gamma_final", "schedules.gamma.final", Range(0.01, 1.0, "log"), 0.1, is_("gamma_form", "cosine")),
        Choice("warmup", "schedules.gen_lr.warmup_nimg", Steps((0.0, 1e3, 1e4)), 0.0),
    )
    newer = Space((*CHOICES, *added), VERSION + 1)
    for seed in range(50):
        old = sampled(seed)
        assert newer.recipe(newer.values(old), like=old).hash() == old.hash()
        assert newer.values(old) == SPACE.values(old) | {"gamma_form": "constant", "warmup": 0.0}
        code = dict(zip(newer.features, newer.encode(old), strict=True))
        assert [code[name] for name in SPACE.features] == SPACE.encode(old).tolist()
    rng = np.random.default_rng(0)
    drawn = [newer.sample(rng) for _ in range(50)]
    assert {"cosine", None} == {dict(recipe.schedules).get("gamma", Form("")).kind or None for recipe in drawn}
    # What the old space does not know, it leaves alone.
    assert all(SPACE.recipe(SPACE.values(recipe), like=recipe) == recipe for recipe in drawn)


def test_a_learned_schedule_is_part_of_a_recipes_name():
    learned = replace(Recipe(), learned_schedule="s1")
    assert learned.hash() != Recipe().hash()
    assert Recipe.from_json(learned.to_json()) == learned


def test_every_choice_leads_somewhere_in_the_recipe():
    changed = Recipe(architecture=replace(Recipe().architecture, latent=32))
    assert different(Recipe(), changed) == ["latent"]
    names = [choice.name for choice in CHOICES]
    assert len(names) == len(set(names))
