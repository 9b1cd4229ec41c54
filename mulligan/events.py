"""Events: one class a kind of thing that a run tells; as JSON the lines of `events.jsonl` and what listeners receive.

The tables in docs/run-folder.md are made from the docstrings here (`tools/event_tables.py`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar, TypedDict, TypeVar, get_args, get_origin, get_type_hints, is_typeddict

Number = float | None  # None where it is not finite: JSON has no such numbers
LARGEST = 1e100  # no figure that was measured is larger, and squares of it are still finite
E = TypeVar("E", bound="Event")
R = TypeVar("R", bound="RunEvent")
Listener = Callable[[dict[str, Any]], None]  # receives `Event.to_json()`


class CopyFigures(TypedDict):
    """How near samples lie to training images; see `mulligan.metrics.memorisation`."""

    ratio: Number
    share: Number


class Gain(TypedDict):
    """Of what selects, the value of the generator that is kept less that of another."""

    value: Number
    deviation: Number


class Interval(TypedDict):
    """A forecast with the ends of an 80% interval."""

    median: Number
    low: Number
    high: Number


class ClassScores(TypedDict):
    """Figures of one class."""

    name: str
    n_real: Number
    kid: Number
    kid_low: Number
    kid_high: Number
    precision: Number
    recall: Number
    coverage: Number


class ClassShare(TypedDict):
    """How one class is drawn, and how much it is shown."""

    name: str
    kid: Number
    share: Number


class TotalCost(TypedDict):
    """All that a run took, with what was tried before it."""

    seconds: Number
    training_seconds: Number
    evaluation_seconds: Number
    images: Number
    flops: Number


@dataclass(frozen=True, kw_only=True)
class Event:
    """Anything that is told while mulligan works."""

    kind: ClassVar[str]

    def to_json(self) -> dict[str, Any]:
        """`kind`, and every field but those that stand at their default."""
        fields = ((field, getattr(self, field.name)) for field in dataclasses.fields(self))
        return {"kind": self.kind} | {field.name: value for field, value in fields if value != field.default}

    @classmethod
    def read(cls: type[E], document: Mapping[str, Any]) -> E:
        """The event in a JSON object, whatever else it holds: a value that is missing or of another type is empty.

        Example:
          >>> event = Stopped.read({"kind": "stop", "nimg": 64, "reason": 7, "code": None})
          >>> event.nimg, event.reason, event.code
          (64, '7', '')
        """
        return cls(**{name: _as(hint, document.get(name)) for name, hint in _hints(cls).items()})


@dataclass(frozen=True, kw_only=True)
class RunEvent(Event):
    """Something that happened to a run.

    Attributes:
      nimg: images seen.
      seconds: spent in this run so far, over all its sessions.
      run: the run's folder; only told to listeners.
      arm: number of the recipe in a race that it happened to, from 0; only told to listeners.
      small: whether it happened on the small images that a run which grows begins on; only told to listeners.
      share: of the budget that is spent, from 0 to 1; only told to listeners.
      abandoned: whether the run later went back to before this event; found by readers of the whole file.
    """

    nimg: float = 0.0
    seconds: float = 0.0
    run: str | None = None
    arm: int | None = None
    small: bool = False
    share: float | None = None
    abandoned: bool = False

    def to_json(self) -> dict[str, Any]:
        return {"kind": self.kind, "nimg": self.nimg, "seconds": self.seconds} | super().to_json()


@dataclass(frozen=True, kw_only=True)
class UnknownEvent(RunEvent):
    """An event of another version of mulligan."""

    kind = "unknown"
    name: str
    values: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class DataRead(RunEvent):
    """The images were read; nothing is trained yet.

    Attributes:
      shape: height, width, channels.
      counts: images in each split.
      classes: name to the counts in each split; null without classes.
      notes: sentences on how the images were read.
    """

    kind = "data"
    name: str
    shape: Sequence[int]
    counts: Mapping[str, int]
    classes: Mapping[str, Mapping[str, int]] | None
    notes: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class TrainingStarted(RunEvent):
    """Everything is compiled, and training begins.

    Attributes:
      flops_per_image: as the compiler counts.
    """

    kind = "start"
    recipe_hash: str
    gen_parameters: Number
    disc_parameters: Number
    flops_per_image: Number
    compile_seconds: Number


@dataclass(frozen=True, kw_only=True)
class Noted(RunEvent):
    """Something was noticed: in models of your own, of few images, of the weights that training starts from."""

    kind = "note"
    text: str


@dataclass(frozen=True, kw_only=True)
class ChunkTrained(RunEvent):
    """A chunk of steps was trained; all figures but the first are means over it.

    Attributes:
      disc_loss: without the penalty.
      accuracy: share of pairs in which the real image has the higher logit.
      hyperparameters: name to value at the end of the chunk.
    """

    kind = "chunk"
    images_per_second: Number
    gen_loss: Number
    disc_loss: Number
    real_logit: Number
    fake_logit: Number
    penalty: Number
    accuracy: Number
    hyperparameters: Mapping[str, Number]


@dataclass(frozen=True, kw_only=True)
class SamplesDrawn(RunEvent):
    """A grid of samples was written.

    Attributes:
      path: a PNG, relative to the run's folder.
    """

    kind = "samples"
    path: str
    rows: int
    columns: int


@dataclass(frozen=True, kw_only=True)
class Scores(RunEvent):
    """Figures of a generator against real images.

    Attributes:
      split: the real images: `validation` or `test`; `held-out` where one part judges instead of both, `train` where
        nothing was kept back.
      average: `last`, `ema`, `best`, `power_15`, `power_05 at 64000`, `soup`, `mixture`, `ema, weighted latents`, ...
      kid_low, kid_high: 95% bootstrap interval.
      energy: energy distance in the embedding's features beside the pixels at 8x8.
      energy_low, energy_high: 95% bootstrap interval.
      diversity: mean pairwise distance of samples over that of real images.
      memorisation: `{"ratio", "share"}`; while training only with at most 200 training images.
    """

    split: str
    average: str
    embedding: str
    n_real: Number
    n_fake: Number
    kid: Number
    kid_low: Number
    kid_high: Number
    energy: Number = None
    energy_low: Number = None
    energy_high: Number = None
    frechet: Number
    diversity: Number
    memorisation: CopyFigures | None = None


@dataclass(frozen=True, kw_only=True)
class Evaluated(Scores):
    """An average was scored while training.

    Attributes:
      best: whether it is the best so far, by the figure that selects.
      spent: seconds that this evaluation took.
    """

    kind = "evaluation"
    best: bool
    spent: Number


@dataclass(frozen=True, kw_only=True)
class RolledBack(RunEvent):
    """The guard went back to an earlier checkpoint.

    Attributes:
      reason: what was wrong.
      action: what it changed.
      attempt: how many times in a row this is.
    """

    kind = "guard"
    reason: str
    action: str
    back_to_nimg: Number
    attempt: Number


@dataclass(frozen=True, kw_only=True)
class StrategyChosen(RunEvent):
    """Another strategy is followed from here on.

    Attributes:
      mode: `fork` or `switch`.
      strategy: null when a fork saw all fail.
      weights: name to weight.
      losses: of a fork, for each rung: name to loss.
      loss: of a switch: that of the strategy that ends here.
    """

    kind = "strategy"
    mode: str
    strategy: str | None
    weights: Mapping[str, Number]
    losses: Sequence[Mapping[str, Number]] | None = None
    loss: Number = None


@dataclass(frozen=True, kw_only=True)
class ClassesBalanced(RunEvent):
    """After an evaluation, where the recipe is `balanced`: classes that are drawn worse are shown oftener.

    Attributes:
      classes: each `{"name", "kid", "share"}`: KID against training images, or null where they are few, and the share
        of what is shown from here on.
    """

    kind = "balance"
    classes: Sequence[ClassShare]


@dataclass(frozen=True, kw_only=True)
class CheckpointWritten(RunEvent):
    """A checkpoint was written.

    Attributes:
      path: relative to the run's folder.
    """

    kind = "checkpoint"
    path: str


@dataclass(frozen=True, kw_only=True)
class Resumed(RunEvent):
    """A run goes on from its newest whole checkpoint.

    Attributes:
      reason: what was lost, or null.
    """

    kind = "resume"
    from_nimg: Number
    reason: str | None


@dataclass(frozen=True, kw_only=True)
class Stopped(RunEvent):
    """Training ended, or was interrupted.

    Attributes:
      code: `budget`, `converged`, `memorised`, `guard` or `interrupted`.
    """

    kind = "stop"
    reason: str
    code: str


@dataclass(frozen=True, kw_only=True)
class AverageScored(Scores):
    """A candidate for the generator to keep was scored, on the first half of the validation images.

    Attributes:
      at_nimg: images seen when it stood so.
      spent: seconds that it took.
      members: of a mixture: name to weight.
      loss, loss_before: of a distilled mixture: mean squared difference of the pixels on held-out latents.
    """

    kind = "average"
    at_nimg: Number
    spent: Number
    members: Mapping[str, Number] | None = None
    loss: Number = None
    loss_before: Number = None


@dataclass(frozen=True, kw_only=True)
class GeneratorChosen(RunEvent):
    """One candidate is kept.

    Attributes:
      average: that candidate's; `best` for that of the run's evaluations.
      figure: by which it is chosen, a key of the candidates.
      gains: over the plain average and over `last`: `{"value", "deviation"}`, the kept one's figure less theirs, on the
        second half of the validation images.
      skipped: candidates that the budget left out.
      reason: null, or why nothing was compared or distilled.
    """

    kind = "choice"
    average: str
    at_nimg: Number
    figure: str
    gains: Mapping[str, Gain]
    skipped: Sequence[str]
    reason: str | None
    spent: Number


@dataclass(frozen=True, kw_only=True)
class FinalScored(Scores):
    """The generator that is kept was scored once, on the test split.

    Attributes:
      classes: of a labelled run, each class with at least 8 real images: `{"name", "n_real", "kid", "kid_low",
        "kid_high", "precision", "recall", "coverage"}`.
      unmeasured: names of the other classes.
      worst_class: a name, or left out where none can be told to be.
      cost: `{"seconds", "training_seconds", "evaluation_seconds", "images", "flops"}`.
      sides, protocol: only of `mulligan score`: height and width compared at, and how a standard FID was made.
    """

    kind = "final"
    best_nimg: Number = None
    precision: Number = None
    recall: Number = None
    density: Number = None
    coverage: Number = None
    classes: Sequence[ClassScores] | None = None
    unmeasured: Sequence[str] | None = None
    worst_class: str | None = None
    cost: TotalCost | None = None
    sides: Sequence[int] | None = None
    protocol: str | None = None


@dataclass(frozen=True, kw_only=True)
class Planned(RunEvent):
    """The experience was asked; the keys are those of plan.json.

    Attributes:
      trained: what the recipe trains, where no others race with it.
    """

    kind = "plan"
    tasks: Number
    trials: Number
    embedding: str
    expected: Interval | None
    figure: str
    nearest: Sequence[tuple[str, Number]]
    saving: Number
    recipes: int
    origin: str
    compared: Number
    race_from: Mapping[str, Number] | None
    others: Sequence[str]
    trouble: str | None
    skipped: str | None
    trained: str | None


@dataclass(frozen=True, kw_only=True)
class SliceTrained(RunEvent):
    """A recipe of a race has trained its slice.

    Attributes:
      arm: which.
      weights: of all recipes, before the slice.
      predicted: logarithm of the figure that selects, that each is expected to end with.
      ended: why the recipe cannot go on, or null.
    """

    kind = "slice"
    weights: Sequence[Number]
    predicted: Sequence[Number]
    ended: str | None


@dataclass(frozen=True, kw_only=True)
class RaceWon(RunEvent):
    """A race is over.

    Attributes:
      arm: the winner.
      origin: where its recipe comes from.
      slices: trained in all.
    """

    kind = "winner"
    origin: str
    slices: Number


@dataclass(frozen=True, kw_only=True)
class NotRecorded(RunEvent):
    """The run could not be added to the experience.

    Attributes:
      reason: why.
    """

    kind = "forgotten"
    reason: str


@dataclass(frozen=True, kw_only=True)
class TaskRead(Event):
    """`mulligan learn` read a task.

    Attributes:
      counts: images in each split.
    """

    kind = "task"
    name: str
    family: str
    counts: Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class TrialEnded(Event):
    """`mulligan learn` tried a recipe.

    Attributes:
      recipe: its hash.
      status: `done` or `failed`; `reason` says why, or is null.
      figure: by which recipes are compared.
      value: of it, the last one measured.
    """

    kind = "trial"
    task: str
    recipe: str
    seed: int
    status: str
    reason: str | None
    figure: str
    value: Number
    images: Number = None
    flops: Number = None
    seconds: Number = None


@dataclass(frozen=True, kw_only=True)
class SourceRead(Event):
    """`mulligan learn --init` read a source of tasks."""

    kind = "source"
    name: str
    tasks: int
    images: int


@dataclass(frozen=True, kw_only=True)
class EpisodesTrained(Event):
    """`mulligan learn --init` trained initial weights on.

    Attributes:
      speed: episodes a second.
    """

    kind = "meta"
    steps: Number
    episodes: int
    tasks: Number
    images: Number
    loss: Number
    seconds: float
    speed: Number


@dataclass(frozen=True, kw_only=True)
class StageReached(Event):
    """Work that goes through stages has come so far.

    Attributes:
      share: of the work that is done.
    """

    stage: str
    share: float


@dataclass(frozen=True, kw_only=True)
class ProofAdvanced(StageReached):
    """`mulligan prove` begins another stage."""

    kind = "proof"


@dataclass(frozen=True, kw_only=True)
class ProjectionAdvanced(StageReached):
    """`mulligan project` has come so far."""

    kind = "projection"


IN_RUN: tuple[type[RunEvent], ...] = (  # what events.jsonl holds
    DataRead,
    TrainingStarted,
    Noted,
    ChunkTrained,
    SamplesDrawn,
    Evaluated,
    RolledBack,
    StrategyChosen,
    ClassesBalanced,
    CheckpointWritten,
    Resumed,
    Stopped,
    AverageScored,
    GeneratorChosen,
    FinalScored,
)
AROUND_RUN: tuple[type[RunEvent], ...] = (Planned, SliceTrained, RaceWon, NotRecorded)  # listeners are told as well
OTHERS: tuple[type[Event], ...] = (TaskRead, TrialEnded, SourceRead, EpisodesTrained, ProofAdvanced, ProjectionAdvanced)
KINDS = {event.kind: event for event in (*IN_RUN, *AROUND_RUN)}


def read_event(document: Mapping[str, Any]) -> RunEvent:
    """The run's event in a JSON object; one of a kind that is not known keeps all its values."""
    kind = str(document.get("kind"))
    if kind in KINDS:
        return KINDS[kind].read(document)
    own = {field.name for field in dataclasses.fields(RunEvent)} | {"kind"}
    values = {name: value for name, value in document.items() if name not in own}
    return dataclasses.replace(UnknownEvent.read(document), name=kind, values=values)


