"""What tests that project share: few draws and steps, and features that cost nothing to differentiate."""

from collections.abc import Iterator
from contextlib import contextmanager

import jax
import pytest

from mulligan.metrics.embed import Embedding
from mulligan.training import projection


@contextmanager
def small_projections(steps: int = 100, together: int = 2) -> Iterator[None]:
    """Searches that take a second."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(projection, "DRAWS", 200)
        patch.setattr(projection, "STEPS", steps)
        patch.setattr(projection, "STARTS", 2)
        patch.setattr(projection, "TOGETHER", together)
        patch.setattr(projection, "load_embedding", lambda: Embedding("rows", 8, jax.jit(_rows), lambda h, w: 0.0))
        yield


def _rows(images):
    """Means over rows."""
    return images.astype("float32").mean((2, 3)) / 64 - 2
