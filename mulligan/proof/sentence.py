"""A proof in plain words."""

from __future__ import annotations

from mulligan.proof.intervals import Estimate
from mulligan.proof.leakage import Copies
from mulligan.proof.usefulness import HELPS, HURTS, UNCLEAR, Usefulness

LEAKING = 0.1  # an advantage over chance that is worth a word


def sentence(
    found: Usefulness | None, copies: Copies, attacks: dict[str, Estimate], names: tuple[str, ...], n_test: int
) -> str:
    """Whether the images help, make no difference or hurt; whether they are copies; and who is given away."""
    parts = [] if found is None else [_help(found, n_test), *_harm(found, names), *_alone(found)]
    parts.append(_copies(copies))
    parts += [_leak(name, attack) for name, attack in attacks.items() if attack.low > LEAKING]
    return " ".join(parts)


def _help(found: Usefulness, n_test: int) -> str:
    value, low, high = (100 * share for share in found.gain)
    added = "with these images added, a classifier"
    if found.verdict == HELPS:
        return f"Helps: {added} is right on {value:.1f} points more of unseen real images ({low:.1f} to {high:.1f})."
    if found.verdict == HURTS:
        return (
            f"Hurts: {added} is right on {-value:.1f} points fewer of unseen real images ({-high:.1f} to {-low:.1f})."
        )
    if found.verdict == UNCLEAR:
        return f"Cannot be told from {n_test:,} test images: {added} changes by {low:+.1f} to {high:+.1f} points."
    return f"Makes no difference: {added} changes by {low:+.1f} to {high:+.1f} points on unseen real images."


def _harm(found: Usefulness, names: tuple[str, ...]) -> list[str]:
    """Classes that lose, which a mean over all hides."""
    if not found.harmed:
        return []
    worst, others = found.harmed[0], len(found.harmed) - 1
    more = f" and {others} more" if others else ""
    return [f"It hurts the class {names[worst.label]!r} ({100 * worst.gain.value:+.1f} points){more}."]


def _alone(found: Usefulness) -> list[str]:
    """Images that teach nothing by themselves: a collapsed generator may do little harm beside real images."""
    right, chance = found.accuracy["synthetic"], 1 / len(found.classes)
    if right.low > chance or found.accuracy["real"].low <= chance:
        return []
    return [f"Alone they teach nothing ({right.value:.0%} right, by chance {chance:.0%}): look whether it collapsed."]


def _copies(copies: Copies) -> str:
    generated, held_out = f"{copies.generated:.0%}", f"{copies.held_out:.0%}"
    kind = "Copies" if copies.found else "No sign of copying"
    return f"{kind}: {generated} of the images are near copies of training images, of unseen real ones {held_out}."


def _leak(name: str, attack: Estimate) -> str:
    told = f"(advantage {attack.value:.2f} over chance)"
    if name == "discriminator":
        return f"Its discriminator tells training images from unseen ones {told}: do not share its checkpoints."
    return f"Its images tell who was trained on {told}."
