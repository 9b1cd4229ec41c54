"""The command line: parses, calls, prints, and computes nothing itself.

Whatever is slow to import is imported inside the command that needs it, so that `mulligan --help` is instant.
"""

from __future__ import annotations

import errno
import io
import json
import os
import re
import sys
import threading
from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from mulligan.commands import command
from mulligan.errors import MulliganError, Terminated, UsageError, signal_number
from mulligan.experience_cli import experience_app
from mulligan.interrupt import terminations_raised
from mulligan.options import (
    TIME_HELP,
    Background,
    Data,
    Framing,
    Groups,
    Json,
    Label,
    MLflow,
    Networks,
    Out,
    Place,
    Quiet,
    Run,
    Seed,
    Size,
    TensorBoard,
    Truncation,
    Wandb,
)
from mulligan.tables import listed


class Commands(TyperGroup):
    """Commands that end alike by Ctrl-C, SIGTERM and SIGHUP: with a sentence, and 128 more than the signal's number."""

    def invoke(self, ctx: Any) -> Any:
        try:
            with terminations_raised():
                return super().invoke(ctx)
        except KeyboardInterrupt as stop:
            _fail(str(stop) if isinstance(stop, Terminated) else "interrupted", 128 + signal_number(stop))


app = typer.Typer(
    name="mulligan",
    cls=Commands,
    help="Train a GAN on your images, from what was learned on others.",
    epilog="mulligan COMMAND --help tells more. Exit codes: 0 done, 1 failed, 2 bad usage, 128 + n ended by signal n "
    "(130 is Ctrl-C).",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,  # plain help takes a third of the time of rich help
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


@app.command()
def fit(
    data: Data,
    *,
    time: Annotated[str | None, typer.Option(metavar="TIME", help=f"{TIME_HELP}  [default: 10m]")] = None,
    images: Annotated[str | None, typer.Option(metavar="N", help="Budget of images instead: 500k, 2M.")] = None,
    out: Out = None,
    seed: Seed = 0,
    recipe: Annotated[Path | None, typer.Option(metavar="FILE", help="What to train: see `mulligan recipe`.")] = None,
    size: Size = None,
    labels: Annotated[bool, typer.Option("--labels", help="Condition on the classes.")] = False,
    background: Background = None,
    fit: Framing = None,
    groups: Groups = None,
    strategy: Annotated[
        str | None,
        typer.Option(metavar=listed("training.strategist.MODES"), help="Adapt rates and gamma while training."),
    ] = None,
    experience: Annotated[
        str | None,
        typer.Option(
            "--experience", metavar="FILE|URL|none", help="Experience to consult and extend; default: your own."
        ),
    ] = None,
    race: Annotated[
        str,
        typer.Option(
            metavar=listed("meta.race.allocation.ALLOCATIONS"), help="How to divide the budget among recipes."
        ),
    ] = "ftrl",
    workers: Annotated[
        str | None,
        typer.Option(metavar="ray[://...]", help="A Ray cluster on which several recipes race; default: this machine."),
    ] = None,
    init: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|none|small",
            help="Learned weights, fresh ones, or small images first; default: what suits.",
        ),
    ] = None,
    from_run: Annotated[
        Path | None,
        typer.Option("--from", metavar="RUN|nearest", help="Networks of a run; default: half of your nearest one's."),
    ] = None,
    networks: Networks = None,
    tensorboard: TensorBoard = None,
    wandb: Wandb = None,
    mlflow: MLflow = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Train a GAN on your images within a budget."""
    from mulligan.api import fit as train

    budget = {"time": time, "images": images}
    reading = {"size": size, "labels": labels, "background": background, "fit": fit, "groups": groups}
    learned = {"recipe": recipe, "strategy": strategy, "experience": experience, "init": init}
    racing = {"race": race, "workers": workers}
    given = {"from_run": from_run, "networks": networks, "log": _log(tensorboard, wandb, mlflow)}
    _train(partial(train, data, **budget, **reading, **learned, **racing, **given, out=out, seed=seed), quiet, as_json)


@app.command()
def resume(
    run: Run,
    *,
    data: Annotated[str | None, typer.Option(metavar="PLACE", help="Where its images are now, if they moved.")] = None,
    time: Annotated[
        str | None, typer.Option(metavar="+TIME", help="Add to its budget, such as +10m: a run that has ended goes on.")
    ] = None,
    images: Annotated[str | None, typer.Option(metavar="+N", help="Or images: +500k, +2M.")] = None,
    networks: Networks = None,
    tensorboard: TensorBoard = None,
    wandb: Wandb = None,
    mlflow: MLflow = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Go on with a run that was interrupted, to the same end."""
    from mulligan.api import resume as train

    log = _log(tensorboard, wandb, mlflow)
    start = partial(train, run, data=data, time=time, images=images, networks=networks, log=log)
    _train(start, quiet, as_json, run)


