"""Budgets: what people write, read back; what means nothing, refused in a sentence."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mulligan.budget import parse_images, parse_seconds
from mulligan.errors import UsageError


@given(hours=st.integers(0, 99), minutes=st.integers(0, 99), seconds=st.integers(1, 99))
def test_parts_of_a_time_add_up(hours, minutes, seconds):
    assert parse_seconds(f"{hours}h{minutes}m{seconds}s") == 3600 * hours + 60 * minutes + seconds


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("10m", 600), ("2h", 7200), ("1.5H", 5400), (".5s", 0.5), (45, 45), (0.5, 0.5)],
)
def test_times(text, seconds):
    assert parse_seconds(text) == seconds


@pytest.mark.parametrize(
    ("text", "images"),
    [("2M", 2_000_000), ("500k", 500_000), ("0.5K", 500), ("60000", 60_000), (7, 7), (1e6, 1_000_000)],
)
def test_images(text, images):
    assert parse_images(text) == images


@pytest.mark.parametrize("parse", [parse_seconds, parse_images])
@pytest.mark.parametrize("text", ["", "soon", "-3", "nan", "inf", "1h 2", "10x", "1e400", "9" * 400, 0, "0", "0.0", -1])
def test_what_is_no_budget_is_refused(parse, text):
    with pytest.raises(UsageError, match=r"^(cannot read|the (time )?budget must be) .*: (write it as|try) .*\.$"):
        parse(text)


def test_no_time_left_says_so():
    with pytest.raises(UsageError, match="must be"):
        parse_seconds("0h0m0s")
