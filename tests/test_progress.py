"""Progress: what the live view and the plain lines show of a run's events, and how often."""

import io
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from rich.console import Console

from mulligan.events import Evaluated, read_event
from mulligan.progress import Lines, LiveView, Standing, announcement, metric, result_lines
from mulligan.report.words import UNKNOWN

EVALUATION = {
    "kind": "evaluation",
    "embedding": "m1",
    "kid": 0.02,
    "kid_low": 0.018,
    "kid_high": 0.022,
    "energy": 0.3,
    "energy_low": 0.28,
    "energy_high": 0.32,
    "best": True,
}


def chunk(seconds: float, nimg: int = 100) -> dict:
    return {"kind": "chunk", "nimg": nimg, "seconds": seconds, "images_per_second": 50.0}


@pytest.fixture
def start(tmp_path):
    """The first event of a run with a budget of 1,000 images."""
    (tmp_path / "run.json").write_text(json.dumps({"budget": {"images": 1000}}))
    return {"kind": "start", "nimg": 0, "seconds": 0.0, "run": str(tmp_path)}


@given(st.dictionaries(st.sampled_from(["images", "seconds"]), st.integers(1, 10**9)), st.integers(0, 10**10))
def test_share_and_time_left_stay_within_bounds(budget, spent):
    standing = Standing(budget=budget, nimg=spent, seconds=float(spent), images_per_second=3.0)
    left = standing.seconds_left()
    assert 0 <= standing.share() <= 1
    assert left is None if not budget else left >= 0
    if len(budget) == 1:
        assert (left == 0) == (standing.share() == 1)


def test_time_left_of_a_budget_of_images_follows_the_speed(start):
    standing = Standing()
    for event in (start, chunk(2.0, nimg=500)):
        standing.observe(read_event(event))
    assert (standing.share(), standing.seconds_left()) == (0.5, 10.0)
    assert standing.figures() == ["50%", "500 images", "50 images/s", "10.0 s left"]


def test_a_resumed_run_knows_its_budget_without_a_start(start, tmp_path):
    standing = Standing(tmp_path)
    standing.observe(read_event({"kind": "resume", "nimg": 250, "seconds": 2.0, "from_nimg": 250, "reason": None}))
    assert standing.share() == 0.25


def test_images_seen_go_back_with_the_guard(start):
    standing = Standing()
    for event in (start, chunk(2.0, nimg=500), chunk(3.0, nimg=64)):
        standing.observe(read_event(event))
    assert standing.nimg == 64


@settings(max_examples=10)
@given(st.integers(1, 100_000))
def test_plain_lines_get_rarer_but_do_not_stop(seconds):
    lines = []
    show = Lines(Standing(), lines.append)
    times = np.linspace(0, seconds, 1_000)
    for now in times:
        show(chunk(float(now)))
    assert seconds / (301 + seconds / 999) <= len(lines) <= seconds / 5 + 1


def test_what_was_measured_on_small_images_says_nothing_of_large_ones(start):
    standing = Standing()
    evaluation = {"kind": "evaluation", "average": "ema", "kid": 0.1, "best": True}
    standing.observe(read_event(start | {"small": True}))
    standing.observe(read_event({"kind": "chunk", "nimg": 640, "images_per_second": 50.0, "small": True}))
    standing.observe(read_event(evaluation | {"nimg": 640, "small": True}))
    assert standing.best
    assert "640 small images" in standing.figures()
    standing.observe(read_event(start))
    assert (standing.best, standing.evaluation, standing.images_per_second) == (None, None, None)
    standing.observe(read_event(evaluation | {"nimg": 64}))
    assert standing.best.nimg == 64
    assert "64 images" in standing.figures()


def test_announcements_are_never_held_back():
    lines = []
    show = Lines(Standing(), lines.append, quiet=True)
    guard = {"kind": "guard", "nimg": 640, "seconds": 1.0, "reason": "the loss is not finite"}
    show(guard | {"action": "learning rates halved", "back_to_nimg": 320, "attempt": 1})
    show(chunk(2.0))
    show({"kind": "resume", "nimg": 320, "seconds": 2.0, "from_nimg": 320, "reason": "a torn checkpoint"})
    assert lines == [
        "guard at 640 images: the loss is not finite; learning rates halved, back to 320 images",
        "going on from 320 images (a torn checkpoint)",
    ]


CHOICE = {"kind": "choice", "nimg": 64_000, "seconds": 9.0, "average": "ema", "at_nimg": 64_000}
CHOICE |= {"figure": "energy", "gains": {}, "skipped": [], "reason": None}


