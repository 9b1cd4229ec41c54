"""The one error that is meant for people."""


class MulliganError(Exception):
    """A mistake the person can mend: one sentence that says what was wrong, where, and what to do.

    The command line prints the sentence and exits with 1. Any other exception is a bug.
    """


class UsageError(MulliganError):
    """A command or argument that cannot mean anything; the command line exits with 2."""
