"""A larger network that begins where a smaller one ended: wider, or deeper, and the same function.

Net2Net (Chen, Goodfellow and Shlens 2016, arXiv 1511.05641). Wider: each new channel repeats one of the parent's, and
what the repeated channels feed is shared out among them, unevenly, so that they do not stay the same while training.
Deeper: a new layer is the identity, which a residual block can always be, and a convolution or a dense layer between
two rectifiers. Between leaky ones, `f` of slope `a`, it can where it has either sign of every channel to give, for
`x = (f(x) - f(-x)) / (1 + a)`.

What follows the regularised leader has a scale for each parameter beside the parameter
(`meta.initialisation.adaptation`). A child plays as its parent did where a weight whose input is shared by `p` and
whose output is shared by `q` has the scale `s p / q` of the parent's `s`: its gradient is `q` times the parent's, and
together those of one source move as it did.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from mulligan.errors import MulliganError
from mulligan.networks.architecture import Networks, build
from mulligan.networks.layers import SLOPES, Activate, Conv, ConvTranspose, Dense, ImageShape, MinibatchStd
from mulligan.networks.resampling import Down, Up
from mulligan.networks.residual import Block, Fold, Unfold
from mulligan.recipe import Architecture
from mulligan.types import Key

GROWS = ("gen_width", "disc_width", "gen_depth", "disc_depth")
SAME = tuple(field.name for field in dataclasses.fields(Architecture) if field.name not in GROWS)
LEAST_SHARE, MOST_SHARE = 0.5, 1.5  # before shares of repeated channels are made to sum to 1


class Widening(NamedTuple):
    """How the channels of a feature map became more.

    Attributes:
      source: the parent's channel that each channel repeats.
      share: of what the parent's channel fed, that each channel feeds; channels of one source times their shares,
        after the activation, sum to the parent's.
      factor: what each channel is of the parent's, before the activation: 1, or -1 where it is mirrored.
    """

    source: Int[np.ndarray, " c"]
    share: Float[np.ndarray, " c"]
    factor: Float[np.ndarray, " c"]


Repeat = Callable[[int, int], Widening]  # of so many channels, so many more


def inherit(parent: Networks, before: Architecture, after: Architecture, shape: ImageShape, key: Key) -> Networks:
    """Networks of the architecture `after` that compute what `parent`, of the architecture `before`, does.

    Exact up to rounding, for networks without classes.

    Args:
      key: of the shares, and of new blocks' weights.

    Raises:
      MulliganError: no such networks can be made; the sentence says why.
    """
    return _grown(parent, before, after, shape, key, _identity, lambda repeated: repeated)


def inherit_scale(
    scale: Networks, before: Architecture, after: Architecture, shape: ImageShape, key: Key, fresh: float
) -> Networks:
    """The scales with which what `inherit` made, with the same key, plays as its parent did with `scale`.

    Exact but for what was added: a new layer moves too, with the scale `fresh`, and what comes after one that mirrors
    channels moves a few hundredths more or less.

    Raises:
      MulliganError: no such networks can be made; the sentence says why.
    """
    added = lambda layer: jax.tree.map(lambda leaf: jnp.full_like(leaf, fresh), layer)  # noqa: E731

    def moves(repeated: Widening) -> Widening:
        share = np.abs(repeated.share)
        return Widening(repeated.source, share, 1 / share)

    return _grown(scale, before, after, shape, key, added, moves)


def _grown(
    parent: Networks,
    before: Architecture,
    after: Architecture,
    shape: ImageShape,
    key: Key,
    added: Callable[[Any], Any],
    seen: Callable[[Widening], Widening],
) -> Networks:
    reason = obstacle(before, after)
    if reason:
        raise MulliganError(f"the parent's weights cannot be inherited: {reason}; start from fresh ones.")
    keys = jax.random.split(key, 4)
    taller = after.__class__(**{**vars(after), "gen_width": before.gen_width, "disc_width": before.disc_width})
    gen_fresh, disc_fresh = build(taller, shape, 0, keys[0]).own()
    gen_wide, disc_wide = build(after, shape, 0, keys[1]).own()
    gen_parent, disc_parent = parent.own()
    latent, pixels = seen(_same(before.latent)), seen(_same(shape[2]))
    slope = SLOPES.get(after.activation, 0.0)

    def grown(parent: Any, fresh: Any, wide: Any, entering: Widening, key: Key) -> tuple[tuple[Any, ...], Widening]:
        """The wide layers with the parent's weights, and how what leaves them was widened."""
        rng = np.random.default_rng(np.asarray(jax.random.bits(key, (4,), "uint32")).tolist())
        repeat = lambda before, after: seen(widening(before, after, rng))  # noqa: E731
        mirror = lambda before, after: seen(mirroring(before, after, slope, rng))  # noqa: E731
        left, layers = list(parent), []
        for as_deep, new in zip(fresh, wide, strict=True):
            # A layer that the parent lacks is added; between leaky rectifiers it needs both signs of its channels.
            if left and _kind(as_deep) == _kind(left[0]):
                old, how = left.pop(0), repeat
            else:
                old, how = added(as_deep), mirror if slope else repeat
            layer, entering = WIDE[type(new)](old, new, entering, how)
            layers.append(layer)
        assert not left, "the deeper network does not hold the parent's layers in their order"
        return tuple(layers), entering

    gen, _ = grown(gen_parent.layers, gen_fresh.layers, gen_wide.layers, latent, keys[2])
    disc, features = grown(disc_parent.layers, disc_fresh.layers, disc_wide.layers, pixels, keys[3])
    head, _ = _dense(disc_parent.head.dense, disc_wide.head.dense, features, lambda *_: seen(_same(1)))
    return Networks(
        eqx.tree_at(lambda net: net.layers, gen_wide, gen),
        eqx.tree_at(lambda net: (net.layers, net.head.dense), disc_wide, (disc, head)),
    )


