"""A larger network that begins where a smaller one ended: wider, or deeper, and the same function.

Net2Net (Chen, Goodfellow and Shlens 2016, arXiv 1511.05641). Wider: each new channel repeats one of the parent's, and
what the repeated channels feed is shared out among them, unevenly, so that they do not stay the same while training.
Deeper: a new layer is the identity, which a residual block can always be, and a convolution or a dense layer between
two rectifiers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from mulligan.errors import MulliganError
from mulligan.networks.architecture import Discriminator, Generator, Networks, build
from mulligan.networks.layers import Activate, Conv, ConvTranspose, Dense, ImageShape, MinibatchStd
from mulligan.networks.resampling import Down, Up
from mulligan.networks.residual import Block, Fold, Unfold
from mulligan.recipe import Architecture
from mulligan.types import Key

SAME = ("family", "kernel", "resampling", "activation", "latent", "minibatch_std", "attention", "models")
SAME += ("gen_normalisation", "disc_normalisation")
LEAST_SHARE, MOST_SHARE = 0.5, 1.5  # before shares of repeated channels are made to sum to 1


class Widening(NamedTuple):
    """How the channels of a feature map became more.

    Attributes:
      source: the parent's channel that each channel repeats.
      share: of what the parent's channel fed, that each channel feeds; those of one source sum to 1.
    """

    source: Int[np.ndarray, " c"]
    share: Float[np.ndarray, " c"]

    @property
    def even(self) -> bool:
        """Whether all of the parent's channels are repeated alike."""
        counts = np.bincount(self.source)
        return bool((counts == counts[0]).all())


def inherit(parent: Networks, before: Architecture, after: Architecture, shape: ImageShape, key: Key) -> Networks:
    """Networks of the architecture `after` that compute what `parent`, of the architecture `before`, does.

    Exact up to rounding, for networks without classes.

    Args:
      key: of the shares, and of new blocks' weights.

    Raises:
      MulliganError: no such networks can be made; the sentence says why.
    """
    reason = obstacle(before, after)
    if reason:
        raise MulliganError(f"the parent's weights cannot be inherited: {reason}; start from fresh ones.")
    keys = jax.random.split(key, 4)
    taller = after.__class__(**{**vars(after), "gen_width": before.gen_width, "disc_width": before.disc_width})
    gen_fresh, disc_fresh = _own(build(taller, shape, 0, keys[0]))
    gen_wide, disc_wide = _own(build(after, shape, 0, keys[1]))
    gen_parent, disc_parent = _own(parent)
    latent = Widening(np.arange(before.latent), np.ones(before.latent))
    pixels = Widening(np.arange(shape[2]), np.ones(shape[2]))
    gen, _ = _widened(_deepened(gen_parent.layers, gen_fresh.layers), gen_wide.layers, latent, _rng(keys[2]))
    disc, features = _widened(_deepened(disc_parent.layers, disc_fresh.layers), disc_wide.layers, pixels, _rng(keys[3]))
    logit = Widening(np.zeros(1, int), np.ones(1))
    head = _dense(disc_parent.head.dense, disc_wide.head.dense, features, logit)
    return Networks(
        eqx.tree_at(lambda net: net.layers, gen_wide, gen),
        eqx.tree_at(lambda net: (net.layers, net.head.dense), disc_wide, (disc, head)),
    )


def _own(networks: Networks) -> tuple[Generator, Discriminator]:
    """Both players, which are none of the caller's own models: `obstacle` has seen to that."""
    assert isinstance(networks.gen, Generator)
    assert isinstance(networks.disc, Discriminator)
    return networks.gen, networks.disc


def obstacle(before: Architecture, after: Architecture) -> str | None:
    """Why nothing can be inherited, or None."""
    return next(_obstacles(before, after), None)


def _obstacles(before: Architecture, after: Architecture) -> Iterator[str]:
    yield from (f"the two differ in {name}" for name in SAME if getattr(before, name) != getattr(after, name))
    if before.models or before.attention or "spectral" in (before.disc_normalisation, before.gen_normalisation):
        yield "models of the caller's own, attention and spectral normalisation have no wider form"
    for side in ("gen", "disc"):
        width, depth, normalisation = (f"{side}_{part}" for part in ("width", "depth", "normalisation"))
        wider, deeper = (getattr(after, name) - getattr(before, name) for name in (width, depth))
        normal = getattr(before, normalisation)
        if wider < 0 or deeper < 0:
            yield f"the {side} would become smaller"
        if getattr(after, width) % getattr(before, width) and (normal != "none" or before.minibatch_std):
            yield "normalised channels can only be repeated a whole number of times"
        if wider and normal == "group" and getattr(before, width) % 8:
            yield "groups of channels would be cut differently"
        if deeper and not _can_deepen(before, side):
            yield f"a new layer of the family {before.family!r} is the identity only between two relu, unnormalised"


def _can_deepen(architecture: Architecture, side: str) -> bool:
    plain = architecture.activation == "relu" and getattr(architecture, f"{side}_normalisation") == "none"
    return architecture.family == "residual" or plain


# --- deeper


def _deepened(parent: Sequence[Any], fresh: Sequence[Any]) -> list[Any]:
    """The parent's layers, with the identity wherever the fresh ones have one more."""
    left = list(parent)
    found = []
    for layer in fresh:
        found.append(left.pop(0) if left and _kind(layer) == _kind(left[0]) else _identity(layer))
    assert not left, "the deeper network does not hold the parent's layers in their order"
    return found


