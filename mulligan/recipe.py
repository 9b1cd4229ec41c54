"""A recipe: all that defines a run but the task and the seed.

Static choices (a change recompiles) are fields of `Architecture` and `Recipe`; numbers that may change while
training are `Hyperparameters`, and `Form` says how each of them changes with images seen. Imports no jax.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, NamedTuple

from mulligan import schema
from mulligan.errors import MulliganError, newer_format
from mulligan.schema import ByField, ByName, Named, Once, Within

FORMAT = 1

# What a recipe that was read may hold: nobody trains with more, and what is beyond would never end or fit nowhere.
Width = Annotated[int, Within(1, 4096)]
Depth = Annotated[int, Within(0, 16)]
Rate = Annotated[Any, Within(0, 1e6)]  # the guard says which of these are too high
Momentum = Annotated[Any, Within(0, 0.999999)]
Weight = Annotated[float, Within(0, 1e6)]
Images = Annotated[float, Within(0, 1e12)]


@dataclass(frozen=True)
class Architecture:
    """What fixes the shapes of both networks. The image's own shape and the number of classes come from the task."""

    family: Annotated[str, Named("networks.architecture.FAMILIES", also=("keras",))] = "conv"
    gen_width: Width = 32  # mlp: hidden units; others: channels at the finest inner resolution, doubled at each halving
    disc_width: Width = 32
    gen_depth: Depth = 0  # mlp: hidden layers; conv: extra convolutions a resolution; residual: blocks a resolution
    disc_depth: Depth = 0
    kernel: Annotated[int, Within(3, 5)] = 4  # conv: side of the resampling convolutions; residual: of the block's
    resampling: Annotated[str, Named("networks.resampling.RESAMPLINGS", also=("strided", "folded", "filtered"))] = (
        "strided"
    )
    activation: Annotated[str, Named("networks.layers.ACTIVATIONS")] = "leaky_relu"
    latent: Width = 64
    gen_normalisation: Annotated[str, Named("networks.normalisation.NORMALISATIONS", but=("spectral",))] = "none"
    disc_normalisation: Annotated[str, Named("networks.normalisation.NORMALISATIONS")] = "none"
    minibatch_std: bool = False
    attention: bool = False  # one self-attention layer in each network, at the resolution nearest 8x8
    coarsest: Annotated[int, Within(4, 7)] = 7  # halving goes on while the shorter side is above this
    models: str = ""  # keras: configurations of both models, as JSON; see networks.keras

    def like(self, other: Architecture) -> bool:
        """Whether the networks differ at most in the map that the generator begins with."""
        return dataclasses.replace(self, coarsest=other.coarsest) == other


class Hyperparameters(NamedTuple):
    """Numbers that may change while training: floats in a recipe, float32 scalars (traced) in a step."""

    gen_lr: Rate = 1e-3
    disc_lr: Rate = 1e-3
    gen_beta1: Momentum = 0.0
    disc_beta1: Momentum = 0.0
    gen_beta2: Momentum = 0.99
    disc_beta2: Momentum = 0.99
    gamma: Annotated[Any, Within(0, 1e6)] = 0.5  # weight of the gradient penalty
    augment: Annotated[Any, Within(0, 1)] = 0.0  # strength of the differentiable augmentation; 0 is off
    ema_nimg: Annotated[Any, Within(0, 1e12)] = 10_000.0  # half-life of the generator's moving average, in images


HYPERPARAMETERS = Hyperparameters._fields


@dataclass(frozen=True)
class Form:
    """How one hyperparameter changes with images seen: `initial * factor(nimg)`; see `mulligan.schedules`."""

    kind: Annotated[str, Named("schedules.closed.FORMS")] = "constant"
    rate: Annotated[float, Within(0, 1)] = 0.0  # exponential: decay per image (the article's eta1)
    final: Annotated[float, Within(0, 1000)] = 1.0  # cosine, linear: factor reached at the end
    over_nimg: Images = 0.0  # cosine, linear: images until the end; 0 means the whole budget of the run
    warmup_nimg: Images = 0.0  # images over which the value first rises linearly from zero
    # The same as a share of the whole budget of the run; the longer of the two counts.
    warmup: Annotated[float, Within(0, 1)] = 0.0


