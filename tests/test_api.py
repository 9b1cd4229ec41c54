"""The public functions: what they refuse, and a sentence where the memory does not suffice."""

import jax
import numpy as np
import pytest

import mulligan
from mulligan import api
from mulligan.errors import MulliganError, UsageError


@pytest.mark.parametrize("call", [mulligan.fit, lambda data: mulligan.score(data, "digits")])
@pytest.mark.parametrize("data", ["", " \t"])
def test_an_empty_name_is_no_data(call, data):
    with pytest.raises(UsageError, match="an empty name"):
        call(data)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (MemoryError(), "MemoryError"),
        (np._core._exceptions._ArrayMemoryError((1 << 40,), np.dtype(np.uint8)), "Unable to allocate 1.00 TiB"),
        (
            jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes.\nMore."),
            "allocating 9 bytes",
        ),
    ],
)
def test_too_little_memory_is_one_sentence(monkeypatch, error, said):
    def train(*_):
        raise error

    monkeypatch.setattr(api, "fit_task", train)
    with pytest.raises(MulliganError, match=rf"^out of memory \(.*{said}.*\): use smaller images, or fewer"):
        mulligan.fit("digits")


def test_other_failures_of_a_device_stay_what_they_are(monkeypatch):
    def train(*_):
        raise jax.errors.JaxRuntimeError("INTERNAL: a bug")

    monkeypatch.setattr(api, "fit_task", train)
    with pytest.raises(jax.errors.JaxRuntimeError):
        mulligan.fit("digits")
