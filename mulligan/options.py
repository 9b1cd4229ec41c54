"""Arguments and options that several commands share, with their help."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

DATA_HELP = "A folder, zip, tar, .npz, .npy, MNIST or CIFAR-10 file, Hugging Face data set, or built-in name."
TIME_HELP = "Budget of time, such as 90s, 10m or 1h30m."

Data = Annotated[str, typer.Argument(metavar="DATA", help=DATA_HELP, show_default=False)]
Run = Annotated[Path, typer.Argument(metavar="RUN", help="A run folder, as fit made it.", show_default=False)]
Size = Annotated[int | None, typer.Option(min=8, metavar="N", help="Resample the images to N pixels a side.")]
Background = Annotated[
    str | None, typer.Option(metavar="COLOUR", help="Behind transparent pixels and around padded images.")
]
Framing = Annotated[str | None, typer.Option("--fit", metavar="crop|pad", help="Bring images to one shape by either.")]
Groups = Annotated[str | None, typer.Option(metavar="near|folder|NAME", help="Images that the split keeps together.")]
Seed = Annotated[
    int,
    typer.Option(
        min=0,
        metavar="N",
        help="Random seed. With the time as budget, how far a run gets depends on the clock; --images is exact.",
    ),
]
Out = Annotated[Path | None, typer.Option("--out", "-o", metavar="RUN", help="Folder to make for the run.")]
Networks = Annotated[
    Path | None,
    typer.Option(
        "--networks",
        metavar="FILE.py",
        help="Python file that defines generator() and discriminator() (Keras). The file is executed.",
    ),
]
Label = Annotated[
    str | None, typer.Option("--label", metavar="NAME", help="One class only, of a run of `fit --labels`.")
]
Truncation = Annotated[
    float,
    typer.Option(min=0, max=3, metavar="X", help="Below 1 more typical images, but more alike; above 1 stranger ones."),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress; only warnings and the result.")]
TensorBoard = Annotated[
    Path | None,
    typer.Option("--tensorboard", metavar="DIR", help="Write TensorBoard event files to DIR, too."),
]
Wandb = Annotated[
    Path | None,
    typer.Option("--wandb", metavar="DIR", help="Write a Weights & Biases run to DIR, offline unless WANDB_MODE says."),
]
MLflow = Annotated[
    str | None,
    typer.Option("--mlflow", metavar="URI", help="Write an MLflow run to a tracking server or a folder."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for machines, and nothing else.")]
Place = Annotated[
    str | None,
    typer.Option(
        "--experience", metavar="FILE|URL", help="Where trials are remembered; your own data folder if not given."
    ),
]
