"""What `import mulligan` offers: the main job with arguments as people write them, and its report."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from jax.errors import JaxRuntimeError

from mulligan.budget import parse_images, parse_seconds
from mulligan.documents import SEAL, read_json
from mulligan.errors import MulliganError, UsageError, first_line
from mulligan.events import Listener
from mulligan.meta.cluster import cluster_named
from mulligan.meta.fit import average as average_run
from mulligan.meta.fit import fit as fit_task
from mulligan.meta.fit import resume as resume_run
from mulligan.meta.planning import Options
from mulligan.recipe import Architecture, Recipe
from mulligan.report.follow import following
from mulligan.report.page import write_report
from mulligan.training.budget import Budget
from mulligan.training.generator import Generator
from mulligan.training.generator import load as load_generator

__all__ = [
    "Generator",
    "average",
    "export",
    "fit",
    "learn",
    "load",
    "pack",
    "project",
    "prove",
    "resume",
    "score",
    "walk",
]

DEFAULT_TIME = "10m"


@contextmanager
def _memory_told() -> Iterator[None]:
    """Says in a sentence that the memory, of the machine or of its accelerator, did not suffice."""
    try:
        yield
    except (MemoryError, JaxRuntimeError) as error:
        if isinstance(error, JaxRuntimeError) and "RESOURCE_EXHAUSTED" not in str(error):
            raise
        raise MulliganError(
            f"out of memory ({first_line(error)}): use smaller images, or fewer, or a recipe with a smaller batch or "
            "narrower networks."
        ) from error


@_memory_told()
def fit(
    data: Any,
    *,
    time: float | str | None = None,
    images: int | str | None = None,
    out: Path | str | None = None,
    seed: int = 0,
    recipe: Recipe | Mapping[str, Any] | Path | str | None = None,
    size: int | None = None,
    labels: Any = False,
    background: Any = None,
    fit: str | None = None,
    groups: Any = None,
    strategy: str | None = None,
    experience: str | None = None,
    race: str = "ftrl",
    workers: str | None = None,
    init: Path | str | None = None,
    from_run: Path | str | None = None,
    generator: Any = None,
    discriminator: Any = None,
    networks: Path | str | None = None,
    log: Mapping[str, Path | str] | None = None,
    listener: Listener | None = None,
) -> Generator:
    """Trains a GAN on images and returns its best generator; the run folder holds the rest.

    Args:
      data: a folder, archive or file of images, the name of a built-in task; an array `[n, h, w, c]` or `[n, h, w]` of
        any library; a list of arrays, Pillow images or paths; `(images, labels)`; a data set of PyTorch, TensorFlow or
        Hugging Face (docs/tasks.md).
      time: budget in seconds or as text (`"10m"`); 10 minutes when neither budget is given.
      images: budget in images shown to the discriminator (`"2M"`), instead of time; such a run is exact: the same
        arguments and experience on the same machine give the same generator, however often it is interrupted.
      out: run folder to make; must not exist.
      seed: of the weights and batches.
      recipe: a `Recipe`, its JSON value, or a file of it; None for what the experience proposes up to 16x16, one
        recipe, or several that race where the budget is long enough; above that for what suits size and budget.
      size: resample the images to squares of this side.
      labels: make the generator class-conditional; True for the labels that the data has, or a label for each image.
      background: colour behind transparent pixels and around padded images: a name, `#rrggbb` or three numbers; None
        for white, or another where drawings could not be seen on it.
      fit: how images of another aspect ratio are fitted: `"crop"` to the centre, or `"pad"`; None for what keeps more.
      groups: images that the split keeps together: `"near"` for those that look nearly alike, `"folder"`, the name of a
        column or array, or a group for each image.
      strategy: change learning rates and gamma while training by what helps: `"fork"` tries several ways a few times
        and adopts the best, with the learned schedule between; `"switch"` tries one after the other, `"none"` does
        neither; None for the recipe's own.
      experience: file or database URL of what was learned, asked before (above 16x16 once it knows such images)
        and added to after the run, together with what is shipped; None for your own, `"none"` to do without any.
      race: how the budget is shared out among several recipes: `"ftrl"`, `"halving"`, `"uniform"`, or `"single"` for
        the likeliest recipe alone (docs/race.md).
      workers: `"ray"`, or `"ray://HOST:PORT"`, for several recipes to race on a Ray cluster, whose nodes see the run
        folder (docs/cluster.md); None for this machine.
      init: a file of learned initial weights (docs/few-images.md), `"none"` for fresh ones, `"small"` to begin on
        images of half the size (docs/growing.md); None for those that are shipped, where images are near what the
        weights draw, or there are fewer than 200 of 17 to 64 pixels (docs/pretrained.md), and for what `from_run`
        says elsewhere.
      from_run: the folder of a run of yours: its generator and discriminator go on with these images, which are read as
        its own were, by its recipe unless one is given; `"nearest"` for half of the networks of the run of yours that
        drew the nearest images, if one did in networks like these (docs/pretrained.md); None for that too, above 16x16
        with 200 to 500 training images, where neither `recipe`, networks nor `init` are given.
      generator, discriminator: Keras models of your own, or `.keras` files (docs/keras.md); what was trained is in
        them afterwards.
      networks: or a Python file with functions `generator()` and `discriminator()`; it is run.
      log: where curves and samples are written to while it trains, by the program that shows them, such as
        `{"tensorboard": "tb/", "wandb": "wb/", "mlflow": "http://localhost:5000"}`.
      listener: called with every event (docs/run-folder.md) as it happens; in a notebook, progress is shown without.

    Raises:
      UsageError: arguments that cannot mean anything.
      MulliganError: data, recipe or folder cannot be used; the sentence says what to do.
      Interrupted: Ctrl-C, SIGTERM or SIGHUP; the run is saved.
    """
    # Arguments are checked before the images are read, which may take minutes.
    options = Options(
        out=None if out is None else Path(out),
        seed=seed,
        recipe=_recipe(recipe),
        size=size,
        labels=labels,
        background=background,
        fit=fit,
        groups=groups,
        strategy=strategy,
        experience=experience,
        allocation=race,
        workers=None if workers is None else cluster_named(workers),
        init=None if init is None else str(init),
        models=_models(generator, discriminator, networks, None),
        from_run=None if from_run is None else Path(from_run),
        networks=None if networks is None else Path(networks),
    )
    _refuse_empty(data)
    with _listening(listener, log=log) as listen:
        return _reported(fit_task(data, _budget(time, images), replace(options, listener=listen)))


@_memory_told()
def resume(
    run: Path | str,
    *,
    data: Path | str | None = None,
    time: str | None = None,
    images: str | None = None,
    generator: Any = None,
    discriminator: Any = None,
    networks: Path | str | None = None,
    log: Mapping[str, Path | str] | None = None,
    listener: Listener | None = None,
) -> Generator:
    """Goes on with a run that was interrupted, exactly where it stopped; a run that has ended gives its generator.

    A run of models whose classes are your own wants them again, as `fit` took them.

    Args:
      run: its folder.
      data: where its images are now, if they have moved.
      time: what is added to its budget, such as `"+10m"`: a run that has ended goes on.
      images: or images, such as `"+1M"`.
      generator, discriminator, networks: as `fit` took them.
      log: as `fit` takes it; what the run has written so far comes first.
      listener: called with every event (docs/run-folder.md) as it happens; in a notebook, progress is shown without.

    Raises:
      UsageError: arguments that cannot mean anything.
      MulliganError: not a run folder, its images are not those it began with, or another process is training it.
      Interrupted: Ctrl-C, SIGTERM or SIGHUP; the run is saved.
    """
    added: dict[str, str | None] = {"time": time, "images": images}
    for name, amount in added.items():
        if amount is not None and not str(amount).startswith("+"):
            raise UsageError(f"resume adds to the budget of a run: write {name} as +{amount}.")
        added[name] = None if amount is None else str(amount)[1:]
    more = _budget(**added) if any(amount is not None for amount in added.values()) else None
    _models(generator, discriminator, networks, run)
    with _listening(listener, run, log) as listen:
        return _reported(resume_run(run, listen, None if data is None else str(data), more))


@_memory_told()
def load(
    run: Path | str, *, generator: Any = None, discriminator: Any = None, networks: Path | str | None = None
) -> Generator:
    """The generator in a folder that `Generator.save` wrote, or the best one of a run, finished or not.

    `hf:user/name` names one that `Generator.push_to_hub` put on the Hugging Face hub, `hf:user/name@revision` one of
    its versions.

    A run of models whose classes are your own wants them again, as `fit` took them.

    Raises:
      MulliganError: neither, damaged, or written by a newer version.
    """
    _models(generator, discriminator, networks, run)
    return load_generator(run)


@_memory_told()
def average(
    run: Path | str,
    *,
    distil: bool = False,
    weigh_latents: bool = False,
    generator: Any = None,
    discriminator: Any = None,
    networks: Path | str | None = None,
    log: Mapping[str, Path | str] | None = None,
    listener: Listener | None = None,
) -> Generator:
    """Compares all averages of a run that has ended on its validation images, and keeps the best generator.

    `fit` does so by itself, within its budget; here there is no limit (docs/averaging.md).

    Args:
      run: its folder.
      distil: where a mixture of generators is best, train one network to draw what it draws, and keep that if it is
        better than every single generator.
      weigh_latents: draw latents as often as their images are wanted, where the validation images find that better.
      generator, discriminator, networks: models whose classes are your own, as `fit` took them.
      log: as `fit` takes it; all that the run has written comes first.
      listener: called with every event (docs/run-folder.md) as it happens; in a notebook, progress is shown without.

    Raises:
      MulliganError: not a run folder, or a run that has not ended, or its images are not those it trained on.
      Interrupted: Ctrl-C, SIGTERM or SIGHUP.
    """
    _models(generator, discriminator, networks, run)
    with _listening(listener, run, log) as listen:
        return _reported(average_run(run, listen, distil, weigh_latents))


@_memory_told()
def learn(
    *tasks: str,
    time: float | str = "2h",
    experience: str | None = None,
    workers: int | str = 1,
    images: int | str = "32k",
    size: int | None = None,
    init: Path | str | None = None,
    listener: Listener | None = None,
) -> dict[str, Any]:
    """Tries recipes on many tasks and remembers how they did, for runs to come; or learns initial weights from them.

    Args:
      tasks: as `fit` takes data; with `@labels` behind it, each class is a task of its own (docs/experience.md).
      time: in seconds or as text, after which no trial begins.
      experience: file or database URL; None for the user's own.
      workers: processes that share the cores; or `ray`, or `ray://HOST:PORT`, for those of a Ray cluster.
      images: length of a short trial, in images that a narrow default recipe would see for the same operations.
      size: resample the images to squares of this side.
      init: a file, to learn initial weights into it instead (docs/few-images.md); the same call goes on where it
        stopped.
      listener: called with an event for every task read and every trial ended.

    Returns:
      `tasks`, `trials` and `failed` of this call, `place` of the experience, and `seconds`; of initial weights, what
      `meta.initialisation.learn_initialisation` tells.

    Raises:
      UsageError: no such task, workers or time.
      MulliganError: a task, the experience or the file cannot be used.
    """
    if init is not None:
        from mulligan.meta.initialisation.learn_initialisation import MetaRun, learn_initialisation

        return learn_initialisation(MetaRun(tasks, Path(init), parse_seconds(time), size=size), listener or _ignore)
    from mulligan.meta.learn import CollectConfig
    from mulligan.meta.learn import learn as gather

    lessons = CollectConfig(tasks, parse_seconds(time), experience, str(workers), parse_images(images), size)
    return gather(lessons, listener or _ignore)


@_memory_told()
def export(
    generator: Generator | Path | str,
    to: str,
    out: Path | str | None = None,
    *,
    networks: Path | str | None = None,
) -> tuple[Path, str, float]:
    """Writes a generator for another program, opens it there, and compares what it draws (docs/export.md).

    Args:
      generator: one in memory, or the folder of a run or of `Generator.save`.
      to: `keras`, `onnx`, `savedmodel` or `safetensors`.
      out: file to write (for `savedmodel` a folder), which must not exist, and gets the format's suffix where it lacks;
        `generator.keras` and the like by default.
      networks: the Python file of models whose classes are your own, as `fit` took it.

    Returns:
      Where it is, the program that opened it, and the largest difference of a pixel in [-1, 1].

    Raises:
      UsageError: no such format, or something is at `out`.
      MulliganError: what the format needs is not installed, or the other program draws other images.
    """
    from mulligan.exports.export import export as write

    held = _held(generator, networks)
    return write(held, to, None if out is None else Path(out))


@_memory_told()
def score(
    source: Any,
    data: Any,
    *,
    size: int | None = None,
    n: int | None = None,
    inception: Path | str | None = None,
    generator: Any = None,
    discriminator: Any = None,
    networks: Path | str | None = None,
) -> dict[str, Any]:
    """Every metric of a generator (a run folder or a saved generator) or of images, against the test split of `data`.

    Args:
      source: a folder made by `fit` or `Generator.save`, or anything `fit` reads images from.
      data: the real images.
      size: side that both are resampled to; the size of what `source` draws or holds by default.
      n: generated images, or images taken from `source`; 2000 by default.
      inception: the standard file of Inception's weights, for FID (docs/metrics.md).
      generator, discriminator, networks: models whose classes are your own, as `fit` took them, where `source` is of
        such.

    Returns:
      The fields of a `final` event (docs/run-folder.md), with `sides`, and with `protocol` where `inception` is given.

    Raises:
      UsageError: there is nothing at `source` or `data`, or `n` or `size` is out of range.
      MulliganError: one of them cannot be read, or holds too few images.
    """
    from mulligan.meta.score import score as score_images

    _refuse_empty(source)
    _refuse_empty(data)
    _models(generator, discriminator, networks, source)
    return score_images(source, data, size, n, None if inception is None else Path(inception))


def prove(source: Generator | Path | str, data: Any, *, listener: Listener | None = None) -> dict[str, Any]:
    """Whether a generator's images help a classifier, whether they are copies, and whom they give away (docs/proof.md).

    A run keeps it as `proof.json`, and its report shows it.

    Args:
      source: a run folder, a saved generator, or a generator in memory; one without classes is not tried on a
        classifier.
      data: the images of its run, read as the run read them, so that it is known which of them were never trained on.
      listener: called with an event for every step.

    Returns:
      The content of `proof.json` (docs/run-folder.md); `sentence` says it in words.

    Raises:
      MulliganError: other data than the run's, or too few images to test on.
    """
    from mulligan.proof.prove import DOCUMENT
    from mulligan.proof.prove import prove as proof_of
    from mulligan.training.card import NAME as CARD
    from mulligan.training.run import RunFolder

    generator = _held(source)
    proof = proof_of(generator, data, listener or _ignore)
    if generator.run is not None:
        RunFolder(generator.run).write(DOCUMENT, proof)
        replace(generator, proof=proof["sentence"]).write_card(generator.run / CARD)
        write_report(generator.run)
    return proof


@_memory_told()
def project(
    source: Generator | Path | str,
    pictures: Path | str,
    out: Path | str = "projected",
    *,
    label: str | None = None,
    listener: Listener | None = None,
) -> dict[str, Any]:
    """Finds latents whose images come near to given pictures, and shows how near (docs/latents.md).

    `Generator.project` does so with arrays, and writes nothing.

    Args:
      source: a run folder, a saved generator, or a generator in memory.
      pictures: a folder, zip, tar or file of pictures, which are brought to the generator's shape.
      out: folder for `projection.png`, `projection.json` and `latents.npz`.
      label: name of the class of all pictures; None where each is to get the one that comes nearest.
      listener: called with an event now and then.

    Returns:
      The content of `projection.json`.

    Raises:
      UsageError: there is nothing at `pictures`, or no such class.
      MulliganError: no pictures are there, or no generator.
    """
    from mulligan.latent_space.project import project as project_all

    generator = _held(source)
    number = None if label is None else generator.class_number(label)
    return project_all(generator, Path(pictures), Path(out), number, listener or _ignore)


@_memory_told()
def pack(
    data: Any,
    out: Path | str,
    *,
    size: int | None = None,
    background: Any = None,
    fit: str | None = None,
    groups: Any = None,
    progress: Callable[[int, int], None] = lambda done, n: None,
) -> Path:
    """Writes images as they are read into a folder from which any number of them stream (docs/tasks.md).

    The same command goes on with a pack that was interrupted.

    Args:
      data, size, background, fit, groups: as `fit` takes them; labels and splits are kept where there are any.
      out: the new folder.
      progress: called with the number of images that are written, and that of all.

    Returns:
      The folder.

    Raises:
      UsageError: no such data.
      MulliganError: it cannot be read, the folder holds another pack, or `mulligan[pack]` is not installed.
    """
    from mulligan.tasks.framing import Request, parse_colour
    from mulligan.tasks.images import read_collection
    from mulligan.tasks.pack import refuse_pack, write_pack

    refuse_pack(Path(out))
    _, collection = read_collection(data, Request(size, fit, parse_colour(background)), groups)
    write_pack(collection, Path(out), progress)
    return Path(out)


@_memory_told()
def walk(
    source: Generator | Path | str,
    out: Path | str = "walk.gif",
    *,
    n: int = 9,
    seconds: float = 8.0,
    seed: int = 0,
    truncation: float = 1.0,
    label: str | None = None,
) -> Path:
    """Writes an animation in which `n` images change smoothly into others and end as they began (docs/latents.md).

    Args:
      source: a run folder, a saved generator, or a generator in memory.
      out: a `.gif`, `.webp` or, where ffmpeg is installed, `.mp4` file.
      n: images beside each other, 1 to 64.
      seconds: of one round, up to 120.
      seed: of the walk.
      truncation: factor on the latents, 0 to 3, as of `Generator.sample`.
      label: name of the class of all images; None for the classes in turn.

    Raises:
      UsageError: another kind of file, a number that is out of range, or no such class.
      MulliganError: no generator, no ffmpeg, or the file cannot be written.
    """
    from mulligan.latent_space.walk import write_walk

    generator = _held(source)
    number = None if label is None else generator.class_number(label)
    return write_walk(generator, Path(out), n, seconds, seed, truncation, number)


def _budget(time: float | str | None, images: int | str | None) -> Budget:
    if time is not None and images is not None:
        raise UsageError("a run has one budget: give `time` or `images`, not both.")
    if images is not None:
        return Budget(parse_images(images), None)
    return Budget(None, parse_seconds(DEFAULT_TIME if time is None else time))


def _models(generator: Any, discriminator: Any, networks: Path | str | None, run: Any = None) -> Architecture | None:
    """The architecture of models of the caller's own, if there are any: given, or made again by the file of a run."""
    if generator is None and discriminator is None and networks is None:
        document = Path(run) / "run.json" if isinstance(run, str | Path) else None
        kept = read_json(document).get("networks") if document and document.is_file() else None
        if document is None or not kept:
            return None
        from mulligan.networks.keras_files import remembered_file
        from mulligan.networks.keras_models import classes_of

        recipe = Recipe.from_json(read_json(document.with_name("recipe.json")))
        networks = remembered_file(kept) if classes_of(recipe.architecture) else None
        if networks is None:
            return None
    from mulligan.networks.keras_files import run_file
    from mulligan.networks.keras_models import adopt

    if networks is not None:
        if generator is not None or discriminator is not None:
            raise UsageError("give the models as objects or as a file of networks, not both.")
        generator, discriminator = run_file(Path(networks))
    return adopt(generator, discriminator)


