"""How hyperparameters change with images seen: closed forms."""

from mulligan.schedules.closed import (
    FORMS,
    Curve,
    Forms,
    ScheduleState,
    constant,
    cosine,
    exponential,
    factors,
    linear,
    schedule,
    warm,
)

__all__ = [
    "FORMS",
    "Curve",
    "Forms",
    "ScheduleState",
    "constant",
    "cosine",
    "exponential",
    "factors",
    "linear",
    "schedule",
    "warm",
]
