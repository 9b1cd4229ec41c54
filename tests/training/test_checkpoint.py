import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mulligan.errors import MulliganError
from mulligan.training import checkpoint

STATE = {"key": jax.random.key(3), "weights": [jnp.arange(6.0).reshape(2, 3), jnp.int32(7)]}


def saved(path, sequence=0):
    path.mkdir(exist_ok=True)
    file = checkpoint.path_of(path, sequence)
    checkpoint.write(file, checkpoint.arrays_of(STATE, "state"), {"sequence": sequence, "best": None})
    return file


def test_round_trip_keeps_every_bit_and_the_random_key(tmp_path):
    read = checkpoint.read(saved(tmp_path))
    blank = jax.tree.map(lambda leaf: leaf if leaf.dtype == STATE["key"].dtype else jnp.zeros_like(leaf), STATE)
    state = checkpoint.restored(blank, read.arrays, "state")
    np.testing.assert_array_equal(state["weights"][0], STATE["weights"][0])
    assert state["weights"][1].dtype == jnp.int32
    np.testing.assert_array_equal(jax.random.normal(state["key"], (3,)), jax.random.normal(STATE["key"], (3,)))
    assert read.progress == {"sequence": 0, "best": None}


@pytest.mark.parametrize("damage", ["truncate", "flip", "empty", "garbage"])
def test_damage_is_noticed_and_the_one_before_is_used(tmp_path, damage):
    saved(tmp_path, 1)
    file = saved(tmp_path, 2)
    content = bytearray(file.read_bytes())
    content[-3] ^= 1
    file.write_bytes({"truncate": content[:-9], "flip": content, "empty": b"", "garbage": b"\x00" * 99}[damage])
    read, lost = checkpoint.newest(tmp_path)
    assert read is not None
    assert read.progress["sequence"] == 1
    assert len(lost) == 1
    assert file.name in lost[0]


def test_altered_metadata_is_noticed(tmp_path):
    """The checksum covers what the loop knows as well as the arrays."""
    file = saved(tmp_path)
    file.write_bytes(file.read_bytes().replace(b'\\"sequence\\": 0', b'\\"sequence\\": 9'))
    with pytest.raises(MulliganError, match="checksum"):
        checkpoint.read(file)


def test_no_checkpoint_at_all(tmp_path):
    assert checkpoint.newest(tmp_path) == (None, [])


def test_prune_keeps_the_newest_and_the_good_one(tmp_path):
    for sequence in range(6):
        saved(tmp_path, sequence)
    checkpoint.prune(tmp_path, keep=[1])
    assert [int(file.stem) for file in sorted(tmp_path.glob("*.safetensors"))] == [1, 4, 5]


def test_another_network_is_refused(tmp_path):
    read = checkpoint.read(saved(tmp_path))
    with pytest.raises(MulliganError, match="another network"):
        checkpoint.restored({**STATE, "weights": [jnp.zeros((3, 3)), jnp.int32(0)]}, read.arrays, "state")
