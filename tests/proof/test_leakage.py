"""Copies are counted, dull images are not taken for copies, and members are told where they were copied."""

import numpy as np
import pytest

from mulligan.proof.leakage import matched, near_copies, nearness_attack, relative_distances


def cloud(rng, n):
    return rng.standard_normal((n, 12)).astype(np.float32)


def copying(rng, train, n, share):
    """New images, and this share of near copies."""
    drawn = cloud(rng, n)
    copies = rng.random(n) < share
    drawn[copies] = train[rng.integers(len(train), size=copies.sum())] + 0.01 * cloud(rng, int(copies.sum()))
    return drawn


@pytest.mark.parametrize("share", [0.0, 0.3])
def test_the_interval_covers_the_known_share_of_copies(share):
    rng = np.random.default_rng(0)
    covered = []
    for _ in range(20):
        train = cloud(rng, 400)
        found = near_copies(copying(rng, train, 500, share), train, cloud(rng, 300))
        covered.append(found.excess.low <= share * 0.95 <= found.excess.high)
        assert found.found is (share > 0)
    assert sum(covered) >= 17


def test_dull_images_are_near_to_many_and_copy_none():
    rng = np.random.default_rng(1)
    train, held_out = cloud(rng, 400), cloud(rng, 300)
    dull = 0.05 * cloud(rng, 500)
    assert np.median(relative_distances(dull, train)) > np.median(relative_distances(held_out, train))
    assert not near_copies(dull, train, held_out).found


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_members_are_told_where_they_were_copied(share):
    rng = np.random.default_rng(2)
    known = 0
    for _ in range(20):
        train = cloud(rng, 300)
        attack = nearness_attack(train, cloud(rng, 200), copying(rng, train, 1000, share))
        known += attack.low > 0
        assert attack.high > (0.2 if share else -0.1)
    assert known >= 19 if share else known <= 2


def test_a_place_where_all_are_alike_is_no_copy():
    same = np.ones((60, 2))
    assert relative_distances(same[:3], same).tolist() == [1.0, 1.0, 1.0]


def test_an_attack_does_not_live_on_classes_that_are_commoner_in_training():
    rng = np.random.default_rng(3)
    train_labels, held_labels = np.repeat([0, 1], [450, 50]).astype(np.int32), np.repeat([0, 1], 100).astype(np.int32)
    train, held_out = (cloud(rng, len(labels)) + 9 * labels[:, None] for labels in (train_labels, held_labels))
    generated = cloud(rng, 500)  # of the first class alone
    assert nearness_attack(train, held_out, generated).low > 0.2
    members, others = matched(train_labels, held_labels)
    assert np.bincount(train_labels[members]).tolist() == [100, 50]
    assert np.bincount(held_labels[others]).tolist() == [100, 50]
    found = nearness_attack(train[members], held_out[others], generated)
    assert found.low < 0 < found.high


def test_more_members_are_taken_where_every_class_has_them():
    labels = np.tile([0, 1], 50).astype(np.int32)
    members, others = matched(labels, labels[:20])
    assert (len(members), len(others)) == (100, 20)
    assert [len(rows) for rows in matched(labels, labels[:3] + 5)] == [100, 3]
