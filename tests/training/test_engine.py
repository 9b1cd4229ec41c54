"""From a recipe to a game: choices that contradict each other, and what the present dynamics pay for the new ones."""

import dataclasses

import pytest

from mulligan.errors import MulliganError
from mulligan.game.dynamics import DYNAMICS
from mulligan.recipe import Architecture, Recipe
from mulligan.training.engine import make_game, start_state

SMALL = Recipe(architecture=Architecture(family="mlp", gen_width=8, disc_width=8, gen_depth=1, disc_depth=1, latent=4))


def made(**changes):
    return make_game(dataclasses.replace(SMALL, **changes), (8, 8, 1), 0, 1e4)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        *[
            ({"dynamics": name, "disc_steps": 2}, f"{name} dynamics move both players once a step: set disc_steps to 1")
            for name in DYNAMICS
            if DYNAMICS[name].simultaneous
        ],
        ({"dynamics": "polka"}, "'polka' is not a dynamics; choose alternating, simultaneous, extragradient"),
        ({"opponents": -1}, "cannot have -1 past opponents: give 0 for none, or a positive number"),
        ({"learned_schedule": "mine"}, "no learned schedule is called 'mine'"),
        ({"loss": "wasserstein", "gap_aware": True}, "ideal, which is 0 for this loss: set gap_aware to false"),
    ],
)
def test_contradictions_are_told(changes, message):
    with pytest.raises(MulliganError, match=message):
        made(**changes)


def test_what_alternates_may_take_several_discriminator_steps():
    assert [name for name in DYNAMICS if not DYNAMICS[name].simultaneous] == [
        "alternating",
        "lookahead",
        "nested_lookahead",
    ]
    assert made(dynamics="lookahead", disc_steps=3).disc_steps == 3


def test_a_plain_run_carries_nothing_for_opponents_or_dynamics():
    state = start_state(made(), SMALL, (8, 8, 1), 0, seed=0)
    assert (state.dynamics, state.opponents) == ((), ())