@dataclass(frozen=True)
class Recipe:
    """Architecture, game, optimisation and schedule of one run."""

    architecture: Architecture = field(default_factory=Architecture)
    loss: Annotated[str, Named("game.losses.LOSSES")] = "relativistic"
    penalty: Annotated[str, Named("game.penalties.PENALTIES")] = "r1r2"
    penalty_every: Annotated[int, Within(1, 10_000)] = 1  # discriminator steps between penalties (lazy when above 1)
    dynamics: Annotated[str, Named("game.dynamics.DYNAMICS")] = "alternating"
    disc_steps: Annotated[int, Within(1, 16)] = 1  # discriminator steps for each generator step
    # Research: past players that the present ones face as well (Chekhov GAN). Measured to cover fewer modes.
    opponents: Annotated[int, Within(0, 64)] = 0
    batch: Annotated[int, Within(1, 16_384)] = 64
    augmentation: Annotated[tuple[Annotated[str, Named("game.augment.POLICIES")], ...], Once()] = ()
    # Besides the last iterate.
    averages: Annotated[tuple[Annotated[str, Named("averaging.weights.AVERAGES")], ...], Once()] = ("ema",)
    hyperparameters: Annotated[Hyperparameters, ByField()] = field(default_factory=Hyperparameters)
    # Hyperparameters that are not named are constant.
    schedules: Annotated[tuple[tuple[Annotated[str, Named("recipe.HYPERPARAMETERS")], Form], ...], ByName()] = ()
    strategy: Annotated[str, Named("training.strategist.MODES")] = "none"
    # Weights of strategies, where not the usual weight.
    strategy_prior: Annotated[
        tuple[tuple[Annotated[str, Named("training.strategist.STRATEGIES")], Weight], ...], ByName()
    ] = ()
    # Research: disc_lr also follows how far the discriminator's loss is from its ideal. Measured to raise the KID.
    gap_aware: bool = False
    balanced: bool = False  # classes that are drawn worst are shown oftener: training.class_balance
    # Of what the networks compute; weights, optimisers, logits and penalties are float32. Never proposed: unmeasured.
    precision: Annotated[str, Named("networks.architecture.PRECISIONS")] = "float32"
    matching: Weight = 0.0  # of the energy distance in pixels and the discriminator's features: game.matching
    # Research: features that critics look at beside the discriminator, the weight of what these tell the generator, and
    # generator steps between those in which they are asked (game.critics). Measured to help some families, not others.
    features: Annotated[str, Named("networks.features.FEATURES", also=("",))] = ""
    features_weight: Weight = 0.3
    features_every: Annotated[int, Within(1, 1000)] = 4
    # Its factors come on top of all the above.
    learned_schedule: Annotated[str, Named("schedules.learned.SHIPPED", also=("",))] = ""
    # The weights to begin with; fresh ones where empty.
    init: Annotated[str, Named("networks.pretrained.FILES", also=("",))] = ""

    def to_json(self) -> dict[str, Any]:
        """The recipe as plain JSON values; `Recipe.from_json` is its inverse."""
        fields = dataclasses.asdict(self)
        fields["hyperparameters"] = self.hyperparameters._asdict()
        fields["schedules"] = {name: dataclasses.asdict(form) for name, form in self.schedules}
        fields["strategy_prior"] = dict(self.strategy_prior)
        return json.loads(json.dumps({"format": FORMAT, **fields}))

    @staticmethod
    def from_json(document: Any) -> Recipe:
        """Reads what `to_json` wrote; fields left out take their defaults.

        Raises:
          MulliganError: it is none: a field unknown, of another type or out of range, or a newer format.
        """
        if not isinstance(document, Mapping):
            raise MulliganError(f"a recipe is a JSON object, as `mulligan recipe` prints it; this is {document!r:.60}.")
        fields = dict(document)
        written = fields.pop("format", FORMAT)
        if type(written) is not int or written < 1:
            raise MulliganError(f"the recipe's format {written!r:.60} is none: leave it out.")
        if written > FORMAT:
            raise newer_format("this recipe", written, FORMAT)
        return schema.read(Recipe, fields, "the recipe")

    def differences(self) -> dict[str, Any]:
        """What differs from the defaults, as JSON: the canonical form, which a field that is added later leaves alone.

        Example:
          >>> Recipe(batch=32, schedules=(("gen_lr", Form("cosine")),)).differences()
          {'batch': 32, 'schedules': {'gen_lr': {'kind': 'cosine'}}}
        """
        # Forms that are not named are constant, so one that is named is compared with that default.
        default = type(self)().to_json()
        default["schedules"] = {name: dataclasses.asdict(type(form)()) for name, form in self.schedules}
        return _differing(self.to_json(), default)

    def in_words(self) -> str:
        """What it trains, for people, in half a line; the rest is in `differences`.

        Example:
          >>> Recipe(Architecture(gen_width=16, disc_width=16), batch=32).in_words()
          'conv networks of width 16, batches of 32, rates of 0.001'
          >>> Recipe(init="families-1", hyperparameters=Hyperparameters(disc_lr=5e-4)).in_words()
          'conv networks of width 32 with learned weights, batches of 64, rates of 0.001 and 0.0005'
        """
        widths, numbers = self.architecture, self.hyperparameters
        # Once where both players have the same.
        width = " and ".join(dict.fromkeys(f"{width}" for width in (widths.gen_width, widths.disc_width)))
        rates = " and ".join(dict.fromkeys(f"{rate:.3g}" for rate in (numbers.gen_lr, numbers.disc_lr)))
        networks = "models of your own" if widths.models else f"{widths.family} networks of width {width}"
        besides = ["learned weights"] * bool(self.init) + ["critics of learned features"] * bool(self.features)
        begun = f" with {' and '.join(besides)}" if besides else ""
        return f"{networks}{begun}, batches of {self.batch}, rates of {rates}"

    def hash(self) -> str:
        """A stable name for the recipe: 16 hexadecimal digits of the SHA-256 of its canonical form."""
        canonical = json.dumps(self.differences(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def _differing(document: dict[str, Any], default: dict[str, Any]) -> dict[str, Any]:
    """The entries that are not the default's, at any depth."""
    nested = {
        name: _differing(value, default.get(name, {})) for name, value in document.items() if isinstance(value, dict)
    }
    plain = {name: value for name, value in document.items() if name not in nested and value != default.get(name)}
    return plain | {name: entries for name, entries in nested.items() if entries}
