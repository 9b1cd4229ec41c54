"""Where the seconds of a run went: training, evaluating, and everything else.

    python benchmarks/speed/overhead.py RUN...

From the run's events alone. What is neither training nor evaluating is overhead: reading, the experience, compiling,
checkpoints, pictures, and in a race the arms' beginnings.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

from mulligan.events import ChunkTrained, Evaluated, FinalScored, GeneratorChosen, TrainingStarted
from mulligan.training.run import RunFolder


def shares(folder: RunFolder) -> dict[str, float]:
    """Seconds of a run that has ended, by what they went into; all arms of a race together.

    `evaluating` includes the comparison of averages and the final score.
    """
    final, choices = folder.events(FinalScored)[-1], folder.events(GeneratorChosen)
    races = sorted((folder.path / "trials").glob("*")) if (folder.path / "race.json").is_file() else []
    won = folder.document("race")["winner"] if races else None
    runs = [folder, *(RunFolder(path) for number, path in enumerate(races) if number != won)]
    training, evaluating, compiling = (sum(parts) for parts in zip(*map(_parts, runs), strict=True))
    spent_by_others = folder.document("race")["spent_by_others"]["seconds"] if races else 0.0
    total = final.seconds + spent_by_others
    evaluating += (choices[-1].spent or 0.0) + final.seconds - choices[-1].seconds if choices else 0.0
    rest = total - training - evaluating - compiling
    return {"total": total, "training": training, "evaluating": evaluating, "compiling": compiling, "rest": rest}


def _parts(folder: RunFolder) -> tuple[float, float, float]:
    """Seconds of training, of evaluations on the way, and of compiling, by one recipe."""
    before, training = 0, 0.0
    for chunk in folder.events(ChunkTrained):
        training += max(chunk.nimg - before, 0) / (chunk.images_per_second or math.inf)
        before = chunk.nimg
    evaluating = sum(event.spent or 0.0 for event in folder.events(Evaluated))
    compiling = sum(event.compile_seconds or 0.0 for event in folder.events(TrainingStarted))
    return training, evaluating, compiling


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path)
    for path in parser.parse_args().runs:
        found = shares(RunFolder.open(path))
        parts = ", ".join(f"{name} {value / found['total']:.1%}" for name, value in found.items() if name != "total")
        print(f"{path}: {found['total']:.1f} s: {parts}")


if __name__ == "__main__":
    main()
