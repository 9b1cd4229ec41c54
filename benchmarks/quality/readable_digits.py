"""How many of the digits that a run draws can be read? As a classifier trained on real ones reads them.

    mulligan demo --out runs/demo; python benchmarks/quality/readable_digits.py runs/demo

The classifier is a support vector machine on the training images of the same set. A generator with classes is asked
for each of the ten, and a digit counts where it is read as the one asked for; without classes a digit counts where the
classifier's first choice is at least `SURE`, as it is for nearly all real ones. Both are given for held-out scans, too.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from sklearn.calibration import CalibratedClassifierCV
from sklearn.svm import SVC

import mulligan
from mulligan.tasks.images import read_task

SURE = 0.8
SAMPLES = 1000


def flat(images: np.ndarray) -> np.ndarray:
    return images.reshape(len(images), -1).astype(np.float32) / 255


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+")
    options = parser.parse_args()
    for run in options.runs:
        gan = mulligan.load(run)
        task = read_task("digits", size=gan.shape[0], labels=True)
        reader = CalibratedClassifierCV(SVC(C=10, gamma="scale"), ensemble=False)
        reader.fit(flat(task.train.images), task.train.labels)
        held, truth = flat(task.test.images), task.test.labels
        known = reader.predict_proba(held)
        real_right, real_sure = float((known.argmax(1) == truth).mean()), float((known.max(1) >= SURE).mean())
        asked = np.arange(SAMPLES) % 10 if gan.classes else None
        drawn = gan.sample(SAMPLES, labels=asked) if gan.classes else gan.sample(SAMPLES)
        read = reader.predict_proba(flat(np.asarray(drawn)))
        sure = float((read.max(1) >= SURE).mean())
        right = f"{(read.argmax(1) == asked).mean():.3f} as asked, " if gan.classes else ""
        shares = np.bincount(read.argmax(1), minlength=10) / SAMPLES
        print(
            f"{run}: {right}{sure:.3f} read surely; real scans {real_right:.3f} rightly, {real_sure:.3f} surely; "
            f"shares of classes {shares.min():.2f} to {shares.max():.2f}"
        )


if __name__ == "__main__":
    main()
