"""The loop of a contender's process: commands on stdin, one JSON object a line on stdout.

A contender may have several forms (memory layouts, ways to loop). `warm` compiles all of them and keeps the fastest,
`run N` takes N steps with it, and `replay IN OUT`, given to a fresh process, takes the steps described by one .npz file
and writes the resulting weights to another, so that contenders can be compared.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import numpy as np

TRIAL_ROUNDS = 5
TRIAL_SECONDS = 0.5
WARM_STEPS = 5


class Weights(NamedTuple):
    """Both networks and the moving average of the generator, in the layouts of `workload.parameter_shapes`."""

    gen: list[np.ndarray]
    disc: list[np.ndarray]
    average: list[np.ndarray]


class Form(Protocol):
    """One way to train. `run` returns when the work is done, not when it is queued."""

    def run(self, steps: int) -> None: ...

    def replay(self, start: Weights, batches: np.ndarray, latents: np.ndarray) -> Weights:
        """Steps over uint8 `[steps, batch, h, w, c]` and float32 `[steps, batch, d]` from given weights."""
        ...


class Contender(NamedTuple):
    describe: dict[str, Any]  # versions and numbers of parameters
    forms: dict[str, Form]


def serve(prepare: Callable[[], Contender]) -> None:
    """Describes the contender, then answers commands until stdin closes. What libraries print goes to stderr."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    describe, forms = prepare()
    name = next(iter(forms))
    print(json.dumps(describe), file=answers)
    for line in sys.stdin:
        match line.split():
            case ["warm"]:
                name = fastest(forms)
                answer: dict[str, Any] = {"form": name}
            case ["run", steps]:
                answer = {"seconds": seconds(forms[name], int(steps))}
            case ["replay", source, target]:
                answer = {"written": replay(forms[name], source, target)}
            case _:
                answer = {"unknown": line}
        print(json.dumps(answer), file=answers)


def seconds(form: Form, steps: int) -> float:
    start = time.perf_counter()
    form.run(steps)
    return time.perf_counter() - start


def fastest(forms: dict[str, Form]) -> str:
    """Warms every form up and names the one with the fastest step; they are tried in turns."""
    steps = {}
    for name, form in forms.items():
        form.run(WARM_STEPS)
        steps[name] = 1 + int(TRIAL_SECONDS * WARM_STEPS / seconds(form, WARM_STEPS))
    best = dict.fromkeys(forms, float("inf"))
    for _ in range(TRIAL_ROUNDS):
        for name, form in forms.items():
            best[name] = min(best[name], seconds(form, steps[name]) / steps[name])
    return min(best, key=lambda name: best[name])


def replay(form: Form, source: str, target: str) -> str:
    with np.load(source) as given:
        end = form.replay(unpack(given), given["batches"], given["latents"])
    np.savez(target, **pack(end))
    return target


def pack(weights: Weights) -> dict[str, np.ndarray]:
    """`{"gen.0": ..., "gen.1": ..., "disc.0": ..., ...}`, for `numpy.savez`; `unpack` is its inverse."""
    return {f"{net}.{i}": array for net, arrays in weights._asdict().items() for i, array in enumerate(arrays)}


def unpack(file: Any) -> Weights:
    count = lambda net: sum(key.startswith(f"{net}.") for key in file)  # noqa: E731
    return Weights(*([file[f"{net}.{i}"] for i in range(count(net))] for net in Weights._fields))
