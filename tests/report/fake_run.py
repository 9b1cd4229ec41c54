"""A made-up run folder, as training would write it: images that rise out of noise, curves like real ones.

`python tests/report/fake_run.py FOLDER` writes one to look at.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

from mulligan.grid import save_grid
from mulligan.recipe import Architecture, Form, Hyperparameters, Recipe

BATCH, CHUNK, CHUNKS = 64, 6_400, 120
END = CHUNK * CHUNKS
GUARD_AT, BACK_TO = 40 * CHUNK, 33 * CHUNK

RECIPE = Recipe(
    architecture=Architecture(gen_width=16, disc_width=24, minibatch_std=True),
    batch=BATCH,
    averages=("ema", "power_10"),
    hyperparameters=Hyperparameters(gen_lr=2e-3, disc_lr=1e-3, gamma=0.25),
    schedules=(
        ("disc_lr", Form("cosine", final=0.1)),
        ("gamma", Form("linear", final=0.2, over_nimg=300_000.0, warmup_nimg=10_000.0)),
        ("gen_lr", Form("cosine", final=0.1)),
    ),
)
RUN = {
    "format": 1,
    "version": "0.1.0",
    "seed": 0,
    "budget": {"seconds": 300},
    "source": "digits",
    "options": {"size": None, "labels": False},
    "machine": {
        "processor": "AMD EPYC 7B13",
        "cores": 2,
        "memory_gib": 7.8,
        "device": "cpu",
        "jax": "0.10.2",
        "python": "3.11.2",
        "system": "Linux 6.1",
    },
    "created": "2026-01-31T12:34:56Z",
}
TASK = {
    "name": "digits",
    "hash": "9f86d081884c7d659a2feaa0c55ad015",
    "shape": [8, 8, 1],
    "counts": {"train": 1437, "validation": 180, "test": 180},
    "classes": [str(digit) for digit in range(10)],
    "descriptor": {"n": 1437.0, "contrast": 0.376, "edges": 0.81, "dimension": 21.0},
    "notes": ["16 grey levels were stretched to 256.", "2 exact duplicates were kept in one split."],
}


def digits() -> np.ndarray:
    """scikit-learn's handwritten digits, uint8 `[1797, 8, 8, 1]`."""
    from sklearn.datasets import load_digits

    return np.uint8(np.minimum(load_digits().images * 16, 255))[..., None]


def events(rng: np.random.Generator) -> list[dict]:
    """A whole run: a collapse that the guard mends, an interruption, a resume, and the end."""
    written = [_event("start", 0, recipe_hash=RECIPE.hash(), gen_parameters=412_161, disc_parameters=604_225)]
    written[0] |= {"flops_per_image": 2.3e7, "compile_seconds": 6.4}
    for nimg in range(CHUNK, GUARD_AT + 1, CHUNK):
        written += _stretch(nimg, rng, blow_up=max(0.0, (nimg - BACK_TO - 2 * CHUNK) / CHUNK))
    written.append(
        _event(
            "guard",
            GUARD_AT,
            reason="the discriminator has won: real and fake logits 41 apart",
            action="both learning rates halved, gamma doubled",
            back_to_nimg=BACK_TO,
            attempt=1,
        )
    )
    for nimg in range(BACK_TO + CHUNK, 80 * CHUNK + 1, CHUNK):
        written += _stretch(nimg, rng)
    written.append(_event("stop", 80 * CHUNK, reason="interrupted from the keyboard", code="interrupted"))
    written.append(_event("resume", 80 * CHUNK, from_nimg=80 * CHUNK, reason=None))
    for nimg in range(81 * CHUNK, END + 1, CHUNK):
        written += _stretch(nimg, rng)
    written.append(_event("stop", END, reason="the 5 minutes are spent", code="budget"))
    _mark_best(written)
    return [*written, *_compared(rng), _final()]


def _mark_best(told: list[dict]) -> None:
    """Marks every evaluation that was the best when it was made."""
    lowest = float("inf")
    for event in told:
        if event["kind"] == "evaluation" and event["energy"] < lowest:
            lowest, event["best"] = event["energy"], True


