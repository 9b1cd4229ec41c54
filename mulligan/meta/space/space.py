"""The recipes that exist: sample, mutate, cross, list neighbours, encode.

A space is a table of choices. Each names one value in the recipe's JSON, the values that it may take, and the
condition under which the recipe uses it at all. A choice that an old recipe does not mention has its default there,
so that a choice which is added later leaves old trials what they were.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float32

from mulligan.game.augment import POLICIES
from mulligan.game.dynamics import DYNAMICS, RESEARCH
from mulligan.game.losses import LOSSES
from mulligan.game.penalties import PENALTIES
from mulligan.meta.space.domains import Domain, Names, Range, Steps
from mulligan.networks.architecture import FAMILIES
from mulligan.networks.layers import ACTIVATIONS
from mulligan.networks.normalisation import NORMALISATIONS
from mulligan.networks.resampling import RESAMPLINGS, STRIDED
from mulligan.recipe import Recipe
from mulligan.schedules.learned import SHIPPED

# Goes up with every change of the choices below; a trial says which it was drawn from. A name more in a table that a
# choice takes its options from, such as a loss in `LOSSES`, is no change.
VERSION = 3

Values = Mapping[str, Any]  # of a recipe's active choices, by name
Condition = Callable[[Values], bool]


class Choice(NamedTuple):
    """One value of a recipe that may be chosen.

    Attributes:
      name: unique in its space.
      path: where the value stands in the recipe's JSON, its parts joined by dots.
      domain: the values that it may take.
      default: its value where the JSON has none, and when another choice has just made it active.
      active: whether the recipe uses it, given the values of the choices before it.
    """

    name: str
    path: str
    domain: Domain
    default: Any
    active: Condition = lambda values: True


def is_(name: str, *options: Any) -> Condition:
    """Active where the choice `name` is itself active and has one of these values."""
    return lambda values: values.get(name) in options


def is_not(name: str, *options: Any) -> Condition:
    """Active where the choice `name` is itself active and has another value than these."""
    return lambda values: name in values and values[name] not in options


CONVOLUTIONAL = is_("family", "conv", "residual")
AUGMENTED: Condition = lambda values: any(values.get(f"augment_{policy}") for policy in POLICIES)  # noqa: E731
SWITCH = Steps((False, True))
RATE = Range(1e-4, 1e-2, "log")


def _schedule(name: str) -> tuple[Choice, ...]:
    """How one hyperparameter changes with images seen."""
    path, kind = f"schedules.{name}", f"{name}_form"
    return (
        Choice(kind, f"{path}.kind", Names(("constant", "exponential", "cosine")), "constant"),
        Choice(f"{name}_rate", f"{path}.rate", Range(1e-6, 1e-4, "log"), 1e-5, is_(kind, "exponential")),
        Choice(f"{name}_final", f"{path}.final", Range(0.01, 0.5, "log"), 0.1, is_(kind, "cosine")),
        # In images, not as a share of the budget: a short trial's curve is then the beginning of a long one's.
        Choice(f"{name}_over", f"{path}.over_nimg", Range(1e4, 1e6, "log"), 1e5, is_(kind, "cosine")),
    )


CHOICES = (
    Choice("family", "architecture.family", Names(tuple(FAMILIES)), "conv"),
    Choice("gen_width", "architecture.gen_width", Steps((8, 12, 16, 24, 32, 48, 64)), 32, CONVOLUTIONAL),
    Choice("disc_width", "architecture.disc_width", Steps((8, 12, 16, 24, 32, 48, 64)), 32, CONVOLUTIONAL),
    Choice("gen_units", "architecture.gen_width", Steps((64, 128, 256, 512, 1024)), 256, is_("family", "mlp")),
    Choice("disc_units", "architecture.disc_width", Steps((64, 128, 256, 512, 1024)), 256, is_("family", "mlp")),
    Choice("gen_depth", "architecture.gen_depth", Steps((0, 1, 2)), 0, is_("family", "conv")),
    Choice("disc_depth", "architecture.disc_depth", Steps((0, 1, 2)), 0, is_("family", "conv")),
    Choice("gen_blocks", "architecture.gen_depth", Steps((1, 2, 3)), 1, is_("family", "residual")),
    Choice("disc_blocks", "architecture.disc_depth", Steps((1, 2, 3)), 1, is_("family", "residual")),
    Choice("gen_layers", "architecture.gen_depth", Steps((1, 2, 3, 4)), 2, is_("family", "mlp")),
    Choice("disc_layers", "architecture.disc_depth", Steps((1, 2, 3, 4)), 2, is_("family", "mlp")),
    Choice("kernel", "architecture.kernel", Steps((3, 4, 5)), 4, is_("family", "conv")),
    Choice("block_kernel", "architecture.kernel", Steps((3, 5)), 3, is_("family", "residual")),
    Choice("resampling", "architecture.resampling", Names((*STRIDED, *RESAMPLINGS)), "strided", CONVOLUTIONAL),
    Choice("activation", "architecture.activation", Names(tuple(ACTIVATIONS)), "leaky_relu"),
    Choice("latent", "architecture.latent", Steps((16, 32, 64, 128, 256)), 64),
    Choice("gen_normalisation", "architecture.gen_normalisation", Names(("none", "pixel", "group")), "none"),
    Choice("disc_normalisation", "architecture.disc_normalisation", Names(tuple(NORMALISATIONS)), "none"),
    Choice("minibatch_std", "architecture.minibatch_std", SWITCH, False),
    Choice("attention", "architecture.attention", SWITCH, False, CONVOLUTIONAL),
    Choice("loss", "loss", Names(tuple(LOSSES)), "relativistic"),
    Choice("penalty", "penalty", Names(tuple(PENALTIES)), "r1r2"),
    Choice("penalty_every", "penalty_every", Steps((1, 2, 4, 8, 16)), 1, is_not("penalty", "none")),
    Choice("gamma", "hyperparameters.gamma", Range(1e-3, 1e3, "log"), 0.5, is_not("penalty", "none")),
    Choice("dynamics", "dynamics", Names(tuple(name for name in DYNAMICS if name not in RESEARCH)), "alternating"),
    Choice("disc_steps", "disc_steps", Steps((1, 2, 4)), 1, is_("dynamics", "alternating")),
    Choice("batch", "batch", Steps((8, 16, 32, 64, 128)), 64),
    Choice("gen_lr", "hyperparameters.gen_lr", RATE, 1e-3),
    *_schedule("gen_lr"),
    Choice("disc_lr", "hyperparameters.disc_lr", RATE, 1e-3),
    *_schedule("disc_lr"),
    Choice("gen_beta1", "hyperparameters.gen_beta1", Steps((0.0, 0.25, 0.5, 0.75, 0.9)), 0.0),
    Choice("disc_beta1", "hyperparameters.disc_beta1", Steps((0.0, 0.25, 0.5, 0.75, 0.9)), 0.0),
    Choice("gen_beta2", "hyperparameters.gen_beta2", Steps((0.9, 0.97, 0.99, 0.997, 0.999)), 0.99),
    Choice("disc_beta2", "hyperparameters.disc_beta2", Steps((0.9, 0.97, 0.99, 0.997, 0.999)), 0.99),
    *(Choice(f"augment_{policy}", f"augmentation.{policy}", SWITCH, False) for policy in POLICIES),
    Choice("augment", "hyperparameters.augment", Range(0.05, 0.8, "linear"), 0.3, AUGMENTED),
    Choice("ema_nimg", "hyperparameters.ema_nimg", Range(1e3, 1e5, "log"), 1e4),
    Choice("learned_schedule", "learned_schedule", Names(("", *SHIPPED)), ""),
)


@dataclass(frozen=True)
class Space:
    """The recipes that a table of choices spans.

    Values that the table does not offer (a width of 20, a linear schedule) do no harm: they are kept until the choice
    they belong to is changed, and encoded as well as its domain can.
    """

    choices: tuple[Choice, ...] = CHOICES
    version: int = VERSION

    def values(self, recipe: Recipe) -> dict[str, Any]:
        """The values of the recipe's active choices, by name.

        Example:
          >>> values = Space().values(Recipe())
          >>> values["gen_width"], values["kernel"], "gen_units" in values
          (32, 4, False)
        """
        leaves = _leaves(recipe)
        return self._filled(lambda choice: leaves.get(choice.path, choice.default))

    def recipe(self, values: Values, like: Recipe | None = None) -> Recipe:
        """The recipe with these values; what the space does not name is as in `like`, or the default.

        Raises:
          MulliganError: a value that no recipe may have.
        """
        before = {} if like is None else self.values(like)
        replaced = {choice.path for choice in self.choices if choice.name in before}
        kept = {} if like is None else {path: leaf for path, leaf in _leaves(like).items() if path not in replaced}
        return _recipe(kept | {choice.path: values[choice.name] for choice in self.choices if choice.name in values})

    def sample(self, rng: np.random.Generator) -> Recipe:
        """Every active choice drawn on its own, uniformly on its domain's scale."""
        return self.recipe(self._filled(lambda choice: choice.domain.sample(rng)))

    def mutate(self, recipe: Recipe, rng: np.random.Generator) -> Recipe:
        """One active choice changed; choices that this makes active take their defaults."""
        values = self.values(recipe)
        chosen = list(values)[rng.integers(len(values))]
        changed = self._named(chosen).domain.mutate(values[chosen], rng)
        return self._changed(recipe, values, chosen, changed)

    def cross(self, one: Recipe, other: Recipe, rng: np.random.Generator) -> Recipe:
        """A child of two recipes: each choice as in one of the parents that use it."""
        parents = self.values(one), self.values(other)

        def inherited(choice: Choice) -> Any:
            offered = [values[choice.name] for values in parents if choice.name in values]
            return offered[rng.integers(len(offered))] if offered else choice.default

        return self.recipe(self._filled(inherited), like=one)

    def neighbours(self, recipe: Recipe) -> Iterator[Recipe]:
        """All recipes that one small step in one active choice leads to; names go to every other name."""
        values = self.values(recipe)
        for name, value in values.items():
            for changed in self._named(name).domain.neighbours(value):
                yield self._changed(recipe, values, name, changed)

    def encode(self, recipe: Recipe) -> Float32[np.ndarray, " d"]:
        """The recipe as numbers: for each choice whether it is active, then its coordinates, zeros when it is not.

        `features` names them. Within a domain all lie in [0, 1].
        """
        values = self.values(recipe)
        coordinates: list[float] = []
        for choice in self.choices:
            active = choice.name in values
            place = choice.domain.encode(values[choice.name]) if active else [0.0] * len(choice.domain.labels)
            coordinates += [float(active), *place]
        return np.array(coordinates, np.float32)

    @property
    def features(self) -> tuple[str, ...]:
        """What each number of `encode` is."""
        return tuple(
            name
            for choice in self.choices
            for name in (f"{choice.name}?", *(f"{choice.name}{label}" for label in choice.domain.labels))
        )

    def _filled(self, pick: Callable[[Choice], Any]) -> dict[str, Any]:
        """Values for all active choices: conditions look at the choices before them only."""
        values: dict[str, Any] = {}
        for choice in self.choices:
            if choice.active(values):
                values[choice.name] = pick(choice)
        return values

    def _changed(self, recipe: Recipe, values: Values, name: str, value: Any) -> Recipe:
        wanted = {**values, name: value}
        return self.recipe(self._filled(lambda choice: wanted.get(choice.name, choice.default)), like=recipe)

    def _named(self, name: str) -> Choice:
        return next(choice for choice in self.choices if choice.name == name)


def _leaves(recipe: Recipe) -> dict[str, Any]:
    """The values of a recipe's JSON by their paths; each name of its augmentation is one, too."""
    document = recipe.to_json()
    return _flat(document | {"augmentation": dict.fromkeys(document["augmentation"], True)})


def _flat(document: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    leaves: dict[str, Any] = {}
    for name, value in document.items():
        leaves |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return leaves


def _recipe(leaves: Mapping[str, Any]) -> Recipe:
    """Inverse of `_leaves`; equal recipes come out equal: schedules that do nothing are left out."""
    document: dict[str, Any] = {}
    for path, value in leaves.items():
        *parents, last = path.split(".")
        node = document
        for part in parents:
            node = node.setdefault(part, {})
        node[last] = value
    chosen = [name for name in POLICIES if document.get("augmentation", {}).get(name)]
    moving = {
        name: form
        for name, form in document.get("schedules", {}).items()
        if form["kind"] != "constant" or form.get("warmup_nimg") or form.get("warmup")
    }
    return Recipe.from_json(document | {"augmentation": chosen, "schedules": moving})
