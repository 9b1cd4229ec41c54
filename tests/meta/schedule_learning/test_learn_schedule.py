"""Learning a schedule: the outer loop, the small runs that it practises on, and what is shipped of it."""

import json
import math
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mulligan.errors import MulliganError
from mulligan.meta.schedule_learning import learn_schedule as outer
from mulligan.meta.schedule_learning.inner_problem import (
    LEAST,
    WORST,
    Pool,
    StartRange,
    clipped_log_kid,
    gan_problem,
    offsets,
    pixel_features,
    random_controller,
    task_pool,
    with_offsets,
)
from mulligan.meta.schedule_learning.learn_schedule import (
    ScheduleLearningConfig,
    TrustRegion,
    learn_schedule,
    save_controller,
    with_trust_region,
)
from mulligan.meta.schedule_learning.outer_gradients import InnerProblem, differentiated, whole
from mulligan.recipe import Architecture, Hyperparameters, Recipe
from mulligan.schedules.controller import FACTORS, FEATURES, Controller, exponential
from mulligan.schedules.learned import from_arrays
from mulligan.tasks.builtin import builtin_task

RECIPE = Recipe(
    architecture=Architecture(family="mlp", gen_width=8, disc_width=8, gen_depth=1, disc_depth=1, latent=4),
    hyperparameters=Hyperparameters(gen_lr=2e-3, disc_lr=2e-3),
    batch=16,
)
SHORT = StartRange(images=(128.0, 128.0))  # 8 steps in 2 stretches
START = random_controller(2, jax.random.key(0))


def bowl(target=(1.0, -2.0)):
    """A run of two stretches whose loss is a squared distance, with noise that the pairs share."""

    def unroll(parameters, state):
        key, noise = jax.random.split(state)
        return key, jnp.sum((parameters - jnp.array(target)) ** 2) + jax.random.normal(noise)

    return InnerProblem(lambda key: key, unroll, 2, 2)


@pytest.fixture(scope="module")
def game():
    return gan_problem(RECIPE, task_pool([builtin_task("digits")], pixel_features), pixel_features, START, SHORT)


def finished(game, parameters, key):
    """A whole run, and its losses."""
    return jax.lax.scan(lambda run, _: game.unroll(parameters, run), game.init(key), None, game.truncations)


def test_outer_descent_finds_the_bottom(tmp_path):
    told = []
    plan = ScheduleLearningConfig(150, rate=0.1, decay=0.0)
    found = learn_schedule({"bowl": whole(bowl(), 0.1, 4)}, 2, plan, tmp_path, told.append)
    np.testing.assert_allclose(found, [1.0, -2.0], atol=0.15)
    assert [event["update"] for event in told] == list(range(150))
    assert set(told[-1]["losses"]) == {"bowl"}


def test_learning_begins_with_the_parameters_that_it_is_given(tmp_path):
    games, begin = {"bowl": whole(bowl(), 0.1, 2)}, jnp.array([3.0, 4.0])
    found = learn_schedule(
        games, 2, ScheduleLearningConfig(1, rate=0.0, decay=0.0), tmp_path, lambda event: None, begin
    )
    np.testing.assert_allclose(found, begin, rtol=1e-6)


def test_an_interrupted_learning_goes_on(tmp_path):
    plan = ScheduleLearningConfig(30, rate=0.1)
    games = {"one": whole(bowl(), 0.1, 2), "other": whole(bowl((0.0, 0.0)), 0.1, 2)}
    straight = learn_schedule(games, 2, plan, tmp_path / "straight", lambda event: None)

    def interrupting(event):
        if event["update"] == 14:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        learn_schedule(games, 2, plan, tmp_path / "broken", interrupting)
    told = []
    again = learn_schedule(games, 2, plan, tmp_path / "broken", told.append)
    assert told[0]["update"] == 10
    np.testing.assert_array_equal(again, straight)


def test_a_gradient_that_is_no_number_moves_nothing():
    optimiser = outer.descent(ScheduleLearningConfig(10, decay=0.0))
    nothing = jnp.zeros(2)
    progress = outer.OuterProgress(nothing, optimiser.init(nothing), nothing, jnp.zeros((), jnp.int32))
    after = outer.moved(optimiser, progress, jnp.array([jnp.nan, 1.0]))
    np.testing.assert_array_equal(after.parameters, [0.0, 0.0])
    assert int(after.updates) == 1


def test_a_run_is_steered_and_judged(game):
    """A decay in the parameters is a decay of the run's rates; the pair of one key begins alike."""
    decay = offsets(START, exponential({"gen_lr": 3.0}, units=2))
    run, losses = jax.jit(lambda p, k: finished(game, p, k))(decay, jax.random.key(1))
    assert np.isfinite(losses).all()
    state = run.state.schedule
    elapsed = float((state.called_nimg) / state.horizon_nimg)
    assert float(state.logs[FACTORS.index("gen_lr")]) == pytest.approx(-3.0 * elapsed, rel=1e-4)
    assert int(run.state.nimg) == 128
    again, first = (jax.jit(game.init)(jax.random.key(1)) for _ in range(2))
    assert float(again.state.schedule.inside.initial.gen_lr) == float(first.state.schedule.inside.initial.gen_lr)


