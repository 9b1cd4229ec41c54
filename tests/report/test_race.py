"""What is said of a run in which nothing raced."""

from pathlib import Path

import pytest

from mulligan.recipe import Recipe
from mulligan.report.race import alone
from mulligan.report.run import RunRecord

RACING = {"seconds": 400.0}


@pytest.mark.parametrize(
    ("plan", "said"),
    [
        ({}, ["no other was tried: it is not known where it came from"]),
        ({"origin": "as asked for", "race_from": None}, ["no other was tried: as asked for"]),
        (
            {"origin": "the default", "compared": 1, "race_from": {"images": 400_000}, "others": []},
            [
                "a second one would cost more",
                "It was the only one that is known: the default.",
                "From 400k images on recipes race.",
            ],
        ),
        (
            {
                "origin": "nearest, best on a",
                "compared": 66,
                "race_from": RACING,
                "others": ["the default", "best on b"],
            },
            [
                "a second one",
                "chosen from 66 recipes: nearest, best on a.",
                "recipes race, here with: the default; best on b.",
            ],
        ),
    ],
)
def test_a_run_without_a_race_is_explained(plan, said):
    lines = list(alone(RunRecord(Path(), {}, Recipe(), {}, (), plan=plan)))
    assert len(lines) == len(said)
    assert all(part in line for part, line in zip(said, lines, strict=True))
