"""The formats: how each is written, and how its own runtime opens and runs it."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from safetensors import safe_open
from safetensors.numpy import load_file, save

from mulligan.errors import MulliganError, optional_import
from mulligan.exports.keras_layers import FILE, keras_model
from mulligan.exports.onnx_graph import import_onnx, onnx_model
from mulligan.networks.keras import inference_mode
from mulligan.networks.keras_models import import_keras
from mulligan.networks.parameters import named_parameters, with_parameters
from mulligan.recipe import Recipe
from mulligan.training.generator import Generator, blank

Latents = Float[np.ndarray, "n d"]
Pixels = Float[np.ndarray, "n h w c"]
TENSORFLOW_SIDE = Path(__file__).parent / "tensorflow_side.py"
FORMAT = 1  # of the metadata in a safetensors file


def write_keras(generator: Generator, path: Path) -> None:
    """A `.keras` file; see `keras_layers.keras_model`.

    Raises:
      MulliganError: Keras is not installed, or the generator is not made of mulligan's own layers.
    """
    keras_model(generator).save(path)


def read_keras(path: Path, generator: Generator, latents: Latents, labels: np.ndarray | None) -> Pixels:
    """What Keras draws, in whichever backend this process has, with nothing of mulligan's registered.

    Raises:
      MulliganError: Keras is not installed.
    """
    del generator
    model = import_keras(FILE).saving.load_model(path, compile=False, safe_mode=True)
    return model.predict(latents if labels is None else {"latents": latents, "labels": labels}, verbose=0)


def write_onnx(generator: Generator, path: Path) -> None:
    """An `.onnx` file; see `onnx_graph.onnx_model`.

    Raises:
      MulliganError: onnx is not installed, or the generator is not made of mulligan's own layers.
    """
    import_onnx().save(onnx_model(generator), str(path))


def read_onnx(path: Path, generator: Generator, latents: Latents, labels: np.ndarray | None) -> Pixels:
    """What ONNX Runtime draws on the CPU.

    Raises:
      MulliganError: ONNX Runtime is not installed.
    """
    del generator
    with optional_import("onnxruntime", "checking an ONNX file", "onnx"):
        import onnxruntime
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    feed: dict[str, Any] = {"latents": latents}
    if labels is not None:
        feed["labels"] = labels.astype(np.int64)
    (images,) = session.run(["images"], feed)
    return np.asarray(images) / 127.5 - 1


def write_savedmodel(generator: Generator, path: Path) -> None:
    """A SavedModel whose endpoint `serve` draws float32 images `[n, h, w, c]`, 0 to 255: written by TensorFlow.

    Raises:
      MulliganError: TensorFlow or Keras is not installed, TensorFlow fails, or the generator is not made of mulligan's
        own layers.
    """
    _find_tensorflow()
    with tempfile.TemporaryDirectory() as folder:
        write_keras(generator, Path(folder) / "generator.keras")
        _tensorflow("write", Path(folder) / "generator.keras", path)


def read_savedmodel(path: Path, generator: Generator, latents: Latents, labels: np.ndarray | None) -> Pixels:
    """What TensorFlow draws from the SavedModel alone.

    Raises:
      MulliganError: TensorFlow is not installed, or fails.
    """
    del generator
    with tempfile.TemporaryDirectory() as folder:
        given, drawn = Path(folder) / "given.npz", Path(folder) / "drawn.npy"
        inputs: dict[str, Any] = {"latents": latents} if labels is None else {"latents": latents, "labels": labels}
        np.savez(given, **inputs)
        _tensorflow("read", path, given, drawn)
        return np.load(drawn) / 127.5 - 1


def _find_tensorflow() -> None:
    with optional_import("TensorFlow", "a SavedModel", "savedmodel"):
        if importlib.util.find_spec("tensorflow") is None:  # importing it would take seconds of this process as well
            raise ModuleNotFoundError("tensorflow")


def _tensorflow(*words: Any) -> None:
    """Runs `tensorflow_side.py` in a process of its own, where Keras has TensorFlow as its backend."""
    _find_tensorflow()
    # Keras takes its backend when it is imported, and this process has imported it on JAX.
    environment = {**os.environ, "KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, str(TENSORFLOW_SIDE), *map(str, words)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["it gave no reason"])[-1]
        raise MulliganError(f"TensorFlow could not {words[0]} the SavedModel: {last}")


def write_safetensors(generator: Generator, path: Path) -> None:
    """The weights by name (`named_parameters`), and in the metadata all that rebuilds the network, as JSON."""
    described = {
        "format": FORMAT,
        "recipe": generator.recipe.to_json(),
        "shape": list(generator.shape),
        "classes": generator.classes and list(generator.classes),
        "members": generator.members,
    }
    arrays = {name: np.asarray(array) for name, array in named_parameters(generator.network).items()}
    path.write_bytes(save(arrays, {"mulligan": json.dumps(described)}))


def read_safetensors(path: Path, generator: Generator, latents: Latents, labels: np.ndarray | None) -> Pixels:
    """What the network that the file alone describes draws.

    Raises:
      MulliganError: a newer version wrote the recipe, or the weights are of another network.
    """
    del generator
    with safe_open(path, framework="numpy") as file:
        described = json.loads(file.metadata()["mulligan"])
    recipe = Recipe.from_json(described["recipe"])
    h, w, c = described["shape"]
    empty = blank(recipe, (h, w, c), len(described["classes"] or ()), described["members"])
    network = inference_mode(with_parameters(empty, load_file(path)))
    return np.asarray(network(jnp.asarray(latents), None if labels is None else jnp.asarray(labels)))