@app.command()
def average(
    run: Run,
    distil: Annotated[bool, typer.Option("--distil", help="Train one network to draw what a mixture draws.")] = False,
    weigh_latents: Annotated[
        bool, typer.Option("--weigh-latents", help="Draw latents as often as their images are wanted.")
    ] = False,
    networks: Networks = None,
    tensorboard: TensorBoard = None,
    wandb: Wandb = None,
    mlflow: MLflow = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Compare the averages of a finished run, and keep the best."""
    from mulligan.api import average as compare

    log = _log(tensorboard, wandb, mlflow)
    how = partial(compare, run, distil=distil, weigh_latents=weigh_latents, networks=networks, log=log)
    _train(how, quiet, as_json, run)


@app.command()
def sample(
    run: Run,
    number: Annotated[int, typer.Option("-n", min=1, metavar="N", help="How many.")] = 64,
    out: Annotated[
        Path,
        typer.Option("--out", "-o", metavar="FILE", help="A .png or .jpg for a grid, else a folder for a file each."),
    ] = Path("samples.png"),
    seed: Annotated[int, typer.Option(min=0, metavar="N", help="The same seed draws the same images.")] = 0,
    label: Label = None,
    truncation: Truncation = 1.0,
    networks: Networks = None,
) -> None:
    """Draw new images from a trained generator."""
    from mulligan.api import load
    from mulligan.files import make_folder, replace_file
    from mulligan.grid import picture_format, png, save_grid

    gan = load(run, networks=networks)
    labels = None if label is None else gan.class_number(label)
    samples = gan.sample(number, seed=seed, labels=labels, truncation=truncation)
    if picture_format(out) and not out.is_dir():
        make_folder(out.parent)
        save_grid(out, samples)
    else:
        make_folder(out)
        for index, image in enumerate(samples):
            replace_file(out / f"{index:06d}.png", png(image))
    print(out)


@app.command()
def project(
    run: Run,
    pictures: Annotated[
        Path, typer.Argument(metavar="PHOTOS", help="A folder, zip, tar or file of pictures.", show_default=False)
    ],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Folder for what is found.")] = Path(
        "projected"
    ),
    label: Annotated[
        str | None, typer.Option(metavar="NAME", help="Class of all; each gets the nearest if not given.")
    ] = None,
    networks: Networks = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Find latents whose images come near to given pictures."""
    from mulligan.api import load
    from mulligan.api import project as project_all
    from mulligan.progress import event_lines, projection_lines

    gan = load(run, networks=networks)
    found = project_all(gan, pictures, out, label=label, listener=event_lines(quiet, as_json))
    print(
        json.dumps(found)
        if as_json
        else "\n".join([*projection_lines(found), f"{'pictures':10}{out / 'projection.png'}"])
    )


@app.command()
def walk(
    run: Run,
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="FILE", help="A .gif or .webp, or an .mp4 where ffmpeg is installed.")
    ] = Path("walk.gif"),
    number: Annotated[int, typer.Option("-n", min=1, max=64, metavar="N", help="How many beside each other.")] = 9,
    seconds: Annotated[float, typer.Option(metavar="S", help="Until it begins again.")] = 8.0,
    seed: Annotated[int, typer.Option(min=0, metavar="N", help="The same seed walks the same way.")] = 0,
    label: Label = None,
    truncation: Truncation = 1.0,
    networks: Networks = None,
) -> None:
    """Draw an animation of images that change into others."""
    from mulligan.api import load
    from mulligan.api import walk as write

    gan = load(run, networks=networks)
    print(write(gan, out, n=number, seconds=seconds, seed=seed, truncation=truncation, label=label))


@app.command()
def pack(
    data: Data,
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The new folder.", show_default=False)],
    *,
    size: Size = None,
    background: Background = None,
    fit: Framing = None,
    groups: Groups = None,
    quiet: Quiet = False,
) -> None:
    """Write many images as a folder that is drawn from quickly."""
    from mulligan.api import pack as write

    def tell(done: int, n: int) -> None:
        if not quiet:
            print(f"{done:,} of {n:,} images packed", file=sys.stderr)

    print(write(data, out, size=size, background=background, fit=fit, groups=groups, progress=tell))