def obstacle(before: Architecture, after: Architecture) -> str | None:
    """Why nothing can be inherited, or None."""
    return next(_obstacles(before, after), None)


def _obstacles(before: Architecture, after: Architecture) -> Iterator[str]:
    yield from (f"the two differ in {name}" for name in SAME if getattr(before, name) != getattr(after, name))
    if before.models or before.attention or "spectral" in (before.disc_normalisation, before.gen_normalisation):
        yield "models of the caller's own, attention and spectral normalisation have no wider form"
    rectified, leaky = before.activation in SLOPES, before.activation == "leaky_relu"
    for side in ("gen", "disc"):
        width, depth, normalisation = (f"{side}_{part}" for part in ("width", "depth", "normalisation"))
        wider, deeper = (getattr(after, name) - getattr(before, name) for name in (width, depth))
        normal, doubled = getattr(before, normalisation), getattr(after, width) >= 2 * getattr(before, width)
        if wider < 0 or deeper < 0:
            yield f"the {side} would become smaller"
        if getattr(after, width) % getattr(before, width) and (normal != "none" or before.minibatch_std):
            yield "normalised channels can only be repeated a whole number of times"
        if wider and normal == "group" and getattr(before, width) % 8:
            yield "groups of channels would be cut differently"
        # A residual block can always be the identity; another new layer, between two activations, cannot.
        added = deeper and before.family != "residual"
        if added and (normal != "none" or not rectified):
            new = f"a new layer of the family {before.family!r}"
            yield f"{new} is the identity only between two rectifiers, unnormalised"
        if added and leaky and (not doubled or before.minibatch_std):
            new = "a new layer between leaky rectifiers"
            yield f"{new} is the identity only where the width is doubled, without statistics"


# --- deeper


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


def widening(before: int, after: int, rng: np.random.Generator) -> Widening:
    """Channels repeated in their order, the first of them once more where they do not divide; shares are drawn.

    Example:
      >>> widening(2, 5, np.random.default_rng(0)).source.tolist()
      [0, 0, 0, 1, 1]
    """
    source = np.sort(np.arange(after) % before)
    drawn = rng.uniform(LEAST_SHARE, MOST_SHARE, after)
    return Widening(source, drawn / np.bincount(source, drawn)[source], np.ones(after))


