"""Every format, opened by its own runtime: the same images from every kind of layer, and refusals in a sentence."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mulligan import api
from mulligan.errors import MulliganError, UsageError
from mulligan.exports import export as exporting
from mulligan.exports.export import FORMATS, TOLERANCE, compared, export
from mulligan.networks.architecture import build
from mulligan.networks.layers import ACTIVATIONS
from mulligan.networks.mixture import Mixture
from mulligan.recipe import Architecture, Recipe
from mulligan.training.generator import Generator

pytest.importorskip("keras", reason="Keras is not installed")
pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")

SMALL = {"gen_width": 4, "disc_width": 4, "latent": 3}
BILINEAR = {"resampling": "bilinear", "kernel": 3, "gen_normalisation": "pixel", "attention": True, "gen_depth": 1}
GROUPS = {"resampling": "nearest", "kernel": 5, "gen_normalisation": "group"}
CASES = {  # name: (architecture, image shape, classes)
    "mlp": (Architecture("mlp", **SMALL, gen_depth=1, disc_depth=1), (8, 9, 3), 0),
    "mlp, normalised": (
        Architecture("mlp", **SMALL, gen_depth=2, disc_depth=1, gen_normalisation="group", activation="silu"),
        (8, 9, 1),
        2,
    ),
    "conv": (Architecture("conv", **SMALL), (10, 15, 1), 0),
    "conv, bilinear": (Architecture("conv", **SMALL, **BILINEAR, activation="gelu"), (9, 11, 3), 3),
    "conv, folded": (Architecture("conv", **SMALL, resampling="folded", kernel=3), (10, 13, 3), 0),
    "conv, filtered": (Architecture("conv", **SMALL, resampling="filtered", kernel=3), (10, 13, 3), 0),
    "conv, nearest": (Architecture("conv", **SMALL, **GROUPS, activation="elu"), (8, 11, 4), 0),
    "residual": (Architecture("residual", **SMALL, gen_depth=1, disc_depth=1, kernel=4), (11, 8, 1), 0),
    "residual, bilinear": (
        Architecture("residual", **{**SMALL, **BILINEAR}, disc_depth=1, activation="tanh"),
        (9, 8, 4),
        2,
    ),
}
QUICK = ("mlp", "mlp, normalised", "conv")  # Keras compiles each of its layers by itself, which takes seconds
EXACT = 2e-5  # a fifth of what an export may differ by; processors add up in different orders


def generator(name: str, members: int = 1) -> Generator:
    """A generator whose every parameter has moved, for some start at zero and hide what comes before."""
    architecture, shape, classes = CASES[name]
    fresh = build(architecture, shape, classes, jax.random.key(0)).gen
    rng = np.random.default_rng(0)
    moved = [
        jax.tree.map(lambda leaf: leaf + 0.3 * rng.standard_normal(leaf.shape, np.float32), fresh)
        for _ in range(members)
    ]
    network = moved[0] if members == 1 else Mixture(tuple(moved), jnp.array([0.2, 0.3, 0.5]))
    names = tuple(map(str, range(classes))) if classes else None
    return Generator(Recipe(architecture=architecture), shape, names, network)


@pytest.mark.parametrize(
    ("name", "to"),
    [
        pytest.param(name, to, marks=pytest.mark.slow)
        if (to == "keras" and name not in QUICK) or name.endswith("bilinear")
        else (name, to)
        for name in CASES
        for to in FORMATS
        if to != "savedmodel"  # TensorFlow's own, below
    ],
)
def test_every_family_draws_the_same(name, to, tmp_path):
    done = export(generator(name), to, tmp_path / "out")
    assert done.path.exists()
    assert done.difference < EXACT


def test_the_cases_have_every_activation():
    assert {architecture.activation for architecture, _, _ in CASES.values()} >= set(ACTIVATIONS) - {"relu"}


@pytest.mark.parametrize("name", ["mlp", "mlp, normalised"])
@pytest.mark.parametrize("to", ["keras", "onnx", "safetensors"])
def test_a_mixture_draws_with_the_same_members(name, to, tmp_path, monkeypatch):
    mixed = generator(name, members=3)
    monkeypatch.setattr(exporting, "PROBES", 40)
    latents = np.random.default_rng(exporting.PROBE_SEED).standard_normal((40, 3), np.float32)
    assert len(set(mixed.network.drawing(jnp.asarray(latents)).tolist())) == 3
    assert export(mixed, to, tmp_path / "out").difference < EXACT


@pytest.mark.slow
@pytest.mark.parametrize("name", ["conv", "conv, bilinear"])
def test_savedmodel_serves_the_same(name, tmp_path):
    pytest.importorskip("tensorflow", reason="TensorFlow is not installed")
    done = export(generator(name, members=3), "savedmodel", tmp_path / "served")
    assert (done.path / "saved_model.pb").is_file()
    assert done.difference < EXACT


def test_an_export_of_other_weights_is_caught_and_leaves_nothing(tmp_path, monkeypatch):
    other = generator("mlp")
    honest = FORMATS["onnx"]
    wrong = honest._replace(write=lambda given, path: honest.write(other, path))
    monkeypatch.setitem(exporting.FORMATS, "onnx", wrong)
    bent = Generator(other.recipe, other.shape, None, jax.tree.map(lambda leaf: leaf * 1.01, other.network))
    with pytest.raises(MulliganError, match="draws other images than mulligan"):
        export(bent, "onnx", tmp_path / "out.onnx")
    assert not list(tmp_path.iterdir())


def test_onnx_takes_any_batch_and_gives_bytes_range(tmp_path):
    import onnxruntime

    held = generator("conv")
    path, _, _ = api.export(held, "onnx", tmp_path / "g.onnx")
    session = onnxruntime.InferenceSession(str(path))
    for n in (1, 7):
        latents = np.random.default_rng(n).standard_normal((n, 3), np.float32)
        (images,) = session.run(None, {"latents": latents})
        assert (images.shape, images.dtype) == ((n, 10, 15, 1), np.float32)
        assert images.min() >= 0
        assert 128 < images.max() <= 255


BACKENDS = {"jax": "jax", "tensorflow": "tensorflow", "torch": "torch"}
ELSEWHERE = """
import sys
sys.modules["mulligan"] = None  # whoever imports it fails
import keras, numpy as np
model = keras.saving.load_model(sys.argv[1])
assert keras.backend.backend() == sys.argv[2]
latents = np.random.default_rng(0).standard_normal((9, 3)).astype("float32")
labels = np.arange(9, dtype="int32") % 3
np.save(sys.argv[3], model.predict({"latents": latents, "labels": labels}, verbose=0))
"""


@pytest.mark.slow
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_keras_file_opens_without_mulligan_in_every_backend(backend, tmp_path):
    if find_spec(BACKENDS[backend]) is None:
        pytest.skip(f"{backend} is not installed")
    held = generator("conv, bilinear", members=3)
    export(held, "keras", tmp_path / "g.keras")
    environment = {**os.environ, "KERAS_BACKEND": backend}
    command = [sys.executable, "-c", ELSEWHERE, tmp_path / "g.keras", backend, tmp_path / "drawn.npy"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    latents = np.random.default_rng(0).standard_normal((9, 3)).astype(np.float32)
    ours = held.network(jnp.asarray(latents), jnp.arange(9) % 3)
    assert np.abs(np.load(tmp_path / "drawn.npy") - ours).max() < EXACT


def test_safetensors_names_every_weight_and_says_what_it_is(tmp_path):
    from safetensors import safe_open

    export(generator("mlp"), "safetensors", tmp_path / "g.safetensors")
    with safe_open(tmp_path / "g.safetensors", framework="numpy") as file:
        assert list(file.keys()) == [f"layers.{layer}.{part}" for layer in (0, 2) for part in ("bias", "weight")]
        described = json.loads(file.metadata()["mulligan"])
    assert described["shape"] == [8, 9, 3]
    assert Recipe.from_json(described["recipe"]).architecture == CASES["mlp"][0]


def test_an_unknown_format_and_a_place_that_is_taken(tmp_path):
    (tmp_path / "g.onnx").write_text("mine")
    with pytest.raises(UsageError, match="'pth' is not a format to export to; choose keras, onnx"):
        export(generator("mlp"), "pth", tmp_path / "g")
    with pytest.raises(UsageError, match=r"g\.onnx already exists: choose another place"):
        export(generator("mlp"), "onnx", tmp_path / "g.onnx")
    assert (tmp_path / "g.onnx").read_text() == "mine"


@pytest.mark.parametrize(
    ("to", "missing", "sentence"),
    [
        ("onnx", "onnx", "an ONNX file needs onnx: pip install 'mulligan[onnx]'."),
        ("onnx", "onnxruntime", "checking an ONNX file needs onnxruntime: pip install 'mulligan[onnx]'."),
        ("keras", "keras", "a .keras file needs Keras: pip install 'mulligan[keras]'."),
    ],
)
def test_what_is_not_installed_is_named(to, missing, sentence, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(MulliganError) as refusal:
        export(generator("mlp"), to, tmp_path / "out")
    assert str(refusal.value) == sentence


def test_savedmodel_without_tensorflow_is_a_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MulliganError, match=r"a SavedModel needs TensorFlow: pip install 'mulligan\[savedmodel\]'"):
        export(generator("mlp"), "savedmodel", tmp_path / "out")


def test_the_tolerance_is_met_by_the_runtime_alone(tmp_path):
    held = generator("residual")
    FORMATS["onnx"].write(held, tmp_path / "g.onnx")
    assert 0 < compared(held, FORMATS["onnx"], tmp_path / "g.onnx") < TOLERANCE