def own_fields(event: RunEvent | type[RunEvent]) -> list[str]:
    """Names of the fields that an event has and others need not have.

    Example:
      >>> own_fields(Stopped)
      ['reason', 'code']
    """
    common = {field.name for field in dataclasses.fields(RunEvent)}
    return [field.name for field in dataclasses.fields(event) if field.name not in common]


def as_number(value: Any) -> Number:
    """A number read from JSON; None for anything else, and for what is not finite or beyond 1e100."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if abs(value) <= LARGEST else None


@lru_cache(maxsize=64)
def _hints(kind: type) -> dict[str, Any]:
    """Types by name of what an object of this kind holds."""
    return {name: hint for name, hint in get_type_hints(kind).items() if get_origin(hint) is not ClassVar}


def _as(hint: Any, value: Any) -> Any:
    """A JSON value as one of the type `hint`, empty where it is none: null, zero, no text, no entries."""
    if hint in PLAIN:
        return PLAIN[hint](value)
    kind, parts = get_origin(hint), get_args(hint)
    if type(None) in parts:
        [one] = [part for part in parts if part is not type(None)]
        return None if value is None else _as(one, value)
    if is_typeddict(hint):
        return {
            name: _as(part, value.get(name) if isinstance(value, dict) else None) for name, part in _hints(hint).items()
        }
    if kind is Mapping:
        return {str(name): _as(parts[1], entry) for name, entry in (value.items() if isinstance(value, dict) else ())}
    entries = list(value) if isinstance(value, list | tuple) else []
    if kind is tuple:  # of a fixed length
        return tuple(_as(part, entry) for part, entry in zip(parts, [*entries, *[None] * len(parts)], strict=False))
    return [_as(parts[0], entry) for entry in entries]


PLAIN: dict[Any, Callable[[Any], Any]] = {
    Any: lambda value: value,
    Number: as_number,
    float: lambda value: as_number(value) or 0.0,
    int: lambda value: int(as_number(value) or 0),
    str: lambda value: "" if value is None else str(value),
    bool: lambda value: value is True,
}
