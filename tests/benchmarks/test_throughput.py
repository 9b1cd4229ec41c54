"""The contenders of the throughput benchmark do the same work, and it is counted right."""

import subprocess
import time
from pathlib import Path

import numpy as np
import pytest

from benchmarks.common.places import ROOT, peers_python
from benchmarks.speed import worker
from benchmarks.speed.contenders.matrix_product import FLOPS
from benchmarks.speed.contenders.mulligan import Training
from benchmarks.speed.throughput import summarise
from benchmarks.speed.worker import Weights, pack, unpack
from benchmarks.speed.workload import WORKLOADS, Workload, initial_parameters, step_flops

STEPS = 3
PEERS = {
    "torch contiguous": ("pytorch", "eager", "contiguous"),
    "torch channels_last": ("pytorch", "eager", "channels_last"),
    "torch compiled": ("pytorch", "compiled", "channels_last"),
    "keras plain": ("tensorflow_keras", "plain", "called"),
    "keras xla": ("tensorflow_keras", "xla", "called"),
}
with_peers = pytest.mark.skipif(not peers_python().exists(), reason="the peers are not installed: make peers")


def given(workload: Workload) -> tuple[Weights, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    gen, disc = initial_parameters(workload, seed=0)
    shape = (STEPS, workload.batch, workload.height, workload.height, workload.channels)
    latents = rng.standard_normal((STEPS, workload.batch, workload.latent), np.float32)
    return Weights(gen, disc, gen), rng.integers(0, 256, shape, dtype=np.uint8), latents


def replayed(workload: Workload, folder: Path, module: str, *form: str) -> Weights:
    start, batches, latents = given(workload)
    np.savez(folder / "in.npz", **pack(start), batches=batches, latents=latents)
    command = [str(peers_python()), "-m", f"benchmarks.peers.{module}", workload.to_json(), *form]
    asked = f"replay {folder / 'in.npz'} {folder / 'out.npz'}\n"
    done = subprocess.run(command, check=False, input=asked, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    with np.load(folder / "out.npz") as file:
        return unpack(file)


def difference(a: Weights, b: Weights, start: Weights, net: str) -> float:
    """Mean distance of two networks, as a share of how far training moved them."""
    flat = [np.concatenate([array.ravel() for array in getattr(w, net)]) for w in (a, b, start)]
    return float(np.abs(flat[0] - flat[1]).mean() / np.abs(flat[1] - flat[2]).mean())


@pytest.mark.slow
@with_peers
@pytest.mark.parametrize("peer", PEERS)
@pytest.mark.parametrize("name", WORKLOADS)
def test_peers_take_the_steps_that_mulligan_takes(name, peer, tmp_path):
    workload = WORKLOADS[name]
    start, batches, latents = given(workload)
    ours = Training(workload).replay(start, batches, latents)
    theirs = replayed(workload, tmp_path, *PEERS[peer])
    for net in Weights._fields:
        # Keras adds epsilon before it corrects the bias, which makes 0.003; a gamma 10% off would make 0.03.
        assert difference(ours, theirs, start, net) < 0.005


COUNT = """
import sys
from torch.utils.flop_counter import FlopCounterMode, _FlopCounterMode
from benchmarks.peers.pytorch import Eager
from benchmarks.speed.workload import Workload

training = Eager(Workload.from_json(sys.argv[1]), "contiguous")
counter = FlopCounterMode(display=False)
with _FlopCounterMode(counter):  # without the count by module, which torch 2.13 cannot do under autograd.grad
    training.run(1)
print(counter.get_total_flops())
"""


@pytest.mark.slow
@with_peers
@pytest.mark.parametrize("name", WORKLOADS)
def test_operations_are_counted_as_pytorch_counts_them(name):
    command = [str(peers_python()), "-c", COUNT, WORKLOADS[name].to_json()]
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert step_flops(WORKLOADS[name]) == int(done.stdout)


def test_weights_survive_the_file(tmp_path):
    start, _, _ = given(WORKLOADS["dcgan"])
    np.savez(tmp_path / "weights.npz", **pack(start))
    with np.load(tmp_path / "weights.npz") as file:
        read = unpack(file)
    for before, after in zip(start, read, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))


class Sleeper:
    def __init__(self, seconds: float):
        self.seconds = seconds

    def run(self, steps: int) -> None:
        time.sleep(steps * self.seconds)


def test_the_fastest_form_is_kept(monkeypatch):
    monkeypatch.setattr(worker, "TRIAL_SECONDS", 0.02)
    assert worker.fastest({"slow": Sleeper(4e-3), "fast": Sleeper(1e-3), "middling": Sleeper(2e-3)}) == "fast"


def test_ratios_are_taken_within_rounds():
    measured = {
        "step_flops": FLOPS / 4,
        "steps_per_second": {"mulligan": [4.0, 2.0], "one": [2.0, 2.0], "other": [1.0, 4.0]},
        "products_per_second": {"jax": [2.0, 1.0], "numpy": [1.0, 2.0]},
    }
    summary = summarise(measured)
    assert summary["ratio_to_best_peer"] == [2.0, 0.5]
    assert summary["ratio"] == {"one": [2.0, 1.0], "other": [4.0, 0.5]}
    assert summary["share_of_peak"]["mulligan"] == [0.5, 0.25]
