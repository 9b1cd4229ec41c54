"""Which cases of a test run at every `make test`; the others are marked slow."""

from collections.abc import Iterable
from typing import Any

import pytest


def quick_of(cases: Iterable[Any], *quick: Any) -> list[Any]:
    """All cases for `parametrize`, marked slow but for those that are named; a tuple is of several arguments.

    Example:
      >>> [getattr(case, "marks", ()) != () for case in quick_of(("a", "b"), "b")]
      [True, False]
    """
    cases = list(cases)
    assert all(each in cases for each in quick), "a quick case is not among the cases"
    return [case if case in quick else pytest.param(*_arguments(case), marks=pytest.mark.slow) for case in cases]


def _arguments(case: Any) -> tuple[Any, ...]:
    return case if isinstance(case, tuple) else (case,)
