"""Learned initial weights: what the inner game plays, what each outer algorithm follows, and what none may see."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from quick import quick_of

from mulligan.game.step import Data, Players, step
from mulligan.meta.initialisation.adaptation import adapt, fresh_initialisation, ftrl_optimiser, initial_inner_state
from mulligan.meta.initialisation.episodes import POSES, Episode, EpisodeSpec, apply_pose, sample_episode
from mulligan.meta.initialisation.init_file import inner_game
from mulligan.meta.initialisation.objectives import energy_objective, game_objective
from mulligan.meta.initialisation.outer import (
    MAX_GRADIENT,
    OUTER,
    MetaObjective,
    OuterConfig,
    OuterGradient,
    fomaml,
    initial_outer_state,
    maml,
    multitask,
    outer_adam,
    outer_step,
    outer_steps,
    over_tasks,
    reptile,
)
from mulligan.recipe import Architecture, Hyperparameters, Recipe

SMALL = Architecture(family="mlp", gen_width=6, disc_width=6, gen_depth=1, disc_depth=1, latent=3, activation="tanh")
ONES = Hyperparameters(gen_lr=1.0, disc_lr=1.0, gamma=0.5)
RECIPE = Recipe(SMALL, batch=4, averages=(), matching=1.0, hyperparameters=ONES)
BARE = dataclasses.replace(RECIPE, penalty="none", matching=0.0)  # where only the way to the verdict is asked about
SHAPE = (8, 8, 1)
KEY = jax.random.key(0)


def eyes(images):
    """Features that need no learning: the image, and its half of the resolution."""
    return images, images[:, ::2, ::2]


def lesson_of(recipe=RECIPE, updates=3, objective=None):
    inner = inner_game(recipe, SHAPE, updates)
    return MetaObjective(inner, objective or energy_objective(eyes, SMALL.latent, 5))


@pytest.fixture(scope="module")
def learned():
    return fresh_initialisation(SMALL, SHAPE, 0.05, KEY)


@pytest.fixture(scope="module")
def episode():
    images = np.random.default_rng(0).integers(0, 256, (10, *SHAPE), np.uint8)
    return Episode(jnp.asarray(images[:4]), jnp.asarray(images[4:]))


def follow(algorithm, lesson, *what):
    """The verdict of an outer algorithm, in one program: by single operations it would take half a minute."""
    return jax.jit(lambda *what: algorithm(lesson, *what))(*what)


@pytest.fixture(scope="module")
def first_order(learned, episode):
    """The verdict of first-order MAML after three updates."""
    return follow(fomaml, lesson_of(updates=3), learned, episode, KEY)


def close(a, b, rtol=1e-5, atol=1e-6):
    jax.tree.map(partial(np.testing.assert_allclose, rtol=rtol, atol=atol), a, b)


def largest(tree):
    return max(float(jnp.max(jnp.abs(leaf))) for leaf in jax.tree.leaves(tree))


# --- the inner game


def test_the_inner_game_is_ftrl_around_the_centre_in_the_learned_scale(learned, episode):
    """At constant rates that is gradient descent with a rate for each parameter, which optax plays, too."""
    recipe = dataclasses.replace(RECIPE, dynamics="simultaneous")
    inner = lesson_of(recipe, updates=4).inner
    factor = jax.tree.map(lambda leaf: jnp.linspace(-1.0, 1.0, leaf.size).reshape(leaf.shape), learned.log_scale)
    uneven = learned._replace(log_scale=jax.tree.map(jnp.add, learned.log_scale, factor))
    descent = dataclasses.replace(inner.game, optimiser=lambda rate, beta1, beta2: optax.sgd(1.0))
    state = initial_inner_state(inner._replace(game=descent), uneven, KEY)
    advance = jax.jit(lambda state: step(descent, state, Data(episode.support)))
    for _ in range(4):
        after, _ = advance(state)
        gen, disc = jax.tree.map(
            lambda was, now, log: was + jnp.exp(log) * (now - was),
            Players(state.gen, state.disc),
            Players(after.gen, after.disc),
            uneven.log_scale,
        )
        state = after._replace(gen=gen, disc=disc)
    close(adapt(inner, uneven, Data(episode.support), KEY), Players(state.gen, state.disc), rtol=1e-4)


@pytest.mark.parametrize(
    ("loss", "penalty", "dynamics"),
    quick_of(
        [("wasserstein", "gradient", "alternating"), ("hinge", "r1r2", "optimistic")],
        ("hinge", "r1r2", "optimistic"),
    ),
)
def test_the_inner_game_is_an_argument(learned, episode, loss, penalty, dynamics):
    recipe = dataclasses.replace(RECIPE, loss=loss, penalty=penalty, dynamics=dynamics, matching=0.0)
    verdict = follow(maml, lesson_of(recipe, updates=2), learned, episode, KEY)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(verdict))
    assert largest(verdict.gradient.centre.gen) > 0


# --- the outer algorithms


def test_reptile_with_one_update_goes_where_joint_training_goes(learned, episode):
    """One update of each task is one step of descent on all of them together (Nichol et al. 2018, section 5.1)."""
    lesson = lesson_of(dataclasses.replace(RECIPE, dynamics="simultaneous"), updates=1)
    same = Episode(episode.support, episode.support)  # both see the same images
    keys = jax.random.split(KEY, 300)
    one, joint = (
        jax.jit(
            lambda keys, algorithm=algorithm: jax.tree.map(
                lambda leaf: leaf.mean(0),
                jax.vmap(lambda key: algorithm(lesson, learned, same, key).gradient.centre)(keys),
            )
        )(keys)
        for algorithm in (reptile, multitask)
    )
    scaled = jax.tree.map(lambda g, log: jnp.exp(log) * g, joint, learned.log_scale)
    flat = [jnp.concatenate([leaf.ravel() for leaf in jax.tree.leaves(tree)]) for tree in (one, scaled)]
    cosine = flat[0] @ flat[1] / jnp.linalg.norm(flat[0]) / jnp.linalg.norm(flat[1])
    assert cosine > 0.98
    assert jnp.linalg.norm(flat[0]) / jnp.linalg.norm(flat[1]) == pytest.approx(1.0, abs=0.05)


@pytest.mark.slow
def test_maml_follows_the_gradient_through_the_game(learned, episode):
    """Central differences of the query's loss, along random directions, of everything that is learned."""
    with jax.enable_x64(True):
        exact = jax.tree.map(lambda leaf: leaf.astype(jnp.float64), learned)
        lesson = lesson_of(updates=3)

        verdict = jax.jit(lambda learned: maml(lesson, learned, episode, KEY))
        gradient = verdict(exact).gradient
        rng = np.random.default_rng(1)
        for _ in range(3):
            way = jax.tree.map(lambda leaf: jnp.asarray(rng.standard_normal(leaf.shape)), exact)
            ahead, behind = (
                verdict(jax.tree.map(lambda leaf, d, sign=sign: leaf + sign * 1e-5 * d, exact, way)).loss
                for sign in (1, -1)
            )
            slope = sum(jnp.sum(g * d) for g, d in zip(*map(jax.tree.leaves, (gradient, way)), strict=True))
            assert float(slope) == pytest.approx(float(ahead - behind) / 2e-5, rel=1e-4)


