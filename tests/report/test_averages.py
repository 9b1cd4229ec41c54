"""The section on averages: every candidate in order, what is kept and what it gains, whatever the events hold."""

import re

import pytest
from fake_run import write_events

from mulligan.report.averages import averages
from mulligan.report.run import read_run

AVERAGE = {"kind": "average", "nimg": 64, "seconds": 9.0, "average": "ema", "at_nimg": 64, "energy": 0.3, "n_real": 90}
CHOICE = {"kind": "choice", "nimg": 64, "seconds": 9.0, "average": "soup", "at_nimg": 64, "gains": {}, "skipped": []}


def section(run, *told):
    write_events(run, list(told))
    return averages(read_run(run))


def names(html):
    return re.findall(r"<tr><td>(.*?)</td>", html)


def test_candidates_are_listed_from_best_to_worst_and_the_kept_one_is_marked(light):
    told = [AVERAGE, AVERAGE | {"average": "soup", "energy": 0.1}, AVERAGE | {"average": "last", "energy": None}]
    html = section(light, *told, CHOICE)
    assert names(html) == ["<b>soup, kept</b>", "ema", "last"]
    assert "90 validation images" in html


def test_what_is_gained_is_told_in_words(light):
    gains = {"ema": {"value": -0.02, "deviation": 0.004}, "last": {"value": 0.5, "deviation": None}}
    html = section(light, AVERAGE, CHOICE | {"gains": gains, "skipped": ["mixture", "power_20"]})
    assert "its energy distance is 0.02 \N{PLUS-MINUS SIGN} 0.004 better than that of “ema”" in html
    assert "worse than that of “last”" in html
    assert "no time for: mixture, power_20" in html


def test_a_run_that_could_not_choose_says_why(light):
    html = section(light, AVERAGE, CHOICE | {"average": "best", "reason": "too few images"})
    assert "“best” is kept" in html
    assert "no time" not in html


def test_a_run_without_candidates_has_no_section(light):
    assert section(light, CHOICE) is None
    assert section(light) is None


def test_candidates_without_a_choice_are_shown(light):
    html = section(light, AVERAGE)
    assert names(html) == ["ema"]
    assert "is kept" not in html


@pytest.mark.parametrize("nonsense", [3, [], {"ema": 3}, {"ema": {"value": "x"}}, None])
def test_gains_of_nonsense_are_left_out(light, nonsense):
    assert "energy distance is" not in section(light, AVERAGE, CHOICE | {"gains": nonsense, "skipped": nonsense})
