"""Differentiable augmentation: what the discriminator is shown, real and fake alike.

A policy is `(images [n,h,w,c] in [-1,1], strength [], key) -> images`. `strength` is the probability, traced, that
the policy changes an image at all: below about 0.8 the generator cannot learn the change instead of the images
(Karras et al. 2020, arXiv 2006.06676). The changes are those of Zhao et al. 2020 (arXiv 2006.10738).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from mulligan.types import Key, Pixels

Policy = Callable[[Pixels, Float[Array, ""], Key], Pixels]


def _drawn(key: Key, count: int, n: int) -> Float[Array, "count n 1 1 1"]:
    """Numbers from 0 to 1 for each image. One draw for all that a policy wants: each is a program to compile."""
    return jax.random.uniform(key, (count, n, 1, 1, 1))


def colour(images: Pixels, strength: Float[Array, ""], key: Key) -> Pixels:
    """Brightness shifted by up to 0.5, saturation and contrast scaled by up to 2 and by 0.5 to 1.5."""
    chance, brightness, saturation, contrast = _drawn(key, 4, len(images))
    changed = images + brightness - 0.5
    grey = jnp.mean(changed, axis=3, keepdims=True)
    changed = grey + (changed - grey) * 2 * saturation
    mean = jnp.mean(changed, axis=(1, 2, 3), keepdims=True)
    changed = mean + (changed - mean) * (0.5 + contrast)
    return images + (chance < strength) * (changed - images)


def _shift_matrix(offset: Int[Array, " n"], side: int) -> Float[Array, "n side side"]:
    """Matrices that move a line of `side` pixels by `offset`, repeating the edge pixel."""
    source = jnp.clip(jnp.arange(side) - offset[:, None], 0, side - 1)
    return jax.nn.one_hot(source, side)


def translate(images: Pixels, strength: Float[Array, ""], key: Key) -> Pixels:
    """Moved by up to an eighth of each side; edge pixels are repeated.

    As two small matrix products an image: differentiable any number of times, and faster than gathers on a CPU.
    """
    n, h, w, _ = images.shape
    chance, *places = _drawn(key, 3, n)[..., 0, 0, 0]
    # An image that is not chosen is moved by nothing: all pass through the same products.
    rows, columns = (
        _shift_matrix((chance < strength) * _whole(place, -(side // 8), side // 8), side)
        for place, side in zip(places, (h, w), strict=True)
    )
    return jnp.einsum("nij,nkl,njlc->nikc", rows, columns, images)


def _whole(place: Float[Array, "..."], low: int, high: int) -> Int[Array, "..."]:
    """Whole numbers from `low` to `high`, both included, all alike: of numbers from 0 to 1."""
    return low + jnp.floor(place * (high - low + 1)).astype(jnp.int32)


def cutout(images: Pixels, strength: Float[Array, ""], key: Key) -> Pixels:
    """A grey rectangle of half of each side, somewhere, perhaps partly outside."""
    n, h, w, _ = images.shape
    chance, *places = _drawn(key, 3, n)
    inside = []
    for place, side in zip(places, (h, w), strict=True):
        start, line = _whole(place[..., 0, 0], -(side // 4), side - side // 4 - 1), jnp.arange(side)
        inside.append((line >= start) & (line < start + side // 2))
    hole = inside[0][:, :, None, None] & inside[1][:, None, :, None]
    return images * (1 - (hole & (chance < strength)))


def flip(images: Pixels, strength: Float[Array, ""], key: Key) -> Pixels:
    """Mirrored left to right with half of the probability `strength`."""
    (chance,) = _drawn(key, 1, len(images))
    return images + (chance < strength / 2) * (images[:, :, ::-1] - images)


POLICIES: dict[str, Policy] = {"colour": colour, "translate": translate, "cutout": cutout, "flip": flip}


def augment(names: Sequence[str]) -> Policy:
    """The policies of these names, one after the other; no names give the identity.

    Args:
      names: of `POLICIES`.
    """

    def policy(images, strength, key):
        for index, name in enumerate(names):
            images = POLICIES[name](images, strength, jax.random.fold_in(key, index))
        return images

    return policy
