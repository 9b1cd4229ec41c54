"""Training steps a second, the same work in mulligan and its peers, run in turns on one machine.

    make peers
    .venv/bin/python benchmarks/speed/throughput.py

Every contender is a process of its own that lives through all rounds and sleeps while others run, so what drifts on
the machine drifts for all. Ratios are taken within a round. Shares of the peak relate the counted operations
of a step (`workload.step_flops`) to the fastest matrix product of the same round.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.common.intervals import spread
from benchmarks.common.machine import warn_when_busy
from benchmarks.common.places import DATA, RESULTS, ROOT, peers_python
from benchmarks.speed.contenders import matrix_product
from benchmarks.speed.workload import WORKLOADS, Workload, step_flops

FASHION = DATA / "fashion_mnist.npz"
MULLIGAN = "mulligan"
PEERS = {
    "PyTorch eager": ("benchmarks.peers.pytorch", "eager"),
    "PyTorch compiled": ("benchmarks.peers.pytorch", "compiled"),
    "Keras/TensorFlow": ("benchmarks.peers.tensorflow_keras", "plain"),
    "Keras/TensorFlow XLA": ("benchmarks.peers.tensorflow_keras", "xla"),
}
PAUSE = 0.5  # seconds between turns, for the threads of the last contender to fall asleep


NO_ACCELERATOR = {"JAX_PLATFORMS": "cpu", "CUDA_VISIBLE_DEVICES": "", "KERAS_BACKEND": "tensorflow"}


class Process:
    """One contender, asked line by line."""

    def __init__(
        self,
        python: Path | str,
        module: str,
        *arguments: str,
        log: Path,
        environment: Mapping[str, str] = NO_ACCELERATOR,
    ):
        with log.open("w") as errors:
            self.process = subprocess.Popen(
                [str(python), "-m", module, *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                cwd=ROOT,
                env=os.environ | environment | {"TF_CPP_MIN_LOG_LEVEL": "2"},
            )
        self.log = log
        self.describe = self._answer()
        self.steps = 1

    def ask(self, command: str) -> dict[str, Any]:
        assert self.process.stdin is not None
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"a contender died; what it said is in {self.log}")
        return json.loads(line)

    def warm(self, seconds: float) -> None:
        """Compiles, and finds how many steps fill a turn."""
        self.describe |= self.ask("warm")
        trial = 1
        while (spent := self.ask(f"run {trial}")["seconds"]) < min(1.0, seconds):
            trial *= 2
        self.steps = max(1, round(trial * seconds / spent))

    def speed(self) -> float:
        """Steps a second over one turn."""
        time.sleep(PAUSE)
        return self.steps / self.ask(f"run {self.steps}")["seconds"]

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()


def start(workload: Workload, stack: ExitStack) -> tuple[dict[str, Process], dict[str, Process]]:
    """All contenders of a workload, and the matrix products."""

    def add(name: str, python: Path | str, module: str, *arguments: str) -> Process:
        log = RESULTS / f"{name.replace('/', '-').replace(' ', '-')}.log"
        return stack.enter_context(Process(python, module, *arguments, log=log))

    document, python = workload.to_json(), peers_python()
    contenders = {MULLIGAN: add(MULLIGAN, sys.executable, "benchmarks.speed.contenders.mulligan", document)}
    for name, (module, form) in PEERS.items():
        contenders[name] = add(name, python, module, document, form)
    products = {
        library: add(
            f"product-{library}", python if library == "torch" else sys.executable, matrix_product.__name__, library
        )
        for library in matrix_product.LIBRARIES
    }
    sizes = {(c.describe["gen_parameters"], c.describe["disc_parameters"]) for c in contenders.values()}
    assert len(sizes) == 1, f"the contenders' networks differ: {sizes}"
    return contenders, products


def measure(workload: Workload, rounds: int, seconds: float) -> dict[str, Any]:
    """Speeds by round: steps a second of the contenders, products a second of the libraries."""
    with ExitStack() as stack:
        contenders, products = start(workload, stack)
        everyone = contenders | products
        for name, process in everyone.items():
            process.warm(seconds if name in contenders else min(seconds, 2.0))
            print(f"  {name} ready: {process.describe}", file=sys.stderr, flush=True)
        speeds: dict[str, list[float]] = {name: [] for name in everyone}
        order = list(everyone)
        for turn in range(rounds):
            first = turn % len(order)
            for name in order[first:] + order[:first]:
                speeds[name].append(everyone[name].speed())
        return {
            "workload": dataclasses.asdict(workload),
            "step_flops": step_flops(workload),
            "contenders": {name: process.describe for name, process in contenders.items()},
            "steps_per_second": {name: speeds[name] for name in contenders},
            "products_per_second": {name: speeds[name] for name in products},
        }


def summarise(measured: dict[str, Any]) -> dict[str, Any]:
    """Ratios within rounds, and shares of the round's fastest matrix product."""
    steps = measured["steps_per_second"]
    peers = [name for name in steps if name != MULLIGAN]
    peak = [
        max(speeds) * matrix_product.FLOPS for speeds in zip(*measured["products_per_second"].values(), strict=True)
    ]
    best_peer = [max(speeds) for speeds in zip(*(steps[name] for name in peers), strict=True)]
    share = lambda speeds: [v * measured["step_flops"] / p for v, p in zip(speeds, peak, strict=True)]  # noqa: E731
    return {
        "peak_flops": peak,
        "ratio_to_best_peer": [ours / best for ours, best in zip(steps[MULLIGAN], best_peer, strict=True)],
        "ratio": {n: [a / b for a, b in zip(steps[MULLIGAN], steps[n], strict=True)] for n in peers},
        "share_of_peak": {name: share(speeds) for name, speeds in steps.items()},
    }


