"""How the two players move: each dynamics turns a state and a batch into the next state.

With `F(w)` the gradients of both players' losses at `w`, each with respect to its own parameters, and `eta F` short for
what the optimisers make of them, the formulas below hold word for word under plain gradient descent.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mulligan.game.lookahead import lookahead
from mulligan.game.step import (
    Batch,
    Game,
    GanState,
    Players,
    Seen,
    Turn,
    alternating,
    disc_gradient,
    gen_gradient,
    gen_gradient_from,
    generate,
    move_disc,
    move_gen,
    step_info,
)
from mulligan.recipe import Hyperparameters
from mulligan.types import Dynamics, Pytree, StepInfo


def both_gradients(game: Game, state: GanState, batch: Batch) -> tuple[Players, Float[Array, ""], Seen]:
    """`F(w)`: both players' gradients, each against the other as it is.

    From one look at the fakes, where the penalty has taken the slopes there that the generator wants to know.
    """
    labels = None if batch.labels is None else batch.labels[0]
    turn = Turn(batch.real[0], labels, batch.hyperparameters, batch.key, 0)
    fakes = generate(game, state.gen, turn)
    disc, seen = disc_gradient(game, state, fakes.images, turn)
    if seen.fake_slopes is None or game.opponents or game.matching:
        gen, loss = gen_gradient(game, state, fakes, turn)
    else:
        gen, loss = gen_gradient_from(game, fakes, seen)
    return Players(gen, disc), loss, seen


def simultaneous(game: Game, state: GanState, batch: Batch) -> tuple[GanState, StepInfo]:
    """Both players move at once, each against the other as it was: `w - eta F(w)`."""
    gradients, loss, seen = both_gradients(game, state, batch)
    return _moved(game, state, gradients, batch.hyperparameters), step_info(game, state, gradients, loss, seen)


def extragradient(game: Game, state: GanState, batch: Batch) -> tuple[GanState, StepInfo]:
    """Looks one step ahead and moves by what it finds there: `w - eta F(w - eta F(w))`; twice the work.

    Both gradients are taken on the same images and latents: with independent ones extragradient can diverge where it
    should not (Mishchenko et al. 2020, arXiv 1905.11373). Both update the optimisers' moments (Korpelevich 1976; Gidel
    et al. 2019, arXiv 1802.10551, algorithm 4).
    """
    gradients, _, _ = both_gradients(game, state, batch)
    state, _, info = _corrected(game, state, gradients, batch)
    return state, info


def past_extragradient(game: Game, state: GanState, batch: Batch) -> tuple[GanState, StepInfo]:
    """Extragradient that looks ahead along the gradients found ahead last time, so that a step needs only one.

    `v = w - eta F(v_before)`, then `w - eta F(v)` (Popov 1980; Gidel et al. 2019, equation 14, "from the past").
    """
    state, gradients, info = _corrected(game, state, state.dynamics, batch)
    return state._replace(dynamics=gradients), info


def optimistic(game: Game, state: GanState, batch: Batch) -> tuple[GanState, StepInfo]:
    """Takes the last move as a hint of the next: `w - 2 eta F(w) + eta F(w_before)`.

    With Adam the optimistic Adam of Daskalakis et al. 2018, arXiv 1711.00141, algorithm 1. Where rates change, the past
    move counts at the rate it was made with, so that hints cancel and only the last remains.
    """
    gradients, loss, seen = both_gradients(game, state, batch)
    moved = _moved(game, state, gradients, batch.hyperparameters)
    after, at = Players(moved.gen, moved.disc), Players(state.gen, state.disc)
    moves = jax.tree.map(jnp.subtract, after, at)
    gen, disc = jax.tree.map(lambda w, now, before: w + (now - before), after, moves, state.dynamics)
    return moved._replace(gen=gen, disc=disc, dynamics=moves), step_info(game, state, gradients, loss, seen)


def consensus(weight: float = 10.0) -> Dynamics:
    """Both players also descend `weight / 2 |F(w)|^2`, so that they agree to end the game: `w - eta (F + weight J'F)`.

    `J` is the Jacobian of `F`, so a step differentiates twice. On a batch the squared norm is larger than that of the
    mean gradient, by the variance (Mescheder et al. 2017, arXiv 1705.10461, algorithm 2).

    Args:
      weight: >= 0; the paper's gamma.
    """

    def step(game: Game, state: GanState, batch: Batch) -> tuple[GanState, StepInfo]:
        def field(players: Players) -> tuple[Players, tuple[Any, Seen]]:
            at = state._replace(gen=players.gen, disc=players.disc)
            gradients, loss, seen = both_gradients(game, at, batch)
            return gradients, (loss, seen)

        gradients, pullback, (loss, seen) = jax.vjp(field, Players(state.gen, state.disc), has_aux=True)
        (agreement,) = pullback(gradients)
        total = jax.tree.map(lambda own, common: own + weight * common, gradients, agreement)
        return _moved(game, state, total, batch.hyperparameters), step_info(game, state, gradients, loss, seen)

    return Dynamics(_nothing, step, simultaneous=True, gradients=3)  # a backward pass through one costs two more


def _nothing(gen: Pytree, disc: Pytree) -> tuple[()]:
    """The memory of dynamics that look at the present alone."""
    del gen, disc
    return ()


def _zeros(gen: Pytree, disc: Pytree) -> Players:
    return jax.tree.map(jnp.zeros_like, Players(gen, disc))


_ALTERNATING = Dynamics(_nothing, alternating, simultaneous=False)

# Implemented, tested and never found to help: no search proposes them.
RESEARCH = ("consensus", "nested_lookahead")
DYNAMICS = {
    "alternating": _ALTERNATING,
    "simultaneous": Dynamics(_nothing, simultaneous, simultaneous=True),
    "extragradient": Dynamics(_nothing, extragradient, simultaneous=True, gradients=2),
    "past_extragradient": Dynamics(_zeros, past_extragradient, simultaneous=True),
    "optimistic": Dynamics(_zeros, optimistic, simultaneous=True),
    "consensus": consensus(),
    "lookahead": lookahead(_ALTERNATING, every=5),
    "nested_lookahead": lookahead(lookahead(_ALTERNATING, every=5), every=1000),
}


def _moved(game: Game, state: GanState, gradients: Players, hyperparameters: Hyperparameters) -> GanState:
    """Both players moved by their optimisers."""
    state = move_disc(game, state, gradients.disc, hyperparameters)
    return move_gen(game, state, gradients.gen, hyperparameters)


def _corrected(game: Game, state: GanState, ahead: Players, batch: Batch) -> tuple[GanState, Players, StepInfo]:
    """Moves by the gradients at the point that the gradients `ahead` lead to; these gradients as well."""
    there = _moved(game, state, ahead, batch.hyperparameters)
    gradients, loss, seen = both_gradients(game, there, batch)
    # The players go back to where they stood; the optimisers keep what they saw ahead.
    back = there._replace(gen=state.gen, disc=state.disc)
    moved = _moved(game, back, gradients, batch.hyperparameters)
    return moved, gradients, step_info(game, state, gradients, loss, seen)