def mirroring(before: int, after: int, slope: float, rng: np.random.Generator) -> Widening:
    """Channels repeated twice at least, with either sign, so that `x` can be had from leaky rectifiers of `x` and `-x`.

    Example:
      >>> mirroring(2, 5, 0.2, np.random.default_rng(0)).factor.tolist()
      [1.0, -1.0, 1.0, 1.0, -1.0]
    """
    source, drawn, _ = widening(before, after, rng)
    place = np.arange(after) - np.searchsorted(source, source)  # among those of one source
    factor = np.where(place % 2, -1.0, 1.0)
    sides = 2 * source + (place % 2)
    share = factor * drawn / np.bincount(sides, drawn)[sides] / (1 + slope)
    return Widening(source, share, factor)


def _same(channels: int) -> Widening:
    return Widening(np.arange(channels), np.ones(channels), np.ones(channels))


Wide = tuple[Any, Widening]  # a layer with the parent's weights, and how the channels that leave it were widened


def _dense(old: Dense, new: Dense, entering: Widening, repeat: Repeat) -> Wide:
    """Features are laid out as `[..., channel]` on both sides."""
    before, after = (layer.bias.shape[-1] if layer.bias.shape else 1 for layer in (old, new))  # a logit has no axis
    leaving = repeat(before, after)
    ci, co = entering.source.max() + 1, leaving.source.max() + 1
    weight = np.asarray(old.weight).reshape(-1, ci, max(old.bias.size // co, 1), co)
    weight = weight[:, entering.source] * entering.share[:, None, None]
    weight = (weight[..., leaving.source] * leaving.factor).reshape(new.weight.shape)
    bias = (np.asarray(old.bias).reshape(-1, co)[:, leaving.source] * leaving.factor).reshape(new.bias.shape)
    moved = (jnp.asarray(weight, jnp.float32), jnp.asarray(bias, jnp.float32))
    return eqx.tree_at(lambda dense: (dense.weight, dense.bias), new, moved), leaving


def _convolution(old: Any, new: Any, entering: Widening, repeat: Repeat) -> Wide:
    leaving = repeat(old.bias.shape[0], new.bias.shape[0])
    kernel = np.asarray(old.kernel)[:, :, entering.source] * entering.share[:, None]
    kernel, bias = (part[..., leaving.source] * leaving.factor for part in (kernel, np.asarray(old.bias)))
    moved = (jnp.asarray(kernel, jnp.float32), jnp.asarray(bias, jnp.float32))
    return eqx.tree_at(lambda conv: (conv.kernel, conv.bias), new, moved), leaving


def _block(old: Block, new: Block, entering: Widening, repeat: Repeat) -> Wide:
    """Its result is added to its input, so both are widened alike."""
    first, inner = _convolution(old.expand, new.expand, entering, repeat)
    middle, last = _convolution(old.mix, new.mix, inner, repeat)
    merge, _ = _convolution(old.merge, new.merge, last, lambda *_: entering)
    return eqx.tree_at(lambda block: (block.expand, block.mix, block.merge), new, (first, middle, merge)), entering


def _unfold(old: Unfold, new: Unfold, entering: Widening, repeat: Repeat) -> Wide:
    amplitudes, leaving = _dense(old.amplitudes, new.amplitudes, entering, repeat)
    maps = jnp.asarray(old.maps)[..., leaving.source] * leaving.factor
    return eqx.tree_at(lambda unfold: (unfold.amplitudes, unfold.maps), new, (amplitudes, maps)), leaving


def _fold(old: Fold, new: Fold, entering: Widening, repeat: Repeat) -> Wide:
    maps = jnp.asarray(old.maps)[..., entering.source] * entering.factor
    return eqx.tree_at(lambda fold: fold.maps, new, maps), entering


def _minibatch_std(old: MinibatchStd, new: MinibatchStd, entering: Widening, repeat: Repeat) -> Wide:
    """One more channel, which is not repeated."""
    source = np.append(entering.source, entering.source.max() + 1)
    return new, Widening(source, np.append(entering.share, 1.0), np.append(entering.factor, 1.0))


WIDE: dict[type, Callable[[Any, Any, Widening, Repeat], Wide]] = {
    Dense: _dense,
    Conv: _convolution,
    ConvTranspose: _convolution,
    Block: _block,
    Unfold: _unfold,
    Fold: _fold,
    MinibatchStd: _minibatch_std,
    **dict.fromkeys((Activate, Up, Down), lambda old, new, entering, repeat: (new, entering)),
}