def _refuse_empty(data: Any) -> None:
    """An empty name would be taken for the folder that the program runs in."""
    if isinstance(data, str) and not data.strip():
        raise UsageError("the data is an empty name: give a folder, a file or the name of a built-in data set.")


@contextmanager
def _listening(
    listener: Listener | None, run: Path | str | None = None, log: Mapping[str, Path | str] | None = None
) -> Iterator[Listener]:
    """The listener that was given, else, in a notebook, one that shows progress in the cell; and `log` is written."""
    folder = None if run is None else Path(run)
    with ExitStack() as stack:
        if listener is None and "IPython" in sys.modules:  # which a notebook has imported
            from mulligan.notebook import in_notebook, notebook_listener

            listener = stack.enter_context(notebook_listener(folder)) if in_notebook() else None
        yield stack.enter_context(following(log or {}, listener or _ignore, folder))


def _recipe(recipe: Recipe | Mapping[str, Any] | Path | str | None) -> Recipe | None:
    """What was given as a recipe, checked; the checksum of a run's own `recipe.json` stays behind: it may be edited."""
    if recipe is None:
        return None
    if isinstance(recipe, Recipe):
        try:
            return Recipe.from_json(recipe.to_json())
        except (TypeError, ValueError, AttributeError) as error:
            raise MulliganError(f"the recipe is not made of plain numbers, names and tuples: {error}.") from error
    document = recipe if isinstance(recipe, Mapping) else read_json(Path(recipe))
    # A run's own recipe.json may be edited: its checksum stays behind.
    if isinstance(document, Mapping):
        document = {name: value for name, value in document.items() if name != SEAL}
    return Recipe.from_json(document)


def _held(source: Generator | Path | str, networks: Path | str | None = None) -> Generator:
    return source if isinstance(source, Generator) else load(source, networks=networks)


def _reported(generator: Generator) -> Generator:
    if generator.run is not None:
        write_report(generator.run)
    return generator


def _ignore(event: dict[str, Any]) -> None:
    del event
