"""The games: what each player minimises, from logits, one value an example."""

from __future__ import annotations

import math

from jax.nn import relu, softplus

from mulligan.types import Loss


def minimax() -> Loss:
    """The original game, `min_G max_D E log D(x) + E log(1 - D(G(z)))` with `D = sigmoid(logit)`.

    Source: Goodfellow et al. 2014, arXiv 1406.2661, equation 1. The generator's gradient vanishes when the
    discriminator wins; `nonsaturating` has the same fixed point without that.
    """
    return Loss(
        gen=lambda real, fake: -softplus(fake),
        disc=lambda real, fake: softplus(-real) + softplus(fake),
        ideal=math.log(4),
    )


def nonsaturating() -> Loss:
    """The generator maximises `log D(G(z))` instead (Goodfellow et al. 2014, section 3)."""
    return minimax()._replace(gen=lambda real, fake: softplus(-fake))


def hinge() -> Loss:
    """Margin of one for the discriminator, a linear loss for the generator (Lim and Ye 2017, arXiv 1705.02894)."""
    return Loss(gen=lambda real, fake: -fake, disc=lambda real, fake: relu(1 - real) + relu(1 + fake), ideal=2.0)


def wasserstein() -> Loss:
    """Difference of means; needs a penalty that bounds the slope (Arjovsky et al. 2017, arXiv 1701.07875)."""
    return Loss(gen=lambda real, fake: -fake, disc=lambda real, fake: fake - real, ideal=0.0)


def least_squares() -> Loss:
    """Squared distance to the targets 1 for real and 0 for fake, halved (Mao et al. 2017, arXiv 1611.04076, eq. 9)."""
    return Loss(
        gen=lambda real, fake: (fake - 1) ** 2 / 2,
        disc=lambda real, fake: ((real - 1) ** 2 + fake**2) / 2,
        ideal=0.25,
    )


def relativistic() -> Loss:
    """Each fake is judged against one real image: `softplus(-(D(x) - D(G(z))))` and its mirror.

    Source: relativistic pairing, Jolicoeur-Martineau 2018, arXiv 1807.00734; Huang et al. 2025 (R3GAN), arXiv
    2501.05441, equation 2.
    """
    return Loss(
        gen=lambda real, fake: softplus(real - fake),
        disc=lambda real, fake: softplus(fake - real),
        ideal=math.log(2),
        gen_sees_real=True,
    )


LOSSES = {
    "minimax": minimax,
    "nonsaturating": nonsaturating,
    "hinge": hinge,
    "wasserstein": wasserstein,
    "least_squares": least_squares,
    "relativistic": relativistic,
}