def test_first_order_is_maml_with_the_inner_gradients_held(learned, episode, first_order, monkeypatch):
    lesson = lesson_of(updates=3)

    def held(rate, beta1, beta2):
        inner = ftrl_optimiser(rate, beta1, beta2)

        def update(gradients, state, params):
            return inner.update(jax.lax.stop_gradient(gradients), state, jax.lax.stop_gradient(params))

        return optax.GradientTransformation(inner.init, update)

    # An update is `leader - params`: with the parameters held, too, what remains is the leader's own derivative.
    game = dataclasses.replace(lesson.inner.game, optimiser=held)
    stopped = lesson._replace(inner=lesson.inner._replace(game=game))
    monkeypatch.setattr("mulligan.meta.initialisation.adaptation.step", _replaying)
    other = follow(maml, stopped, learned, episode, KEY)
    close(first_order, other, rtol=1e-4, atol=1e-6)


def _replaying(game, state, data):
    """A step from parameters that are constants to ones that are the leader's."""
    held = state._replace(gen=jax.lax.stop_gradient(state.gen), disc=jax.lax.stop_gradient(state.disc))
    return step(game, held, data)


@pytest.mark.slow
def test_first_order_is_not_maml(learned, episode):
    first, exact = (follow(each, lesson_of(BARE, updates=3), learned, episode, KEY).gradient for each in (fomaml, maml))
    assert largest(jax.tree.map(jnp.subtract, first.centre, exact.centre)) > 1e-3 * largest(exact.centre)


