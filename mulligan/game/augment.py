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


def _chosen(key: Key, strength: Float[Array, ""], n: int) -> Float[Array, "n 1 1 1"]:
    """One with probability `strength` for each image, else zero."""
    return jax.random.bernoulli(key, strength, (n, 1, 1, 1)).astype(jnp.float32)


def colour(images: Pixels, strength: Float[Array, ""], key: Key) -> Pixels:
    """Brightness shifted by up to 0.5, saturation and contrast scaled by up to 2 and by 0.5 to 1.5."""
    chosen, *keys = jax.random.split(key, 4)
    n = images.shape[0]
    brightness, saturation, contrast = (jax.random.uniform(each, (n, 1, 1, 1)) for each in keys)
    changed = images + brightness - 0.5
    grey = jnp.mean(changed, axis=3, keepdims=True)
    changed = grey + (changed - grey) * 2 * saturation
    mean = jnp.mean(changed, axis=(1, 2, 3), keepdims=True)
    changed = mean + (changed - mean) * (0.5 + contrast)
    return images + _chosen(chosen, strength, n) * (changed - images)


def _shift_matrix(offset: Int[Array, " n"], side: int) -> Float[Array, "n side side"]:
    """Matrices that move a line of `side` pixels by `offset`, repeating the edge pixel."""
    source = jnp.clip(jnp.arange(side) - offset[:, None], 0, side - 1)
    return jax.nn.one_hot(source, side)


def translate(images: Pixels, strength: Float[Array, ""], key: Key) -> Pixels:
    """Moved by up to an eighth of each side; edge pixels are repeated.

    As two small matrix products an image: differentiable any number of times, and faster than gathers on a CPU.
    """
    chosen, down, right = jax.random.split(key, 3)
    n, h, w, _ = images.shape
    # An image that is not chosen is moved by nothing: all pass through the same products.
    applied = _chosen(chosen, strength, n)[:, 0, 0, 0].astype(jnp.int32)
    rows, columns = (
        _shift_matrix(applied * jax.random.randint(each, (n,), -(side // 8), side // 8 + 1), side)
        for each, side in ((down, h), (right, w))
    )
    return jnp.einsum("nij,nkl,njlc->nikc", rows, columns, images)


def cutout(images: Pixels, strength: Float[Array, ""], key: Key) -> Pixels:
    """A grey rectangle of half of each side, somewhere, perhaps partly outside."""
    chosen, top, left = jax.random.split(key, 3)
    n, h, w, _ = images.shape
    inside = []
    for each, side in ((top, h), (left, w)):
        start, place = jax.random.randint(each, (n, 1), -(side // 4), side - side // 4), jnp.arange(side)
        inside.append(((place >= start) & (place < start + side // 2)).astype(jnp.float32))
    hole = inside[0][:, :, None, None] * inside[1][:, None, :, None]
    return images * (1 - hole * _chosen(chosen, strength, n))


def flip(images: Pixels, strength: Float[Array, ""], key: Key) -> Pixels:
    """Mirrored left to right with half of the probability `strength`."""
    chosen = _chosen(key, strength / 2, images.shape[0])
    return images + chosen * (images[:, :, ::-1] - images)


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
