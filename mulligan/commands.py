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
    given = ["mulligan", *(_path(word) if isinstance(word, Path) else word for word in words)]
    return subprocess.list2cmdline(given) if os.name == "nt" else shlex.join(given)


def _path(path: Path) -> str:
    """A path that is not taken for an option."""
    return f"./{path}" if str(path).startswith("-") else str(path)