@app.command()
def export(
    run: Run,
    to: Annotated[str, typer.Option(metavar=listed("exports.export.FORMATS"), help="The kind of file to write.")],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="FILE", help="Where; generator.keras and the like if not given."),
    ] = None,
    networks: Networks = None,
) -> None:
    """Write the generator for Keras, ONNX, TensorFlow or others."""
    from mulligan.api import export as write

    path, opened_by, difference = write(run, to, out, networks=networks)
    print(f"{path}\n{opened_by} verified: pixels differ by at most {difference:.1g} (range -1 to 1)")


@app.command()
def serve(
    run: Run,
    port: Annotated[int, typer.Option(min=0, max=65535, metavar="N", help="On this machine; 0 takes any.")] = 8000,
    networks: Networks = None,
) -> None:
    """Show the generator as a web page with sliders."""
    from mulligan.api import load
    from mulligan.serve.server import make_server

    server = make_server(load(run, networks=networks), port)
    print(f"http://localhost:{server.server_address[1]} (Ctrl-C ends it)", flush=True)
    try:
        server.serve_forever()
    finally:
        server.server_close()


@app.command()
def report(
    run: Run,
    networks: Networks = None,
    tensorboard: TensorBoard = None,
    wandb: Wandb = None,
    mlflow: MLflow = None,
) -> None:
    """Draw the report of a run again, as one HTML page."""
    del networks  # every command on a run takes them; a page needs none
    from mulligan.report.follow import write_curves
    from mulligan.report.page import write_report

    print(write_report(run))
    for program, place in _log(tensorboard, wandb, mlflow).items():
        write_curves(run, program, str(place))


@app.command()
def explain(run: Run) -> None:
    """Explain which recipes were tried, and why the winner won."""
    from mulligan.report.race import explain as lines

    print("\n".join(lines(run)))


@app.command()
def score(
    source: Annotated[str, typer.Argument(metavar="RUN|IMAGES", help="A run folder or images.", show_default=False)],
    data: Data,
    size: Size = None,
    number: Annotated[
        int | None, typer.Option("-n", min=2, metavar="N", help="How many images of each to compare.")
    ] = None,
    inception: Annotated[
        Path | None, typer.Option("--inception", metavar="FILE", help="Weights of Inception, for FID.")
    ] = None,
    networks: Networks = None,
    as_json: Json = False,
) -> None:
    """Measure how close a run or images come to a data set."""
    from mulligan.api import score as measure
    from mulligan.progress import result_lines

    scores = measure(source, data, size=size, n=number, inception=inception, networks=networks)
    print(json.dumps(scores) if as_json else "\n".join(result_lines(scores)))


@app.command()
def prove(run: Run, data: Data, networks: Networks = None, quiet: Quiet = False, as_json: Json = False) -> None:
    """Say whether a run's images are of use, and whether copies."""
    from mulligan.api import load
    from mulligan.api import prove as proof_of
    from mulligan.progress import event_lines

    proof = proof_of(load(run, networks=networks), data, listener=event_lines(quiet, as_json))
    print(json.dumps(proof) if as_json else f"{proof['sentence']}\n{'report':10}{run / 'report.html'}")


@app.command()
def demo(
    out: Out = None,
    time: Annotated[str, typer.Option(metavar="TIME", help=TIME_HELP)] = "60s",
    quiet: Quiet = False,
) -> None:
    """Train on built-in handwritten digits for about a minute."""
    fit("digits", time=time, out=out, size=16, labels=True, quiet=quiet)


@app.command()
def recipe() -> None:
    """Print the default recipe as JSON, to edit for `fit --recipe`.

    It is the one for 32x32 and ten minutes of this machine.
    """
    from mulligan.meta.space.default import default_recipe
    from mulligan.training.budget import Budget

    print(json.dumps(default_recipe((32, 32, 3), 50_000, Budget(None, 600.0)).to_json(), indent=2))


