import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mulligan.game.augment import POLICIES, _shift_matrix, augment

KEY = jax.random.key(0)
IMAGES = jax.random.uniform(jax.random.key(1), (400, 16, 12, 3), minval=-1, maxval=1)


@pytest.mark.parametrize("name", POLICIES)
def test_strength_zero_changes_nothing(name):
    np.testing.assert_array_equal(POLICIES[name](IMAGES, jnp.float32(0), KEY), IMAGES)


@pytest.mark.parametrize(("name", "share"), [("colour", 0.3), ("cutout", 0.3), ("flip", 0.15), ("translate", 0.3)])
def test_strength_is_the_share_of_images_that_change(name, share):
    changed = jnp.any(POLICIES[name](IMAGES, jnp.float32(0.3), KEY) != IMAGES, axis=(1, 2, 3))
    # 400 images: five standard errors; a shift by (0, 0) or a hole outside changes a chosen image not at all.
    assert float(changed.mean()) == pytest.approx(share, abs=5 * np.sqrt(share * (1 - share) / 400))


@pytest.mark.parametrize("name", POLICIES)
def test_jit_and_slopes(name):
    policy = POLICIES[name]
    eager = policy(IMAGES, jnp.float32(1), KEY)
    np.testing.assert_allclose(jax.jit(policy)(IMAGES, jnp.float32(1), KEY), eager, atol=1e-6)
    slope = jax.grad(lambda x: jnp.sum(policy(x, jnp.float32(1), KEY) ** 2))(IMAGES)
    assert jnp.isfinite(slope).all()
    assert float(jnp.abs(slope).sum()) > 0


@pytest.mark.parametrize("offset", [-2, 0, 1])
def test_shift_repeats_the_edge(offset):
    line = jnp.arange(5.0)
    moved = _shift_matrix(jnp.array([offset]), 5)[0] @ line
    np.testing.assert_array_equal(moved, np.clip(np.arange(5) - offset, 0, 4))


def test_translation_moves_all_channels_alike():
    image = jnp.zeros((200, 16, 16, 2)).at[:, 8, 8].set(jnp.array([1.0, 2.0]))
    moved = POLICIES["translate"](image, jnp.float32(1), KEY)
    np.testing.assert_allclose(moved[..., 1], 2 * moved[..., 0])
    place = jnp.argmax(moved[..., 0].reshape(200, -1), axis=1)
    down, right = place // 16 - 8, place % 16 - 8
    assert (int(down.min()), int(down.max()), int(right.min()), int(right.max())) == (-2, 2, -2, 2)


def test_cutout_removes_at_most_a_quarter():
    holes = (POLICIES["cutout"](jnp.ones((200, 16, 12, 1)), jnp.float32(1), KEY) == 0).sum(axis=(1, 2, 3))
    assert int(holes.max()) == 8 * 6
    assert int(holes.min()) >= 4 * 3


def test_policies_follow_each_other():
    both = augment(["flip", "cutout"])(IMAGES, jnp.float32(1), KEY)
    first = POLICIES["flip"](IMAGES, jnp.float32(1), jax.random.fold_in(KEY, 0))
    np.testing.assert_array_equal(both, POLICIES["cutout"](first, jnp.float32(1), jax.random.fold_in(KEY, 1)))
    np.testing.assert_array_equal(augment([])(IMAGES, jnp.float32(1), KEY), IMAGES)
