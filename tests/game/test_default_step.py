"""The page that writes the default step out, against the engine's own step."""

import dataclasses
import re
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from mulligan.game.step import Data, step
from mulligan.recipe import Architecture, Recipe
from mulligan.training.engine import make_game, start_state

PAGE = Path(__file__).resolve().parents[2] / "docs" / "default-step.md"
SHAPE, STEPS = (8, 8, 1), 3
RECIPE = dataclasses.replace(Recipe(), architecture=Architecture(gen_width=4, disc_width=4))


def written():
    """What the code on the page defines."""
    [code] = re.findall(r"^```python\n((?:.*\n)*?)```$", PAGE.read_text(), re.MULTILINE)
    scope: dict = {"__name__": "page"}
    exec(code, scope)
    return scope


def test_the_page_is_short():
    [code] = re.findall(r"^```python\n((?:.*\n)*?)```$", PAGE.read_text(), re.MULTILINE)
    assert sum(bool(line.strip()) for line in code.splitlines()) <= 60


def test_the_step_on_the_page_is_the_engines():
    """Each step from the engine's state, for both are chaotic: of tiny gradients Adam takes the sign."""
    page = written()
    game = make_game(RECIPE, SHAPE, 0, 1e6)
    state = start_state(game, RECIPE, SHAPE, 0, seed=0)
    images = jnp.asarray(np.random.default_rng(0).integers(0, 256, (100, *SHAPE)), jnp.uint8)
    there, here = jax.jit(partial(step, game, data=Data(images))), jax.jit(page["step"])
    for _ in range(STEPS):
        before = page["State"](
            gen=state.gen,
            disc=state.disc,
            gen_moments=(state.gen_opt[0].mu, state.gen_opt[0].nu),
            disc_moments=(state.disc_opt[0].mu, state.disc_opt[0].nu),
            average=state.averages["ema"].params,
            nimg=state.nimg,
            key=state.key,
        )
        state, page_state = there(state)[0], here(before, images)
        for player in ("gen", "disc"):
            adam = getattr(state, f"{player}_opt")[0]
            gradient, _ = getattr(page_state, f"{player}_moments")  # beta1 is 0
            largest = max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(adam.mu))
            for ours, mine, w, v in zip(
                *map(jax.tree.leaves, (adam.mu, gradient, getattr(state, player), getattr(page_state, player))),
                strict=True,
            ):
                np.testing.assert_allclose(mine, ours, rtol=1e-3, atol=1e-4 * largest)
                certain = np.abs(ours) > 1e-3 * largest
                np.testing.assert_allclose(np.where(certain, v, 0), np.where(certain, w, 0), rtol=1e-4, atol=1e-5)
        assert int(page_state.nimg) == int(state.nimg)
        assert (jax.random.key_data(page_state.key) == jax.random.key_data(state.key)).all()
    # From the same iterates the averages agree; here they carry what Adam made of rounding, at most a rate each.
    for mine, ours in zip(*map(jax.tree.leaves, (page_state.average, state.averages["ema"].params)), strict=True):
        np.testing.assert_allclose(mine, ours, atol=3e-3)
        assert np.abs(mine - ours).mean() < 1e-4
