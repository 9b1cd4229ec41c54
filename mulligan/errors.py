"""The errors that are meant for people, and the one that is no error."""

from pathlib import Path


class MulliganError(Exception):
    """A mistake the person can mend: one sentence that says what was wrong, where, and what to do.

    The command line prints the sentence and exits with 1. Any other exception is a bug.
    """


class UsageError(MulliganError):
    """A command or argument that cannot mean anything; the command line exits with 2."""


class Interrupted(KeyboardInterrupt):
    """The person stopped a run with Ctrl-C, and it is saved, for `resume` to go on from.

    The command line prints how, and exits with 130. As a `KeyboardInterrupt` it passes `except Exception`.
    """

    def __init__(self, run: Path):
        super().__init__(f"interrupted and saved; to go on: mulligan resume {run}")
        self.run = run
