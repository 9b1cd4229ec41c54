"""A recipe: all that defines a run but the task and the seed.

Static choices (a change recompiles) are fields of `Architecture` and `Recipe`; numbers that may change while
training are `Hyperparameters`, and `Form` says how each of them changes with images seen. Imports no jax.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from mulligan.errors import MulliganError

FORMAT = 1


@dataclass(frozen=True)
class Architecture:
    """What fixes the shapes of both networks. The image's own shape and the number of classes come from the task."""

    family: str = "conv"  # mlp | conv | residual | keras
    gen_width: int = 32  # mlp: hidden units; others: channels at the finest inner resolution, doubled at each halving
    disc_width: int = 32
    gen_depth: int = 0  # mlp: hidden layers; conv: extra convolutions a resolution; residual: blocks a resolution
    disc_depth: int = 0
    kernel: int = 4  # conv: side of the resampling convolutions, 3 to 5; residual: side of the block's convolutions
    resampling: str = "strided"  # strided | nearest | bilinear
    activation: str = "leaky_relu"  # a name in networks.layers.ACTIVATIONS
    latent: int = 64
    gen_normalisation: str = "none"  # none | pixel | group
    disc_normalisation: str = "none"  # none | pixel | group | spectral
    minibatch_std: bool = False
    attention: bool = False  # one self-attention layer in each network, at the resolution nearest 8x8
    coarsest: int = 7  # halving goes on while the shorter side is above this, 4 to 7
    models: str = ""  # keras: configurations of both models, as JSON; see networks.keras


class Hyperparameters(NamedTuple):
    """Numbers that may change while training: floats in a recipe, float32 scalars (traced) in a step."""

    gen_lr: Any = 1e-3
    disc_lr: Any = 1e-3
    gen_beta1: Any = 0.0
    disc_beta1: Any = 0.0
    gen_beta2: Any = 0.99
    disc_beta2: Any = 0.99
    gamma: Any = 0.5  # weight of the gradient penalty
    augment: Any = 0.0  # strength of the differentiable augmentation, 0 (off) to 1
    ema_nimg: Any = 10_000.0  # half-life of the generator's moving average, in images


@dataclass(frozen=True)
class Form:
    """How one hyperparameter changes with images seen: `initial * factor(nimg)`; see `mulligan.schedules`."""

    kind: str = "constant"  # constant | exponential | cosine | linear
    rate: float = 0.0  # exponential: decay per image (the article's eta1)
    final: float = 1.0  # cosine, linear: factor reached at the end
    over_nimg: float = 0.0  # cosine, linear: images until the end; 0 means the whole budget of the run
    warmup_nimg: float = 0.0  # images over which the value first rises linearly from zero
    warmup: float = 0.0  # the same as a share of the whole budget of the run; the longer of the two counts


@dataclass(frozen=True)
class Recipe:
    """Architecture, game, optimisation and schedule of one run."""

    architecture: Architecture = field(default_factory=Architecture)
    loss: str = "relativistic"  # a name in game.losses.LOSSES
    penalty: str = "r1r2"  # none | r1 | r2 | r1r2 | gradient
    penalty_every: int = 1  # discriminator steps between penalties (lazy when above 1)
    dynamics: str = "alternating"  # a name in game.dynamics.DYNAMICS
    disc_steps: int = 1  # discriminator steps for each generator step
    opponents: int = 0  # past players that the present ones face as well (Chekhov GAN); each costs as much as a step
    batch: int = 64
    augmentation: tuple[str, ...] = ()  # names in game.augment.POLICIES
    averages: tuple[str, ...] = ("ema",)  # names in averaging.AVERAGES, besides the last iterate
    hyperparameters: Hyperparameters = field(default_factory=Hyperparameters)
    schedules: tuple[tuple[str, Form], ...] = ()  # (name of a hyperparameter, form); those not named are constant
    strategy: str = "none"  # none | fork | switch: see training.strategist
    strategy_prior: tuple[tuple[str, float], ...] = ()  # (name of a strategy, weight), where not the usual weight
    gap_aware: bool = False  # disc_lr also follows how far the discriminator's loss is from its ideal
    matching: float = 0.0  # weight of the energy distance in pixels and the discriminator's features: game.matching
    learned_schedule: str = ""  # a name in schedules.learned.SHIPPED, whose factors come on top of all the above
    init: str = ""  # a name in networks.pretrained.SHIPPED: the weights to begin with; fresh ones where empty

    def to_json(self) -> dict[str, Any]:
        """The recipe as plain JSON values; `Recipe.from_json` is its inverse."""
        fields = dataclasses.asdict(self)
        fields["hyperparameters"] = self.hyperparameters._asdict()
        if not self.architecture.models:
            del fields["architecture"]["models"]  # a recipe without keeps the name that it always had
        if self.architecture.coarsest == Architecture.coarsest:
            del fields["architecture"]["coarsest"]
        if not self.matching:
            del fields["matching"]
        if not self.learned_schedule:
            del fields["learned_schedule"]  # likewise
        if not self.init:
            del fields["init"]
        fields["schedules"] = {name: dataclasses.asdict(form) for name, form in self.schedules}
        for name, form in self.schedules:
            if not form.warmup:
                del fields["schedules"][name]["warmup"]
        fields["strategy_prior"] = dict(self.strategy_prior)
        return json.loads(json.dumps({"format": FORMAT, **fields}))

    @staticmethod
    def from_json(document: dict[str, Any]) -> Recipe:
        """Reads what `to_json` wrote; fields left out take their defaults.

        Raises:
          MulliganError: an unknown field, or a format newer than this version knows.
        """
        fields = dict(document)
        written = fields.pop("format", FORMAT)
        if written > FORMAT:
            raise MulliganError(
                f"this recipe has format {written}, of a newer mulligan; this one reads up to {FORMAT}: upgrade it."
            )
        fields["architecture"] = _build(Architecture, fields.get("architecture", {}), "architecture")
        fields["hyperparameters"] = _build(Hyperparameters, fields.get("hyperparameters", {}), "hyperparameters")
        forms = fields.get("schedules", {})
        fields["schedules"] = tuple((name, _build(Form, forms[name], f"schedule of {name}")) for name in sorted(forms))
        fields["strategy_prior"] = tuple(sorted(fields.get("strategy_prior", {}).items()))
        for name in ("augmentation", "averages"):
            if name in fields:
                fields[name] = tuple(fields[name])
        return _build(Recipe, fields, "recipe")

    def hash(self) -> str:
        """A stable name for the recipe: 16 hexadecimal digits of the SHA-256 of its canonical JSON."""
        canonical = json.dumps(self.to_json(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def _build(kind: Any, fields: dict[str, Any], where: str) -> Any:
    """Makes a `kind` from `fields`, with a sentence for a field it does not have."""
    known = kind._fields if kind is Hyperparameters else [entry.name for entry in dataclasses.fields(kind)]
    for name in fields:
        if name not in known:
            raise MulliganError(f"{name!r} is not a field of the {where}; it has {', '.join(known)}.")
    return kind(**fields)