def write_fake_run(folder: Path, images: np.ndarray | None = None, seed: int = 0) -> Path:
    """Writes a finished run on `images` (uint8 `[n,h,w,c]`, default: digits) into a new folder."""
    rng = np.random.default_rng(seed)
    images = digits() if images is None else images
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps(RUN))
    (folder / "recipe.json").write_text(json.dumps(RECIPE.to_json()))
    (folder / "task.json").write_text(json.dumps(TASK | {"shape": list(images.shape[1:])}))
    told = events(rng)
    (folder / "events.jsonl").write_text("".join(json.dumps(event) + "\n" for event in told))
    (folder / "samples").mkdir()
    shown, noise = images[rng.permutation(len(images))[:64]], rng.integers(0, 256, (64, *images.shape[1:]))
    for event in told:
        if event["kind"] == "samples":
            save_grid(folder / event["path"], _noisy(shown, noise, quality(event["nimg"])), columns=8)
    _write_final(folder / "final", images, shown, rng)
    return folder


def quality(nimg: float) -> float:
    """What is wrong with the samples: about 1 at the start, 0.02 at the end."""
    return 1.4 / (1 + (nimg / 12_000) ** 1.1) + 0.004


def _event(kind: str, nimg: int, **keys) -> dict:
    return {"kind": kind, "nimg": nimg, "seconds": round(nimg / 2650 + 7, 2), **keys}


