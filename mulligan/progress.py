"""What a run says while it trains: a live line on a terminal, plain lines elsewhere, JSON lines for machines.

Made from the events of `docs/run-folder.md`. Progress goes to stderr, results and JSON to stdout.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from mulligan.errors import printable
from mulligan.events import (
    AverageScored,
    ChunkTrained,
    DataRead,
    EpisodesTrained,
    Evaluated,
    Event,
    FinalScored,
    GeneratorChosen,
    Listener,
    Noted,
    NotRecorded,
    Planned,
    ProjectionAdvanced,
    ProofAdvanced,
    RaceWon,
    Resumed,
    RolledBack,
    RunEvent,
    SamplesDrawn,
    Scores,
    SourceRead,
    Stopped,
    StrategyChosen,
    TaskRead,
    TrialEnded,
    read_event,
)
from mulligan.metrics.selection import ENERGY, KID, SELECTS, Figure, figure_named
from mulligan.report.words import duration, figure, number, short

CLASSES_SHOWN = 10  # with their counts
UNJUDGED = {  # in place of a split's name
    "train": "; none were kept back, so this tells nothing of unseen ones, and is no result",
    "held-out": " that were kept back, by which the generator was chosen as well",
}
TILE_COLUMNS = 16  # narrowest sample, in terminal columns, in which a digit can still be read


@dataclass
class Standing:
    """Where a run stands, from the events so far."""

    run: Path | None = None
    budget: dict[str, float] = field(default_factory=dict)
    nimg: float = 0
    seconds: float = 0.0
    images_per_second: float | None = None
    evaluation: Evaluated | None = None
    best: Evaluated | None = None
    spent: float | None = None  # share of the budget, where several recipes have a part in it
    small: bool = False  # whether it trains on the small images that it begins on

    def observe(self, event: RunEvent) -> None:
        """Takes in one event; the first names the folder of a new run."""
        self.nimg, self.seconds = event.nimg, event.seconds
        if self.small != event.small:  # what was measured on images of another size says nothing here
            self.small, self.evaluation, self.best, self.images_per_second = event.small, None, None, None
        self.spent = self.spent if event.share is None else event.share
        self.run = self.run if event.run is None else Path(event.run)
        if self.run is not None and not self.budget:
            self.budget = json.loads((self.run / "run.json").read_text())["budget"]
        if isinstance(event, ChunkTrained):
            self.images_per_second = event.images_per_second
        elif isinstance(event, Evaluated):
            self.evaluation = event
            self.best = event if event.best else self.best

    def share(self) -> float:
        """Share of the budget spent, 0 to 1; 0 as long as the budget is not known."""
        if self.spent is not None:
            return self.spent
        spent = [self.nimg / self.budget["images"]] if "images" in self.budget else []
        spent += [self.seconds / self.budget["seconds"]] if "seconds" in self.budget else []
        return min(max(spent, default=0.0), 1.0)

    def seconds_left(self) -> float | None:
        """Seconds until the budget is spent at the present rate; None as long as that is not known."""
        if "seconds" in self.budget:
            return max(self.budget["seconds"] - self.seconds, 0.0)
        if "images" in self.budget and self.images_per_second:
            return self.budget["images"] * (1 - self.share()) / self.images_per_second
        return None

    def figures(self) -> list[str]:
        """The parts of a progress line, most wanted first."""
        left, rate = self.seconds_left(), self.images_per_second
        parts = [
            f"{self.share():.0%}",
            f"{short(self.nimg)} {'small ' if self.small else ''}images",
            f"{number(rate)} images/s" if rate else "",
            metric(self.evaluation) if self.evaluation else "",
            f"{duration(left)} left" if left is not None else "",
        ]
        return [part for part in parts if part]


def metric(scores: Scores, which: Figure = KID) -> str:
    """A figure with the space that it was measured in and its 95% interval."""
    value, interval = figure(*which.of(vars(scores)))
    return f"{which.at(scores.embedding)} {value}" + (f" ({interval})" if interval else "")


def announcement(event: RunEvent) -> str | None:
    """The line for an event that a person should see even when quiet; None for all others."""
    say = ANNOUNCED.get(type(event))
    line = say(event) if say else None
    return None if line is None else "\n".join(map(printable, line.split("\n")))


def read(event: DataRead) -> str:
    """What was read and how it was split, and what was done to the images."""
    height, width, channels = event.shape
    counts = ", ".join(f"{count:,} {split}" for split, count in event.counts.items() if count)
    colour = "grey" if channels == 1 else "colour"
    lines = [f"{event.name}: {sum(event.counts.values()):,} {colour} images of {width}x{height}: {counts}"]
    classes = event.classes or {}
    described = [f"{name} {'+'.join(map(str, parts.values()))}" for name, parts in classes.items()]
    if described:
        more = f", and {len(described) - CLASSES_SHOWN} more" if len(described) > CLASSES_SHOWN else ""
        lines.append(f"  classes: {', '.join(described[:CLASSES_SHOWN])}{more}")
    return "\n".join([*lines, *(f"  {note}" for note in event.notes)])


def rolled_back(event: RolledBack) -> str:
    """What the guard saw, and what it did."""
    back = f"back to {short(event.back_to_nimg)} images"
    return f"guard at {short(event.nimg)} images: {event.reason}; {event.action}, {back}"


def forked(event: StrategyChosen) -> str | None:
    """Which strategy a fork adopts. One that is only switched to is no news."""
    if event.mode != "fork":
        return None
    return f"fork at {short(event.nimg)} images: {event.strategy or 'none of the strategies lasted'}"


def resumed(event: Resumed) -> str:
    """Where a run goes on, and what was lost."""
    lost = f" ({event.reason})" if event.reason else ""
    return f"going on from {short(event.from_nimg)} images{lost}"


def planned(event: Planned) -> str | None:
    """What is trained, and what the experience promises of it."""
    parts = [event.trained] if event.trained else []
    if event.trouble:
        return "; ".join([*parts, f"going on without experience: {event.trouble}"])
    parts += [event.skipped] if event.skipped else []
    if event.expected is None:
        return "; ".join(parts) or None
    interval = f"80%: {number(event.expected['low'])} to {number(event.expected['high'])}"
    parts += [
        f"expected {figure_named(event.figure).at(event.embedding)} {number(event.expected['median'])} ({interval})"
    ]
    parts += [f"nearest tasks: {', '.join(name for name, _ in event.nearest)}"] if event.nearest else []
    if event.saving is not None and event.saving > 1:
        parts.append(f"the textbook's recipe would take about {number(round(event.saving, 1))} times the compute")
    parts += [f"{event.recipes} recipes race"] if event.recipes > 1 else []
    return "; ".join(parts)


def distilled(event: AverageScored) -> str | None:
    """What distilling a mixture came to; other averages are no news."""
    if event.loss is None:
        return None
    loss = f"{number(event.loss)}, from {number(event.loss_before)}"
    return f"distilled the mixture: mean squared difference of pixels {loss}; {metric(event)}"


def chosen(event: GeneratorChosen) -> str:
    """Which generator is kept, and what that gains."""
    gains = [
        f"{number(abs(value))} {'above' if value > 0 else 'below'} that of {other}"
        for other, gain in event.gains.items()
        if (value := gain["value"]) is not None
    ]
    skipped = f"; no time for {', '.join(event.skipped)}" if event.skipped else ""
    reason = f" ({event.reason})" if event.reason else ""
    better = f": {figure_named(event.figure).title} {', '.join(gains)}" if gains else ""
    return f"kept {event.average} of {short(event.at_nimg)} images{better}{skipped}{reason}"


ANNOUNCED: dict[type[RunEvent], Callable[[Any], str | None]] = {
    DataRead: read,
    Planned: planned,
    RaceWon: lambda event: f"the race is won by recipe {event.arm + 1}, {event.origin}",
    RolledBack: rolled_back,
    StrategyChosen: forked,
    Noted: lambda event: event.text,
    Resumed: resumed,
    AverageScored: distilled,
    GeneratorChosen: chosen,
    Stopped: lambda event: f"stopped at {short(event.nimg)} images: {event.reason}",
    NotRecorded: lambda event: f"this run is not recorded in the experience: {event.reason}",
}


class Lines:
    """Plain lines: every announcement, and how it goes, ever more rarely as the run gets longer."""

    def __init__(self, standing: Standing, say: Callable[[str], None], quiet: bool = False):
        self.standing = standing
        self.say = say
        self.quiet = quiet
        self.due = 0.0  # seconds of the run at which the next line on how it goes is due

    def __call__(self, document: dict[str, Any]) -> None:
        event = read_event(document)
        self.standing.observe(event)
        line = announcement(event)
        if line is None and isinstance(event, ChunkTrained | Evaluated) and not self.quiet:
            line = self.progress()
        if line is not None:
            self.say(line)

    def progress(self) -> str | None:
        """How it goes, if a line on that is due: every 5 s at first, later every 20th of the time spent."""
        seconds = self.standing.seconds
        if seconds < self.due:
            return None
        # A run of a day fills no log: the longer it goes, the rarer the lines, up to one in five minutes.
        self.due = seconds + min(max(5.0, seconds / 20), 300.0)
        return " | ".join(self.standing.figures())


class LiveView:
    """A bar, figures and a few samples, redrawn in place, with announcements above; rich renders it."""

    def __init__(self, standing: Standing, console: Console):
        self.standing = standing
        self.console = console
        self.samples = Text()

    def __call__(self, document: dict[str, Any]) -> None:
        event = read_event(document)
        self.standing.observe(event)
        line = announcement(event)
        if line is not None:
            self.console.print(Text(line, style="yellow" if isinstance(event, RolledBack) else ""))
        if isinstance(event, SamplesDrawn) and self.standing.run and self.console.color_system:
            self.samples = thumbnail(self.standing.run, event, self.console.width)

    def __rich__(self) -> Group:
        if not self.standing.budget:
            return Group(Text("reading the images and compiling ..."))
        bar = ProgressBar(total=1.0, completed=self.standing.share(), width=max(self.console.width // 5, 8))
        line = Table.grid(padding=(0, 1))
        line.add_row(bar, Text("  ".join(self.standing.figures()), no_wrap=True, overflow="ellipsis"))
        best = self.standing.best
        note = f"best so far {metric(best, SELECTS)} at {short(best.nimg)} images" if best else "not yet evaluated"
        return Group(self.samples, line, Text(note, style="dim"))


def thumbnail(run: Path, event: SamplesDrawn, width: int) -> Text:
    """As many samples of the newest grid's first row as `width` terminal columns show legibly."""
    import numpy as np
    from PIL import Image

    from mulligan.grid import terminal_thumbnail

    with Image.open(run / event.path) as picture:
        tile_width, tile_height = picture.width // event.columns, picture.height // event.rows
        # Fewer samples rather than smaller ones: with less than TILE_COLUMNS each, a digit cannot be told.
        tiles = max(min(event.columns, width // TILE_COLUMNS, 5), 1)
        row = np.asarray(picture.convert("RGBA").crop((0, 0, tiles * tile_width, tile_height)))
    return Text.from_ansi(terminal_thumbnail(row, tiles * TILE_COLUMNS))


def result_lines(document: dict[str, Any]) -> list[str]:
    """What was measured and how, for a person; `document` is a `final` event or what `score` returned."""
    scores = FinalScored.read(document)
    of_training = " of its own training images" if scores.split == "train" else ""
    rows = [
        ("KID", metric(scores) + of_training),
        *([] if scores.energy is None else [("energy", metric(scores, ENERGY))]),
        ("FID" if scores.protocol else "Frechet", number(scores.frechet)),
    ]
    rows += [
        (name, number(value))
        for name in ("precision", "recall", "density", "coverage")
        if (value := getattr(scores, name)) is not None
    ]
    if scores.memorisation and scores.memorisation["share"] is not None:
        close = f"{scores.memorisation['share']:.1%} of samples are as close to a training image"
        rows.append(("memorisation", f"{close} as the closest 5% of held-out images"))
    if scores.classes:
        ordered = sorted(scores.classes, key=lambda each: each["kid"] or 0.0)
        first, last = (f"{number(each['kid'])} ({printable(each['name'])})" for each in (ordered[0], ordered[-1]))
        worst = "" if scores.worst_class is None else "; the last is the worst beyond chance"
        rows.append(("classes", f"KID from {first} to {last}{worst}"))
    protocol = f"{short(scores.n_fake)} generated against {short(scores.n_real)} real images"
    protocol += UNJUDGED.get(scores.split, f" of the {scores.split} split" if scores.split else "")
    protocol += ", at {1}x{0}".format(*scores.sides) if scores.sides else ""
    rows.append(("protocol", protocol))
    if scores.protocol:
        rows.append(("", scores.protocol))
    if scores.best_nimg is not None:
        rows.append(("from", f"{scores.average}, after {short(scores.best_nimg)} images"))
    return [f"{name:14}{value}" for name, value in rows]


def print_json(document: dict[str, Any]) -> None:
    """One event as one line of JSON on stdout."""
    print(json.dumps(document, default=str), flush=True)


@contextmanager
def listener(quiet: bool, as_json: bool, run: Path | None = None) -> Iterator[Listener]:
    """The listener that suits where the output goes, while a run trains; `run` is its folder if any.

    One that can no longer write, for its terminal or reader has gone, is silent: training goes on.
    """
    console, standing = Console(stderr=True), Standing(run)
    if as_json:
        yield as_long_as_heard(print_json)
    elif quiet or not console.is_terminal or console.is_dumb_terminal:
        yield as_long_as_heard(Lines(standing, partial(print, file=sys.stderr, flush=True), quiet))
    else:
        view = LiveView(standing, console)
        with Live(view, console=console, refresh_per_second=2, transient=True):
            yield as_long_as_heard(view)


def as_long_as_heard(listen: Listener) -> Listener:
    """The listener, until it cannot write any more."""
    heard = True

    def hear(document: dict[str, Any]) -> None:
        nonlocal heard
        try:
            if heard:
                listen(document)
        except OSError:
            heard = False
            # What cannot be written any more must vanish, or Python would try to write it again when it ends.
            for stream in (sys.stdout, sys.stderr):
                try:
                    stream.flush()
                except OSError:
                    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())

    return hear


def event_lines(quiet: bool, as_json: bool) -> Listener:
    """A listener for work that trains no run, such as `mulligan learn`: a line an event; notes also when quiet."""

    def hear(document: dict[str, Any]) -> None:
        if as_json:
            print_json(document)
        elif not quiet or document["kind"] == Noted.kind:
            known = [event for event in AROUND_RUNS if event.kind == document["kind"]]
            for event in known:  # one, or none where the event is for files alone
                print(AROUND_RUNS[event](event.read(document)), file=sys.stderr, flush=True)

    return hear


def projection_lines(found: dict[str, Any]) -> list[str]:
    """How near a projection came, for a person; `found` is what `mulligan.project` returns."""
    rows = [
        f"{picture['error']:6.3f}  {printable(picture['name'])}"
        + (f"  as {picture['class']}" if picture["class"] is not None else "")
        for picture in found["pictures"]
    ]
    ratio = found["error"] / found["nearest_error"] if found["nearest_error"] else 1.0
    compared = f"{ratio:.2f} of that of the nearest of {found['draws']:,} samples"
    return [
        *rows,
        f"{'error':10}{found['error']:.3f} in the median, {compared} (root mean square of pixels 0 to 1)",
    ]


def _trial_line(event: TrialEnded) -> str:
    outcome = f"{figure_named(event.figure).title} {number(event.value)}" if event.status == "done" else "failed"
    seen = f"{short(event.images)} images in {duration(event.seconds)}"
    why = f" ({event.reason})" if event.reason else ""
    return f"{event.task}: {outcome} with {event.recipe[:6]}, {seen}{why}"


AROUND_RUNS: dict[type[Event], Callable[[Any], str]] = {
    Noted: lambda event: printable(event.text),
    TaskRead: lambda event: f"{event.name}: {event.counts['train']:,} training images",
    TrialEnded: _trial_line,
    SourceRead: lambda event: f"{event.name}: {event.tasks:,} tasks with {event.images:,} training images",
    EpisodesTrained: lambda event: (
        f"{event.episodes:,} episodes in {duration(event.seconds)}, {number(event.speed)} a second: "
        f"distance to unseen images {number(event.loss)}"
    ),
    **dict.fromkeys((ProofAdvanced, ProjectionAdvanced), lambda event: f"{event.share:4.0%} {event.stage}"),
}