def test_the_choice_is_announced_with_what_it_gains():
    gains = {"ema": {"value": -0.02, "deviation": 0.01}, "last": {"value": 0.004, "deviation": 0.01}}
    told = announcement(read_event(CHOICE | {"average": "soup", "gains": gains, "skipped": ["mixture", "power_20"]}))
    assert told == (
        "kept soup of 64k images: energy distance 0.02 below that of ema, 0.004 above that of last; "
        "no time for mixture, power_20"
    )
    distilled = EVALUATION | {"kind": "average", "average": "distilled", "loss": 0.03, "loss_before": 0.24}
    assert announcement(read_event(distilled)) == (
        "distilled the mixture: mean squared difference of pixels 0.03, from 0.24; KID@m1 0.0200 (0.0180 to 0.0220)"
    )
    assert announcement(read_event(EVALUATION | {"kind": "average", "average": "ema"})) is None
    assert announcement(read_event(CHOICE)) == "kept ema of 64k images"
    assert (
        announcement(read_event(CHOICE | {"average": "best", "reason": "too few"}))
        == "kept best of 64k images (too few)"
    )


def test_ordinary_events_are_no_announcements():
    assert announcement(read_event(chunk(1.0))) is None


def test_metric_that_was_not_finite_is_a_dash():
    assert metric(Evaluated.read(EVALUATION)) == "KID@m1 0.0200 (0.0180 to 0.0220)"
    assert metric(Evaluated.read(EVALUATION | {"kid": None, "kid_low": None, "kid_high": None})) == f"KID@m1 {UNKNOWN}"


def test_live_view_shows_figures_best_and_samples(start, tmp_path):
    console = Console(file=io.StringIO(), force_terminal=True, color_system="truecolor", width=100)
    view = LiveView(Standing(), console)
    grid = np.zeros((2 * 20, 4 * 20, 3), np.uint8)
    grid[:20, :20] = (255, 0, 0)
    Image.fromarray(grid).save(tmp_path / "grid.png")
    sample = {"kind": "samples", "nimg": 500, "seconds": 2.0, "path": "grid.png", "rows": 2, "columns": 4}
    for event in (start, chunk(2.0, nimg=500), EVALUATION | {"nimg": 500, "seconds": 2.0}, sample):
        view(event)
    console.print(view)
    shown = console.file.getvalue()
    assert "50 images/s" in shown
    assert "best so far energy@m1+pixels 0.300 (0.280 to 0.320) at 500 images" in shown
    assert "38;2;255;0;0" in shown  # the red tile
    assert max(map(len, view.samples.plain.splitlines())) == 4 * 16


def test_live_view_without_colour_shows_no_samples(start):
    console = Console(file=io.StringIO(), force_terminal=True, color_system=None, width=100)
    view = LiveView(Standing(), console)
    view(start)
    view({"kind": "samples", "nimg": 0, "seconds": 0.0, "path": "absent.png", "rows": 1, "columns": 1})
    assert not view.samples.plain


def test_results_name_their_protocol():
    scores = EVALUATION | {"frechet": 3.0, "n_real": 100, "n_fake": 2000, "split": "test", "recall": 0.25}
    scores |= {"memorisation": {"ratio": 0.9, "share": 0.125}, "average": "ema", "best_nimg": 64_000}
    assert result_lines(scores) == [
        "KID           KID@m1 0.0200 (0.0180 to 0.0220)",
        "energy        energy@m1+pixels 0.300 (0.280 to 0.320)",
        "Frechet       3",
        "recall        0.25",
        "memorisation  12.5% of samples are as close to a training image as the closest 5% of held-out images",
        "protocol      2k generated against 100 real images of the test split",
        "from          ema, after 64k images",
    ]


@pytest.mark.parametrize(
    ("split", "said"), [("train", "and is no result"), ("held-out", "the generator was chosen as well")]
)
def test_figures_of_what_did_not_judge_alone_say_so(split, said):
    scores = EVALUATION | {"frechet": 3.0, "n_real": 50, "n_fake": 2000, "split": split}
    kid, *_, protocol = result_lines(scores)
    assert said in protocol
    assert ("of its own training images" in kid) == (split == "train")


def test_what_was_read_is_announced_with_all_that_was_done_to_it():
    read = {
        "name": "photos",
        "shape": [8, 12, 3],
        "counts": {"train": 30, "validation": 0, "test": 4},
        "notes": ["one.", "two\x1b[2J."],
    }
    read |= {"classes": {"cat": {"train": 20, "test": 3}, "dog": {"train": 10, "test": 1}}}
    assert announcement(read_event({"kind": "data", **read})).splitlines() == [
        "photos: 34 colour images of 12x8: 30 train, 4 test",
        "  classes: cat 20+3, dog 10+1",
        "  one.",
        "  two\ufffd[2J.",
    ]


def test_what_is_trained_is_said_before_what_the_experience_promises():
    plan = {"kind": "plan", "embedding": "m1", "trained": "conv networks of width 16", "recipes": 1, "nearest": []}
    lines = []
    show = Lines(Standing(), lines.append, quiet=True)
    show(plan)
    show(plan | {"expected": {"median": 0.125, "low": 0.0625, "high": 0.25}})
    show(plan | {"trouble": "it is damaged"})
    show(plan | {"trained": None})
    assert lines == [
        "conv networks of width 16",
        "conv networks of width 16; expected energy@m1+pixels 0.125 (80%: 0.0625 to 0.25)",
        "conv networks of width 16; going on without experience: it is damaged",
    ]