def _stretch(nimg: int, rng: np.random.Generator, blow_up: float = 0.0) -> list[dict]:
    """The events of one chunk; `blow_up` above 0 is a run going wrong."""
    progress, wrong = nimg / END, 1.6**blow_up
    loss = 0.69 - 0.3 * progress
    chunk = _event(
        "chunk",
        nimg,
        images_per_second=2650 + 90 * rng.normal(),
        gen_loss=loss * wrong + 0.8 * progress + 0.05 * rng.normal(),
        disc_loss=loss / wrong + 0.03 * rng.normal(),
        real_logit=(0.4 + progress) * wrong + 0.08 * rng.normal(),
        fake_logit=-(0.4 + 1.2 * progress) * wrong + 0.08 * rng.normal(),
        penalty=float(np.exp(-1 + 2.5 * progress + 0.2 * rng.normal()) * wrong),
        hyperparameters=_hyperparameters(progress, halved=nimg > GUARD_AT),
    )
    told = [chunk]
    if (nimg // CHUNK) % 3 == 0 or nimg == CHUNK:
        told.append(_event("samples", nimg, path=f"samples/{nimg:012d}.png", rows=8, columns=8))
        told += [_evaluation(nimg, average, rng, wrong) for average in ("last", "ema", "power")]
    if (nimg // CHUNK) % 10 == 0:
        told.append(_event("checkpoint", nimg, path=f"checkpoints/{nimg:012d}.safetensors"))
    return told


def _hyperparameters(progress: float, halved: bool) -> dict[str, float]:
    cosine = 0.55 + 0.45 * float(np.cos(np.pi * progress))
    values = RECIPE.hyperparameters._asdict()
    scale = 0.5 if halved else 1.0
    return values | {
        "gen_lr": 2e-3 * cosine * scale,
        "disc_lr": 1e-3 * cosine * scale,
        "gamma": 0.25 * max(0.2, 1 - 0.8 * progress * END / 300_000) / scale,
    }


def _evaluation(nimg: int, average: str, rng: np.random.Generator, wrong: float) -> dict:
    factor, noise = {"last": (1.9, 0.22), "ema": (1.0, 0.06), "power": (1.2, 0.05)}[average]
    kid = quality(nimg) * factor * wrong * float(np.exp(noise * rng.normal()))
    return _event(
        "evaluation",
        nimg,
        split="validation",
        average=average,
        embedding="m1",
        n_real=180,
        n_fake=1000,
        kid=kid,
        kid_low=kid * 0.87 - 0.0012,
        kid_high=kid * 1.14 + 0.0012,
        energy=5 * kid**0.9,
        energy_low=4.4 * kid**0.9 - 0.01,
        energy_high=5.7 * kid**0.9 + 0.01,
        frechet=40 * kid**0.7,
        diversity=min(1.0, 0.95 - 0.3 * quality(nimg) + 0.02 * rng.normal()) / wrong,
        best=False,
        spent=0.4,
    )


def _compared(rng: np.random.Generator) -> list[dict]:
    """Averages judged one after the other, and the one that is kept."""
    names = {"ema": END, "best": 117 * CHUNK, "last": END, "power_10": END, "power_05 at 624000": 624_000}
    told = []
    for place, (name, nimg) in enumerate(names.items()):
        told.append(_evaluation(END, "ema", rng, 1.0) | {"kind": "average", "average": name, "at_nimg": nimg})
        told[-1] |= {"energy": (0.23, 0.26, 0.51, 0.204, 0.44)[place], "n_real": 90}
    gains = {"ema": {"value": -0.0031, "deviation": 0.0012}, "last": {"value": 0.0144, "deviation": 0.0048}}
    chosen = {"average": "power_10", "at_nimg": END, "figure": "energy", "gains": gains, "skipped": ["soup", "mixture"]}
    return [*told, _event("choice", END, **chosen, reason=None, spent=4.2)]


def _final() -> dict:
    return _event(
        "final",
        END,
        split="test",
        average="power_10",
        best_nimg=END,
        embedding="m1",
        n_real=180,
        n_fake=1000,
        kid=0.02134,
        kid_low=0.01811,
        kid_high=0.02498,
        energy=0.1651,
        energy_low=0.1402,
        energy_high=0.1907,
        frechet=2.41,
        precision=0.81,
        recall=0.74,
        density=0.93,
        coverage=0.88,
        memorisation={"ratio": 1.04, "share": 0.031},
        cost={
            "seconds": 301.4,
            "training_seconds": 279.9,
            "evaluation_seconds": 15.1,
            "images": END,
            "flops": END * 2.3e7,
        },
    )


def _noisy(images: np.ndarray, noise: np.ndarray, amount: float) -> np.ndarray:
    share = min(1.0, 0.9 * amount**0.5)
    return np.uint8((1 - share) * images + share * noise)


def _write_final(folder: Path, images: np.ndarray, shown: np.ndarray, rng: np.random.Generator) -> None:
    folder.mkdir()
    noise = rng.integers(0, 256, shown.shape)
    save_grid(folder / "samples.png", _noisy(shown, noise, 0.01), columns=8)
    ends = shown[:10].astype(np.float32)
    steps = np.linspace(0, 1, 9)[:, None, None, None]
    rows = [(1 - steps) * first + steps * second for first, second in zip(ends[::2], ends[1::2], strict=True)]
    save_grid(folder / "interpolation.png", np.uint8(np.concatenate(rows)), columns=9)
    flat = images.reshape(len(images), -1).astype(np.float32)
    samples = _noisy(shown[:16], noise[:16], 0.01)
    distance = np.sqrt(((flat[None, :2000] - samples.reshape(16, 1, -1).astype(np.float32)) ** 2).mean(-1))
    nearest = np.argsort(distance, axis=1)[:, 1:5]
    np.savez_compressed(
        folder / "neighbours.npz",
        samples=samples,
        nearest=images[nearest],
        distance=np.take_along_axis(distance, nearest, 1).astype(np.float32),
        typical=np.float32(np.median(np.sort(distance, axis=1)[:, 1])),
    )


def edit(folder: Path, file: str, **keys) -> None:
    """Changes keys of a JSON file in the folder."""
    path = folder / file
    path.write_text(json.dumps(json.loads(path.read_text()) | keys))


def write_events(folder: Path, told: list[dict]) -> None:
    (folder / "events.jsonl").write_text("".join(json.dumps(event) + "\n" for event in told))


if __name__ == "__main__":
    print(write_fake_run(Path(sys.argv[1])))
