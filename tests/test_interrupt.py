"""Signals to end: noted where a run saves first, raised elsewhere, and left to those who handle them already."""

import os
import signal

import pytest

from mulligan.errors import Interrupted, Terminated, signal_number
from mulligan.interrupt import TERMINATING, Interrupt, terminations_raised

ENDING = [signal.SIGINT, *TERMINATING]


@pytest.fixture(autouse=True)
def _as_before():
    before = {number: signal.getsignal(number) for number in ENDING}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", ENDING)
def test_the_first_signal_is_noted_and_the_second_does_not_wait(number):
    signal.signal(
        number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
    )  # nohup ignores one
    interrupt = Interrupt()
    with interrupt:
        os.kill(os.getpid(), number)
        assert interrupt.came == number
        with pytest.raises(KeyboardInterrupt) as stop:
            os.kill(os.getpid(), number)
    assert signal_number(stop.value) == number


def test_handlers_are_as_before_afterwards():
    before = [signal.getsignal(number) for number in ENDING]
    with terminations_raised(), Interrupt():
        assert [signal.getsignal(number) for number in ENDING] != before
    assert [signal.getsignal(number) for number in ENDING] == before


@pytest.mark.parametrize("number", TERMINATING)
def test_what_would_have_killed_is_raised(number):
    signal.signal(number, signal.SIG_DFL)
    with terminations_raised(), pytest.raises(Terminated) as stop:
        os.kill(os.getpid(), number)
    assert stop.value.number == number


@pytest.mark.parametrize("handler", [signal.SIG_IGN, lambda *_: None])
def test_what_is_ignored_or_handled_already_stays_so(handler):
    """As SIGHUP is below `nohup`, and SIGTERM in a server that trains."""
    for number in TERMINATING:
        signal.signal(number, handler)
    interrupt = Interrupt()
    with terminations_raised(), interrupt:
        for number in TERMINATING:
            os.kill(os.getpid(), number)
    assert interrupt.came is None


def test_the_sentence_says_what_came_and_how_to_go_on(tmp_path):
    assert str(Interrupted(tmp_path)) == f"interrupted and saved; to go on: mulligan resume {tmp_path}"
    stop = Interrupted(tmp_path / "a b", Terminated(signal.SIGTERM))
    assert str(stop) == f"ended by SIGTERM and saved; to go on: mulligan resume '{tmp_path}/a b'"
    assert stop.number == signal.SIGTERM