def test_runs_keep_their_types(game):
    """Or every estimate would be compiled twice."""
    begun = jax.eval_shape(game.init, jax.random.key(0))
    after, _ = jax.eval_shape(game.unroll, jnp.zeros(game.size), begun)
    kinds = [[(leaf.shape, leaf.dtype, leaf.weak_type) for leaf in jax.tree.leaves(run)] for run in (begun, after)]
    assert kinds[0] == kinds[1]


def test_rates_are_drawn_far_and_wide(game):
    keys = jax.random.split(jax.random.key(0), 200)
    rates = jax.jit(jax.vmap(lambda key: game.init(key).state.schedule.inside.initial.gen_lr))(keys)
    assert 5e-5 < float(rates.min()) < 4e-4
    assert 1e-2 < float(rates.max()) < 8e-2


def test_what_blew_up_has_the_worst_loss(game):
    run = jax.jit(game.init)(jax.random.key(0))
    broken = run._replace(state=run.state._replace(gen=jax.tree.map(lambda leaf: leaf * jnp.nan, run.state.gen)))
    _, loss = jax.jit(game.unroll)(jnp.zeros(game.size), broken._replace(stage=jnp.int32(1)))
    assert float(loss) == pytest.approx(math.log(WORST))


def test_log_kid_is_bounded():
    same = jnp.zeros((4, 2))
    assert float(clipped_log_kid(same, same)) == pytest.approx(math.log(LEAST))
    assert float(clipped_log_kid(same, jnp.full((4, 2), 1e6))) == pytest.approx(math.log(WORST))
    assert float(clipped_log_kid(same, jnp.full((4, 2), jnp.nan))) == pytest.approx(math.log(WORST))


def test_offsets_undo_steered():
    wanted = jax.tree.map(lambda leaf: leaf + 0.5, START)
    back = with_offsets(START, offsets(START, wanted))
    for ours, theirs in zip(back[:5], wanted[:5], strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_gradients_through_short_unrolls_of_a_gan_are_those_of_differences(game):
    """Through a few steps of both players, Adam, the moving average and the metric."""
    estimator = differentiated(game, 1, game.truncations)
    parameters = offsets(START, exponential({"gen_lr": 1.0}, units=2))
    memory = estimator.init(jax.random.key(0))
    key = jax.random.key(3)
    estimate, _ = jax.jit(estimator.estimate)(parameters, memory, key)
    [run_key] = jax.random.split(key, 1)
    total = jax.jit(lambda p: finished(game, p, run_key)[1].sum())
    direction = estimate.gradient / jnp.linalg.norm(estimate.gradient)
    reach = 0.02
    slope = (float(total(parameters + reach * direction)) - float(total(parameters - reach * direction))) / (2 * reach)
    assert slope == pytest.approx(float(jnp.linalg.norm(estimate.gradient)), rel=0.05)


@pytest.mark.slow
def test_the_region_is_what_runs_saw(game):
    region = outer.trust_region([game], jnp.zeros(game.size), 6, jax.random.key(0))
    width = np.asarray(region.high - region.low)
    assert (width > 0).all()
    place = FEATURES.index("progress")
    assert float(region.low[place]) < 0
    assert float(region.high[place]) > 0.8
    guarded = with_trust_region(START, region, {"gen_lr": 2.0})
    assert float(guarded.fallback[0]) == -2.0
    run, _ = jax.jit(lambda key: finished(game, jnp.zeros(game.size), key))(jax.random.key(0))
    assert int(run.state.schedule.guarded) == 0  # practice is not guarded


def test_a_region_of_failures_alone_is_refused(game):
    def unroll(parameters, run):
        run, loss = game.unroll(parameters, run)
        schedule = run.state.schedule._replace(least=jnp.full(len(FEATURES), jnp.nan))
        return run._replace(state=run.state._replace(schedule=schedule)), loss

    with pytest.raises(MulliganError, match="every run failed"):
        outer.trust_region([game._replace(unroll=unroll)], jnp.zeros(game.size), 2, jax.random.key(0))


def test_what_is_saved_is_read_again(tmp_path):
    region = TrustRegion(jnp.zeros(len(FEATURES)), jnp.ones(len(FEATURES)))
    controller = with_trust_region(
        with_offsets(START, jnp.full(sum(leaf.size for leaf in START[:5]), 0.1)), region, {"gamma": 1.0}
    )
    save_controller(tmp_path, "x", controller, {"name": "x"})
    card = json.loads((tmp_path / "schedule-x.json").read_text())
    from safetensors.numpy import load_file

    read = from_arrays(load_file(tmp_path / "schedule-x.safetensors"), card)
    assert isinstance(read, Controller)
    jax.tree.map(np.testing.assert_array_equal, read, controller)
    with pytest.raises(MulliganError, match="learn it again"):
        from_arrays({}, card | {"features": ["other"]})


def test_few_images_are_repeated_and_labels_left_out():
    found = task_pool([replace(builtin_task("digits"), name="a")] * 2, pixel_features)
    assert isinstance(found, Pool)
    assert found.images.shape == (2, 2048, 8, 8, 1)
    assert found.reals.shape == (2, 256, 64)
