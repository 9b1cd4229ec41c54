"""Follow-the-regularised-leader: over arms (`simplex`) and over parameters (`parameters`)."""

from mulligan.online.quadratic import minimise_quadratic
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
    "decaying",
    "entropic",
    "fixed",
    "importance_weighted",
    "join",
    "leave",
    "minimise_quadratic",
    "player",
    "tsallis",
    "wake",
]