@app.command()
def learn(
    tasks: Annotated[
        list[str],
        typer.Argument(metavar="TASKS", help="DATA as for fit, or DATA@labels: each class a task.", show_default=False),
    ],
    *,
    time: Annotated[str, typer.Option(metavar="TIME", help=TIME_HELP)] = "2h",
    experience: Place = None,
    workers: Annotated[
        str, typer.Option(metavar="N|ray[://...]|slurm:N", help="Processes, a Ray cluster, or jobs of Slurm.")
    ] = "1",
    images: Annotated[
        str, typer.Option(metavar="N", help="Length of a short trial, in images of the reference recipe.")
    ] = "32k",
    size: Size = None,
    init: Annotated[
        Path | None, typer.Option("--init", metavar="FILE", help="Learn initial weights into FILE instead.")
    ] = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Try recipes on many tasks and remember how they did."""
    from mulligan.api import learn as gather
    from mulligan.progress import event_lines

    done = gather(
        *tasks,
        time=time,
        experience=experience,
        workers=workers,
        images=images,
        size=size,
        listener=event_lines(quiet, as_json),
        init=init,
    )
    told = "{trials} trials on {tasks} tasks, {failed} failed: {place}"
    told = told if init is None else "{episodes} episodes of {tasks} tasks: {place}"
    print(json.dumps(done) if as_json else told.format(**done))


app.add_typer(experience_app, name="experience")


def _print_version(wanted: bool) -> bool:
    if wanted:
        from importlib.metadata import version

        print(version("mulligan"))
        raise typer.Exit
    return wanted


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit."),
    ] = False,
) -> None:
    """Options of the program itself."""


def _train(start: Callable[..., Any], quiet: bool, as_json: bool, run: Path | None = None) -> None:
    """Trains, draws the report and says where everything is."""
    from mulligan.progress import listener, result_lines

    with listener(quiet, as_json, run) as listen:
        gan = start(listener=listen)
    if not as_json:
        places = {"pictures": gan.run / "final" / "samples.png", "report": gan.run / "report.html"}
        places["more"] = command("sample", gan.run, "-n", "64", "-o", "grid.png")
        print("\n".join([*result_lines(gan.result), *(f"{name:10}{place}" for name, place in places.items())]))


def _log(tensorboard: Path | None, wandb: Path | None, mlflow: str | None) -> dict[str, Any]:
    """The places that curves are written to, by program."""
    places = {"tensorboard": tensorboard, "wandb": wandb, "mlflow": mlflow}
    return {name: place for name, place in places.items() if place is not None}


COMPILING = "compiling"  # names of threads that are not waited for when the program fails
FULL = (errno.ENOSPC, errno.EDQUOT)
LOCKED = (errno.EROFS, errno.EACCES, errno.EPERM)


def main() -> None:
    """Runs the command line, and says what a person can mend in one sentence instead of a traceback."""
    sys.stdout, sys.stderr = (stream or io.StringIO() for stream in (sys.stdout, sys.stderr))
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal may lack a letter of a name
    try:
        _refuse_empty(sys.argv[1:])
        app()
    except MulliganError as error:
        _fail(str(error), 2 if isinstance(error, UsageError) else 1)
    except OSError as error:
        place = error.filename or "the run"
        if error.errno in FULL:
            _fail(f"no space left to write {place}: make some and try again.", 1)
        if error.errno in LOCKED:
            _fail(f"not allowed to use {place}: {error.strerror}; choose another place or change its rights.", 1)
        if error.filename and error.strerror:
            _fail(f"cannot use {place}: {error.strerror}.", 1)
        raise


def _refuse_empty(words: Sequence[str]) -> None:
    """An empty word, such as of a variable that is not set, would be taken for the folder that one is in."""
    for before, word in zip(["", *words], words, strict=False):
        name, given, value = word.partition("=")
        if not word.strip():
            where = f"after {before}" if before.startswith("-") else "where a name or path is wanted"
            raise UsageError(f"there is an empty word {where}: give one, or leave the option out.")
        if given and name.startswith("--") and not value.strip():
            raise UsageError(f"{name} is empty: give it a value, or leave it out.")


def as_options(sentence: str) -> str:
    """A sentence of the library, which names parameters in backticks, with the command line's options instead.

    Example:
      >>> as_options("give `time` or `images`; `from_run` goes on, and `other` is no option")
      'give --time or --images; --from goes on, and `other` is no option'
    """
    return re.sub(r"`(\w+)`", lambda found: _option_of_parameter().get(found[1], found[0]), sentence)


@cache  # Typer takes tenths of a second to say them
def _option_of_parameter() -> dict[str, str]:
    """Options of all commands by the parameter that each is."""
    commands = getattr(typer.main.get_command(app), "commands", {}).values()
    options = {parameter.name: parameter.opts[0] for command in commands for parameter in command.params}
    return {name: option for name, option in options.items() if option.startswith("--")}


def _fail(reason: str, code: int) -> NoReturn:
    print(f"mulligan: {as_options(reason)}", file=sys.stderr, flush=True)
    if any(thread.name.startswith(COMPILING) for thread in threading.enumerate()):
        os._exit(code)  # or Python would wait until the compiler is done
    sys.exit(code)
