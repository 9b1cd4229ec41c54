"""The errors that are meant for people, and the one that is no error."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mulligan.commands import command

ZERO_WIDTH_JOINER = "\u200d"  # inside emoji; the only invisible character that does no harm


def printable(text: str) -> str:
    """Text that a terminal may show: no control characters, which would be obeyed, and no bytes that are no characters.

    Names of files and classes are other people's text.

    Example:
      >>> printable("a\\x1b[2Jb\\nc")
      'a\ufffd[2Jb c'
    """
    if text.isprintable():  # as nearly all are
        return text
    return "".join(
        letter if letter.isprintable() or letter == ZERO_WIDTH_JOINER else " " if letter.isspace() else "\ufffd"
        for letter in text
    )


class MulliganError(Exception):
    """A mistake the person can mend: one sentence that says what was wrong, where, and what to do.

    The command line prints the sentence and exits with 1. Any other exception is a bug.
    """

    def __init__(self, sentence: str):
        super().__init__(printable(sentence))


class UsageError(MulliganError):
    """A command or argument that cannot mean anything; the command line exits with 2."""


class Terminated(KeyboardInterrupt):
    """A signal asks the program to end: Ctrl-C, or one that is taken as Ctrl-C is.

    Attributes:
      number: of the signal; the command line exits with 128 more.
    """

    def __init__(self, number: int, sentence: str = ""):
        super().__init__(sentence or f"ended by {signal.Signals(number).name}")
        self.number = int(number)


class Interrupted(Terminated):
    """A run was stopped by a signal, and it is saved, for `resume` to go on from.

    As a `KeyboardInterrupt` it passes `except Exception`.
    """

    def __init__(self, run: Path, stop: KeyboardInterrupt | None = None):
        number = signal_number(stop)
        cause = "interrupted" if number == signal.SIGINT else f"ended by {signal.Signals(number).name}"
        super().__init__(number, f"{cause} and saved; to go on: {command('resume', run)}")
        self.run = run


def signal_number(stop: KeyboardInterrupt | None) -> int:
    """The signal that an exception stands for; Python's own stands for Ctrl-C."""
    return stop.number if isinstance(stop, Terminated) else int(signal.SIGINT)


@contextmanager
def optional_import(library: str, purpose: str, extra: str) -> Iterator[None]:
    """Imports inside it are of a library that mulligan works without.

    Args:
      library: its name, for people.
      purpose: what it is needed for, a singular.
      extra: mulligan's extra that brings it.

    Raises:
      MulliganError: it is not installed.

    Example:
      >>> with optional_import("pyarrow", "reading parquet", "parquet"):
      ...     raise ModuleNotFoundError("No module named 'pyarrow'")
      Traceback (most recent call last):
      mulligan.errors.MulliganError: reading parquet needs pyarrow: pip install 'mulligan[parquet]'.
    """
    try:
        yield
    except ImportError as error:
        raise MulliganError(f"{purpose} needs {library}: pip install 'mulligan[{extra}]'.") from error


def newer_format(what: object, written: object, known: int) -> MulliganError:
    """The error for a file of a format that this version does not know yet."""
    return MulliganError(
        f"{what} was written by a newer version of mulligan (format {written!r:.60}; this version reads up to "
        f"{known}): upgrade mulligan."
    )


def first_line(error: BaseException) -> str:
    """First line of an error's message, for a sentence that quotes it; the error's type where it says nothing.

    Example:
      >>> first_line(ValueError("\\n  no such axis\\nat line 3")), first_line(MemoryError())
      ('no such axis', 'MemoryError')
    """
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
