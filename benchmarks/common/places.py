"""Where things lie: the repository, results, data sets, and the interpreter of the peers."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "benchmarks" / "results"
DATA = ROOT.parent / "shared" / "data"  # .npz files; every program takes another folder
ZOO = DATA / "zoo"


def peers_python() -> Path:
    """The interpreter that has the peers installed."""
    named = os.environ.get("MULLIGAN_PEERS_PYTHON")
    return Path(named) if named else ROOT / "benchmarks/peers/.venv/bin/python"


def imagenet_weights() -> Path | None:
    """What `benchmarks/peers/imagenet_weights.py` wrote; None where it is not there."""
    path = Path(os.environ.get("MULLIGAN_IMAGENET", ROOT / "benchmarks/metrics/lite0.safetensors"))
    return path if path.exists() else None
