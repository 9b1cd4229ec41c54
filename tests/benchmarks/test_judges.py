"""Patches of edges: what they see of images, and what they do not."""

import numpy as np
import pytest

from benchmarks.metrics.judges import PATCHES, edge_space, edges, energy_distance, in_one_scale


def noise(seed, channels=3):
    return np.random.default_rng(seed).integers(64, 192, (30, 32, 32, channels)).astype(np.uint8)


@pytest.mark.parametrize("channels", [1, 3])
def test_flat_images_of_any_colour_have_no_edges(channels):
    flat = np.broadcast_to(noise(0, channels)[:, :1, :1], (30, 32, 32, channels))
    for space in edges().values():
        assert space(flat).shape == (30 * PATCHES, 7 * 7 * 3)
        assert not space(flat).any()


def test_details_are_seen_at_their_own_size():
    """Blocks of 2x2 pixels have no details of one pixel, and blocks of 4x4 none of two."""
    twos, fours = (noise(0)[:, ::side, ::side].repeat(side, 1).repeat(side, 2) for side in (2, 4))
    assert not edge_space(1, twos).any()
    assert edge_space(2, twos).any()
    assert not edge_space(2, fours).any()


def test_dots_are_farther_from_noise_than_other_noise_is():
    dots = (128 + 60 * (-1.0) ** np.add.outer(np.arange(32), np.arange(32))).astype(np.uint8)
    dots = np.broadcast_to(dots[..., None], (30, 32, 32, 3))
    far, near = (
        energy_distance(*in_one_scale(edge_space(1, noise(0)), edge_space(1, other))) for other in (dots, noise(1))
    )
    assert far > 10 * abs(near)
