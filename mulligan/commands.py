"""Commands as they are printed for people to copy: quoted for their shell."""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path


def command(*words: str | Path) -> str:
    """`mulligan` with these words, to be pasted into a shell.

    Example:
      >>> command("resume", Path("runs/a b"))
      "mulligan resume 'runs/a b'"
      >>> command("resume", Path("-o"))
      'mulligan resume ./-o'
    """
    given = ["mulligan"]
    for word in words:
        option = isinstance(word, Path) and str(word).startswith("-")  # as which a path must not be taken
        given.append(f"./{word}" if option else str(word))
    return subprocess.list2cmdline(given) if os.name == "nt" else shlex.join(given)