def _kind(layer: Any) -> Any:
    """What two layers have in common whose weights can be exchanged."""
    leaves, structure = jax.tree.flatten(layer)
    return structure, tuple(leaf.shape for leaf in leaves)


def _identity(layer: Any) -> Any:
    """A new layer that changes nothing: blocks begin so; an activation comes after one that made it needless."""
    if isinstance(layer, Dense):
        return eqx.tree_at(lambda dense: dense.weight, layer, jnp.eye(len(layer.weight)))
    if isinstance(layer, Conv):
        side = layer.kernel.shape[0]
        kernel = jnp.zeros_like(layer.kernel).at[side // 2, side // 2].set(jnp.eye(layer.kernel.shape[2]))
        return eqx.tree_at(lambda conv: conv.kernel, layer, kernel)
    return layer


# --- wider


def _rng(key: Key) -> np.random.Generator:
    return np.random.default_rng(np.asarray(jax.random.bits(key, (4,), "uint32")).tolist())


def widening(before: int, after: int, rng: np.random.Generator) -> Widening:
    """Channels repeated in their order, the first of them once more where they do not divide; shares are drawn.

    Example:
      >>> widening(2, 5, np.random.default_rng(0)).source.tolist()
      [0, 0, 0, 1, 1]
    """
    source = np.sort(np.arange(after) % before)
    drawn = rng.uniform(LEAST_SHARE, MOST_SHARE, after)
    return Widening(source, drawn / np.bincount(source, drawn)[source])


def _widened(
    parent: Sequence[Any], wide: Sequence[Any], entering: Widening, rng: np.random.Generator
) -> tuple[tuple[Any, ...], Widening]:
    """The wide layers with the parent's weights, and how what leaves them was widened."""
    found = []
    for old, new in zip(parent, wide, strict=True):
        layer, entering = WIDE[type(new)](old, new, entering, rng)
        found.append(layer)
    return tuple(found), entering


def _dense(old: Dense, new: Dense, entering: Widening, leaving: Widening) -> Dense:
    """Features are laid out as `[..., channel]` on both sides."""
    ci, co = entering.source.max() + 1, leaving.source.max() + 1
    weight = np.asarray(old.weight).reshape(-1, ci, max(old.bias.size // co, 1), co)
    weight = weight[:, entering.source] * entering.share[:, None, None]
    weight = weight[..., leaving.source].reshape(new.weight.shape)
    bias = np.asarray(old.bias).reshape(-1, co)[:, leaving.source].reshape(new.bias.shape)
    return eqx.tree_at(lambda dense: (dense.weight, dense.bias), new, (_array(weight), _array(bias)))


def _convolution(old: Any, new: Any, entering: Widening, leaving: Widening) -> Any:
    kernel = np.asarray(old.kernel)[:, :, entering.source] * entering.share[:, None]
    bias = np.asarray(old.bias)[leaving.source]
    return eqx.tree_at(lambda conv: (conv.kernel, conv.bias), new, (_array(kernel[..., leaving.source]), _array(bias)))


def _array(values: np.ndarray) -> Array:
    return jnp.asarray(values, jnp.float32)


Wide = tuple[Any, Widening]


def _wide_dense(old: Dense, new: Dense, entering: Widening, rng: np.random.Generator) -> Wide:
    leaving = widening(old.bias.shape[-1], new.bias.shape[-1], rng)
    return _dense(old, new, entering, leaving), leaving


def _wide_conv(old: Any, new: Any, entering: Widening, rng: np.random.Generator) -> Wide:
    leaving = widening(old.bias.shape[0], new.bias.shape[0], rng)
    return _convolution(old, new, entering, leaving), leaving


def _wide_block(old: Block, new: Block, entering: Widening, rng: np.random.Generator) -> Wide:
    """Its result is added to its input, so both are widened alike."""
    first, inner = _wide_conv(old.expand, new.expand, entering, rng)
    middle, last = _wide_conv(old.mix, new.mix, inner, rng)
    merge = _convolution(old.merge, new.merge, last, entering)
    return eqx.tree_at(lambda block: (block.expand, block.mix, block.merge), new, (first, middle, merge)), entering


def _wide_unfold(old: Unfold, new: Unfold, entering: Widening, rng: np.random.Generator) -> Wide:
    amplitudes, leaving = _wide_dense(old.amplitudes, new.amplitudes, entering, rng)
    maps = jnp.asarray(old.maps)[..., leaving.source]
    return eqx.tree_at(lambda unfold: (unfold.amplitudes, unfold.maps), new, (amplitudes, maps)), leaving


def _wide_fold(old: Fold, new: Fold, entering: Widening, rng: np.random.Generator) -> Wide:
    return eqx.tree_at(lambda fold: fold.maps, new, jnp.asarray(old.maps)[..., entering.source]), entering


def _wide_std(old: MinibatchStd, new: MinibatchStd, entering: Widening, rng: np.random.Generator) -> Wide:
    """One more channel, which is not repeated."""
    source = np.append(entering.source, entering.source.max() + 1)
    return new, Widening(source, np.append(entering.share, 1.0))


def _unchanged(old: Any, new: Any, entering: Widening, rng: np.random.Generator) -> Wide:
    return new, entering


WIDE: dict[type, Callable[[Any, Any, Widening, np.random.Generator], Wide]] = {
    Dense: _wide_dense,
    Conv: _wide_conv,
    ConvTranspose: _wide_conv,
    Block: _wide_block,
    Unfold: _wide_unfold,
    Fold: _wide_fold,
    MinibatchStd: _wide_std,
    Activate: _unchanged,
    Up: _unchanged,
    Down: _unchanged,
}