@pytest.mark.slow
def test_each_player_is_started_for_its_own_part_in_the_game(learned, episode):
    """Against the game as the outer objective each player's gradient is that of its own loss."""
    inner = lesson_of(BARE, updates=2).inner
    objective = game_objective(inner.game, 6)
    found = follow(maml, MetaObjective(inner, objective), learned, episode, KEY).gradient

    def losses(learned):
        inner_key, outer_key = jax.random.split(KEY)
        adapted = adapt(inner, learned, Data(episode.support), inner_key)
        found = objective.losses(adapted, episode.query / 127.5 - 1, outer_key)
        return jnp.stack([found.gen, found.disc])

    @jax.jit
    def each(learned):
        _, back = jax.vjp(losses, learned)
        return [back(one)[0] for one in jnp.eye(2)]

    for part, own in zip(("gen", "disc"), each(learned), strict=True):
        close(getattr(found.centre, part), getattr(own.centre, part), rtol=1e-3)
        close(getattr(found.log_scale, part), getattr(own.log_scale, part), rtol=1e-3)


@pytest.mark.parametrize("name", quick_of(["maml", "reptile"], "reptile"))  # the most and the least to differentiate
def test_what_is_learned_from_a_batch_does_not_depend_on_how_tasks_are_run(learned, episode, name, monkeypatch):
    lesson = lesson_of(BARE, updates=2)
    keys = jax.random.split(KEY, 3)
    of_task = lambda key: OUTER[name](lesson, learned, episode, key)  # noqa: E731
    looped = jax.jit(over_tasks(of_task))(keys)
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    close(looped, jax.jit(over_tasks(of_task))(keys), rtol=1e-3, atol=1e-5)


# --- episodes


