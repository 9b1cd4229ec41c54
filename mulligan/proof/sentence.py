"""A proof in plain words."""

from __future__ import annotations

from mulligan.proof.intervals import Estimate
from mulligan.proof.leakage import Copies
from mulligan.proof.usefulness import HELPS, HURTS, UNCLEAR, Usefulness

LEAKING = 0.1  # an advantage over chance that is worth a word


def sentence(
    found: Usefulness | None, copies: Copies, attacks: dict[str, Estimate], names: tuple[str, ...], n_test: int
) -> str:
    """Whether the images help, make no difference or hurt; whether they are copies; and who is given away.

    Args:
      found: None where the images have no classes.
      copies: near copies among the images.
      attacks: by the name of what attacks; those with an advantage that is beyond chance are told.
      names: of the classes, by their numbers.
      n_test: real images that classifiers were tested on.
    """
    parts = []
    if found is not None:
        parts.append(_help(found, n_test))
        # Classes that lose, which a mean over all hides.
        if found.harmed:
            worst, others = found.harmed[0], len(found.harmed) - 1
            more = f" and {others} more" if others else ""
            parts.append(f"It hurts the class {names[worst.label]!r} ({100 * worst.gain.value:+.1f} points){more}.")
        # Images that teach nothing by themselves: a collapsed generator may do little harm beside real images.
        right, chance = found.accuracy["synthetic"], 1 / len(found.classes)
        if right.low <= chance < found.accuracy["real"].low:
            reached = f"{right.value:.0%} right, by chance {chance:.0%}"
            parts.append(f"Alone they teach nothing ({reached}): look whether it collapsed.")
    generated, held_out = f"{copies.generated:.0%}", f"{copies.held_out:.0%}"
    kind = "Copies" if copies.found else "No sign of copying"
    parts.append(
        f"{kind}: {generated} of the images are near copies of training images, of unseen real ones {held_out}."
    )
    for name, attack in attacks.items():
        if attack.low <= LEAKING:
            continue
        told = f"(advantage {attack.value:.2f} over chance)"
        if name == "discriminator":
            parts.append(
                f"Its discriminator tells training images from unseen ones {told}: do not share its checkpoints."
            )
        else:
            parts.append(f"Its images tell who was trained on {told}.")
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
