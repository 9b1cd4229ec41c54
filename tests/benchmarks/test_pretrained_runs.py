"""Contenders in words, and populations that leave few places empty."""

import pytest

from benchmarks.common.population import Numbers
from benchmarks.quality.pretrained_runs import Contender, at_once


def test_a_contender_is_what_its_words_say():
    plain = Contender.of("16/32/2e-3/0.5/1")
    assert (plain, plain.file) == (Contender(16, 32, 2e-3, 0.5, 1.0), "")
    of_gen = Contender.of("8/16/1e-3/2/0.5/centre:gen")
    assert (of_gen.file, of_gen.numbers(3)) == ("centre", Numbers(1e-3, 2.0, 0.5, 3, "gen"))
    assert [Contender.of(str(each)) for each in (plain, of_gen)] == [plain, of_gen]


def test_rows_from_before_there_were_files_are_read():
    row = {"width": 8, "batch": 16, "rate": 1e-3, "gamma": 2.0, "learned": 0.0, "family": "birds"}
    assert Contender.in_row(row) == Contender.of("8/16/1e-3/2/0")


@pytest.mark.parametrize(
    ("runs", "most", "members"), [([80], 128, 80), ([80], 64, 40), ([37], 20, 19), ([30, 60, 120], 64, 30), ([5], 1, 1)]
)
def test_a_population_has_few_places_that_stay_empty(runs, most, members):
    assert at_once(runs, most) == members