def table(measured: dict[str, Any], summary: dict[str, Any]) -> str:
    """One workload for people: medians over the rounds, and ranges."""
    gigaflops = [flops / 1e9 for flops in summary["peak_flops"]]
    name, count = measured["workload"]["name"], measured["step_flops"] / 1e9
    lines = [f"{name}: {count:.2f} GFLOP a step; matrix product {spread(gigaflops, 0)} GFLOP/s"]
    lines += [f"  {'':22}{'steps/s':>24}{'mulligan is faster':>22}{'share of peak':>22}  form"]
    for contender, speeds in measured["steps_per_second"].items():
        ratio = spread(summary["ratio"][contender]) if contender in summary["ratio"] else ""
        share = spread(summary["share_of_peak"][contender])
        form = measured["contenders"][contender]["form"]
        lines += [f"  {contender:22}{spread(speeds, 1):>24}{ratio:>22}{share:>22}  {form}"]
    return "\n".join([*lines, f"  against the best peer of each round: {spread(summary['ratio_to_best_peer'])}"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workloads", nargs="+", choices=WORKLOADS, default=list(WORKLOADS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each turn")
    parser.add_argument("--data", type=Path, default=FASHION, help=".npz with 28x28 images; random ones when absent")
    parser.add_argument("--output", type=Path, default=RESULTS / "throughput.json")
    chosen = parser.parse_args()
    if not peers_python().exists():
        raise SystemExit(f"the peers are not installed in {peers_python().parents[1]}: run `make peers` first.")
    from mulligan.training.device import machine

    RESULTS.mkdir(exist_ok=True)
    warn_when_busy()
    data = str(chosen.data.resolve()) if chosen.data.exists() else ""
    results = []
    for name in chosen.workloads:
        workload = dataclasses.replace(WORKLOADS[name], data=data)
        measured = measure(workload, chosen.rounds, chosen.seconds)
        measured["summary"] = summarise(measured)
        print(table(measured, measured["summary"]), flush=True)
        results.append(measured)
    document = {"date": datetime.now(UTC).isoformat(timespec="seconds"), "machine": machine(), "results": results}
    chosen.output.write_text(json.dumps(document, indent=1))


if __name__ == "__main__":
    main()
