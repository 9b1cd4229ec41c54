"""Follow-the-regularised-leader: over arms (`simplex`) and over parameters (`parameters`)."""

from mulligan.online.parameters import adaptive_ftrl, ftrl, ftrl_proximal, optimistic_ftrl
from mulligan.online.quadratic import approach_quadratic, minimise_quadratic
from mulligan.online.simplex import (
    SimplexState,
    adahedge,
    adaptive,
    decaying,
    entropic,
    fixed,
    importance_weighted,
    join,
    leave,
    player,
    tsallis,
    wake,
)

__all__ = [
    "SimplexState",
    "adahedge",
    "adaptive",
    "adaptive_ftrl",
    "approach_quadratic",
    "decaying",
    "entropic",
    "fixed",
    "ftrl",
    "ftrl_proximal",
    "importance_weighted",
    "join",
    "leave",
    "minimise_quadratic",
    "optimistic_ftrl",
    "player",
    "tsallis",
    "wake",
]