def test_an_episodes_sets_share_no_image_and_are_of_one_task():
    rows = np.arange(5 * 12).reshape(5, 12)
    pool = jnp.asarray(np.broadcast_to(rows[:, :, None, None, None], (5, 12, *SHAPE)).astype(np.uint8))
    for seed in range(20):
        dealt = sample_episode(EpisodeSpec(4, 8, True), pool, jax.random.key(seed))
        support, query = (np.asarray(part)[:, 0, 0, 0].tolist() for part in dealt)
        assert sorted(support + query) == rows[support[0] // 12].tolist()


@pytest.mark.parametrize("name", quick_of(["reptile", "fomaml", "maml"], "fomaml"))
def test_the_inner_game_never_sees_the_query(learned, episode, name):
    """Players adapted in an episode with another query are the same to the bit; only the verdict differs."""
    seen = []
    lesson = lesson_of(BARE, updates=2)

    def losses(players, query, key):
        jax.debug.callback(lambda leaves: seen.append([np.asarray(leaf) for leaf in leaves]), jax.tree.leaves(players))
        return lesson.objective.losses(players, query, key)

    watching = lesson._replace(objective=lesson.objective._replace(losses=losses))
    other = episode._replace(query=255 - episode.query)
    verdict = jax.jit(lambda episode: OUTER[name](watching, learned, episode, KEY))
    verdicts = [verdict(one) for one in (episode, other)]
    jax.effects_barrier()
    assert all((a == b).all() for a, b in zip(seen[0], seen[-1], strict=True))
    assert verdicts[0].loss != verdicts[1].loss


def test_poses_are_quarter_turns_of_images_and_of_their_mirror_images_and_all_differ():
    images = jnp.asarray(np.random.default_rng(0).integers(0, 256, (2, *SHAPE), np.uint8))
    poses = [apply_pose(images, pose) for pose in range(POSES)]
    for quarters in range(4):
        assert (poses[quarters] == jnp.rot90(images, quarters, axes=(1, 2))).all()
        assert (poses[4 + quarters] == jnp.rot90(images[:, :, ::-1], quarters, axes=(1, 2))).all()
    assert len({pose.tobytes() for pose in np.asarray(jnp.stack(poses))}) == 8


# --- learning


@pytest.mark.slow
def test_games_that_run_away_have_no_say_and_loud_ones_no_more_than_others(learned, monkeypatch):
    """Task 0 ends in no number, the gradient of task 1 is long, that of task 2 is short: steps of rate 1."""

    def told(lesson, learned, episode, key):
        which = episode.support[0, 0, 0, 0]
        number = jnp.select([which == 0, which == 1], [jnp.nan, 1e6], 1e-3)
        return OuterGradient(jax.tree.map(lambda leaf: jnp.full_like(leaf, number), learned), 1.0 * which + 0 * number)

    monkeypatch.setitem(OUTER, "told", told)
    pool = jnp.broadcast_to(jnp.arange(3, dtype=jnp.uint8)[:, None, None, None, None], (3, 4, *SHAPE))
    study = OuterConfig("told", 12, EpisodeSpec(2, 2, False), optax.sgd(1.0), 1.0)
    moved, lesson = [], lesson_of(BARE)
    program = jax.jit(lambda state, pool: outer_step(lesson, study, state, pool))
    for tasks in ([0, 1], [1, 2], [2, 2], [0, 0]):
        state, loss = program(initial_outer_state(study, learned, KEY), pool[np.array(tasks)])
        way = jax.tree.map(jnp.subtract, learned, state.learned)
        moved.append((float(optax.tree.norm(way)), float(loss)))
    assert moved[0] == (pytest.approx(MAX_GRADIENT, rel=1e-4), 1.0)  # the loss of the sound alone
    assert 0 < moved[1][0] < MAX_GRADIENT
    assert 1 < moved[1][1] < 2
    number = sum(leaf.size for leaf in jax.tree.leaves(learned))
    assert moved[2] == (pytest.approx(1e-3 * number**0.5, rel=1e-4), 2.0)
    assert np.isnan(moved[3]).all()


@pytest.mark.slow
def test_learning_lowers_the_query_loss_on_a_family_where_there_is_something_to_learn():
    """Tasks are flat images of one brightness each: a start that moves its bias far enough gets there at once."""
    levels = np.linspace(30, 220, 12).astype(np.uint8)
    rng = np.random.default_rng(0)
    pool = np.clip(levels[:, None, None, None, None] + rng.integers(-9, 10, (12, 10, *SHAPE)), 0, 255).astype(np.uint8)
    lesson = lesson_of(updates=3)
    study = OuterConfig("maml", 4, EpisodeSpec(4, 6, False), outer_adam(3e-3), 20.0)
    state = initial_outer_state(study, fresh_initialisation(SMALL, SHAPE, 0.05, KEY), KEY)
    program = jax.jit(lambda state, steps: outer_steps(lesson, study, state, jnp.asarray(pool), steps))
    state, first = program(state, 20)
    state, _ = program(state, 200)
    _, last = program(state, 20)
    assert last < 0.6 * first
