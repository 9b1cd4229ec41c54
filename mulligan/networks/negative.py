"""Both players in negative: where they drew and knew ink on white, they draw and know chalk on black."""

from __future__ import annotations

import equinox as eqx

from mulligan.networks.architecture import Networks
from mulligan.networks.parameters import named_parameters, with_parameters
from mulligan.types import Pytree


def negative(players: Networks) -> Networks:
    """Players of the same game in negative.

    Exact, since `tanh` is odd and padding is zero: the generator's last layer and the kernel of the discriminator's
    first change their sign.

    Raises:
      MulliganError: the players are Keras models.
    """
    gen, disc = players.own()
    last = {name: -leaf for name, leaf in named_parameters(gen.layers[-1]).items()}
    first = named_parameters(disc.layers[0])
    kernel = next(iter(first))
    return Networks(
        _with_layer(gen, -1, last),
        _with_layer(disc, 0, first | {kernel: -first[kernel]}),
    )


def _with_layer(network: Pytree, at: int, parameters: Pytree) -> Pytree:
    return eqx.tree_at(lambda network: network.layers[at], network, with_parameters(network.layers[at], parameters))
