import jax
import numpy as np
import pytest
from safetensors.numpy import load, save

from mulligan.errors import MulliganError
from mulligan.networks.architecture import build
from mulligan.networks.parameters import named_parameters, with_parameters
from mulligan.recipe import Architecture

ARCHITECTURE = Architecture("mlp", gen_width=4, disc_width=4, gen_depth=1, disc_depth=1, latent=3)


@pytest.fixture(scope="module")
def both():
    return build(ARCHITECTURE, (8, 8, 1), 2, jax.random.key(0))


def as_numpy(module):
    return {name: np.asarray(leaf) for name, leaf in named_parameters(module).items()}


def test_names_say_where(both):
    names = list(named_parameters(both))
    assert names[0] == "gen.classes.vectors"
    assert "gen.layers.0.weight" in names
    assert "disc.head.dense.bias" in names
    assert len(names) == len(jax.tree.leaves(both))


def test_safetensors_round_trip(both):
    other = build(ARCHITECTURE, (8, 8, 1), 2, jax.random.key(1))
    back = with_parameters(other, load(save(as_numpy(both))))
    assert jax.tree.structure(back) == jax.tree.structure(both)
    jax.tree.map(np.testing.assert_array_equal, back, both)


def test_a_missing_name(both):
    parameters = as_numpy(both)
    del parameters["gen.layers.0.weight"]
    with pytest.raises(MulliganError, match=r"gen\.layers\.0\.weight is missing; use the recipe"):
        with_parameters(both, parameters)


def test_an_unknown_name(both):
    with pytest.raises(MulliganError, match="extra is not in this network"):
        with_parameters(both, {**as_numpy(both), "extra": np.zeros(1, np.float32)})


@pytest.mark.parametrize("wrong", [np.zeros((6, 5), np.float32), np.zeros((6, 4), np.float64)])
def test_another_shape_or_type(both, wrong):
    with pytest.raises(MulliganError, match=r"gen\.layers\.0\.weight is float.*, not float32\[6, 4\]"):
        with_parameters(both, {**as_numpy(both), "gen.layers.0.weight": wrong})


def test_many_problems_are_counted(both):
    with pytest.raises(MulliganError, match="and 7 more"):
        with_parameters(both, {})
