"""What runs, forks, trials and the Keras model train with: it counts, and alters nothing that it is given."""

import dataclasses

import numpy as np
from small_runs import RECIPE

from mulligan.tasks.task import Split
from mulligan.training.engine import make_game, start_state
from mulligan.training.feed import Feed
from mulligan.training.progress import Progress
from mulligan.training.session import advance, evaluate, open_session

SHAPE = (8, 8, 1)


def test_what_is_trained_counts_and_the_record_before_stays_as_it_was():
    recipe = dataclasses.replace(RECIPE, disc_steps=2)
    game, before = make_game(recipe, SHAPE, 0, 1e4), Progress(nimg=640, spent_nimg=1_280)
    state = start_state(game, recipe, SHAPE, 0, seed=0)
    images = np.random.default_rng(0).integers(0, 256, (60, *SHAPE)).astype(np.uint8)
    session = open_session(game, state, Feed(Split(images), False, 0, 0), make_evaluator=None)
    state, info, after = advance(session, state, 3, before)
    assert session.step_nimg == 2 * recipe.batch
    assert (after.nimg, after.spent_nimg) == (640 + 6 * recipe.batch, 1_280 + 6 * recipe.batch)
    assert int(state.nimg) == 6 * recipe.batch
    assert bool(info.finite)
    assert after.training_seconds > 0
    assert before == Progress(nimg=640, spent_nimg=1_280)

    judging = session._replace(evaluator=lambda gen: {"kid": gen})
    scores, evaluated = evaluate(judging, 0.5, dataclasses.replace(after, evaluation_seconds=1.0))
    assert scores == {"kid": 0.5}
    assert evaluated.evaluation_seconds >= 1.0
    assert evaluated.nimg == after.nimg
