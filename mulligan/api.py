"""What `import mulligan` offers: the main job with arguments as people write them, and its report."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mulligan.budget import parse_images, parse_seconds
from mulligan.errors import UsageError
from mulligan.meta.fit import Options
from mulligan.meta.fit import average as average_run
from mulligan.meta.fit import fit as fit_task
from mulligan.meta.fit import resume as resume_run
from mulligan.recipe import Architecture, Recipe
from mulligan.report.page import write_report
from mulligan.training.budget import Budget
from mulligan.training.generator import Generator
from mulligan.training.generator import load as load_generator
from mulligan.training.run import read_json

__all__ = ["Generator", "average", "export", "fit", "learn", "load", "prove", "resume", "score"]

DEFAULT_TIME = "10m"


def fit(
    data: Any,
    *,
    time: float | str | None = None,
    images: int | str | None = None,
    out: Path | str | None = None,
    seed: int = 0,
    recipe: Recipe | Mapping[str, Any] | Path | str | None = None,
    size: int | None = None,
    labels: bool = False,
    strategy: str | None = None,
    experience: str | None = None,
    race: str = "ftrl",
    init: Path | str | None = None,
    generator: Any = None,
    discriminator: Any = None,
    networks: Path | str | None = None,
    listener: Callable[[dict[str, Any]], None] | None = None,
) -> Generator:
    """Trains a GAN on images and returns its best generator; the run folder holds the rest.

    Args:
      data: a folder, archive or file of images, the name of a built-in task, or an array `[n, h, w, c]` or `[n, h, w]`.
      time: budget in seconds or as text (`"10m"`); 10 minutes when neither budget is given.
      images: budget in images shown to the discriminator (`"2M"`), instead of time; such a run is exact: the same
        arguments and experience on the same machine give the same generator, however often it is interrupted.
      out: run folder to make; must not exist.
      seed: of the weights and batches.
      recipe: a `Recipe`, its JSON value, or a file of it; None for what the experience proposes: one recipe, or several
        that race where the budget is long enough.
      size: resample the images to squares of this side.
      labels: make the generator class-conditional.
      strategy: change learning rates and gamma while training by what helps: `"fork"` tries several ways a few times
        and adopts the best, with the learned schedule between; `"switch"` tries one after the other, `"none"` does
        neither; None for the recipe's own.
      experience: file or database URL of what was learned, asked before and added to after the run, together with
        what is shipped; None for your own, `"none"` to do without any.
      race: how the budget is shared out among several recipes: `"ftrl"`, `"halving"`, `"uniform"`, or `"single"` for
        the likeliest recipe alone (docs/race.md).
      init: a file of learned initial weights (docs/few-images.md), `"none"` for fresh ones; None for those that are
        shipped, where there are few images and they look alike.
      generator, discriminator: Keras models of your own, or `.keras` files (docs/keras.md); what was trained is in
        them afterwards.
      networks: or a Python file with functions `generator()` and `discriminator()`; it is run.
      listener: called with every event (docs/run-folder.md) as it happens.

    Raises:
      UsageError: arguments that cannot mean anything.
      MulliganError: data, recipe or folder cannot be used; the sentence says what to do.
      Interrupted: Ctrl-C; the run is saved.
    """
    options = Options(
        out=None if out is None else Path(out),
        seed=seed,
        recipe=_recipe(recipe),
        size=size,
        labels=labels,
        strategy=strategy,
        experience=experience,
        allocation=race,
        init=None if init is None else str(init),
        models=_models(generator, discriminator, networks),
        listener=listener or _ignore,
    )
    return _reported(fit_task(data, _budget(time, images), options))


def resume(
    run: Path | str,
    *,
    generator: Any = None,
    discriminator: Any = None,
    networks: Path | str | None = None,
    listener: Callable[[dict[str, Any]], None] | None = None,
) -> Generator:
    """Goes on with a run that was interrupted, exactly where it stopped; a run that has ended gives its generator.

    A run of models whose classes are your own wants them again, as `fit` took them.
    """
    _models(generator, discriminator, networks)
    return _reported(resume_run(run, listener or _ignore))


def load(
    run: Path | str, *, generator: Any = None, discriminator: Any = None, networks: Path | str | None = None
) -> Generator:
    """The generator in a folder that `Generator.save` wrote, or the best one of a run, finished or not.

    A run of models whose classes are your own wants them again, as `fit` took them.

    Raises:
      MulliganError: neither, damaged, or written by a newer version.
    """
    _models(generator, discriminator, networks)
    return load_generator(run)


def average(
    run: Path | str, *, distil: bool = False, listener: Callable[[dict[str, Any]], None] | None = None
) -> Generator:
    """Compares all averages of a run that has ended on its validation images, and keeps the best generator.

    `fit` does so by itself, within its budget; here there is no limit (docs/averaging.md).

    Args:
      run: its folder.
      distil: where a mixture of generators is best, train one network to draw what it draws, and keep that if it is
        better than every single generator.
      listener: called with every event (docs/run-folder.md) as it happens.
    """
    return _reported(average_run(run, listener or _ignore, distil))


def learn(
    *tasks: str,
    time: float | str = "2h",
    experience: str | None = None,
    workers: int | str = 1,
    images: int | str = "32k",
    size: int | None = None,
    init: Path | str | None = None,
    listener: Callable[[dict[str, Any]], None] | None = None,
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
    """
    if init is not None:
        from mulligan.meta.initialisation.learn_initialisation import MetaRun, learn_initialisation

        return learn_initialisation(MetaRun(tasks, Path(init), parse_seconds(time), size=size), listener or _ignore)
    from mulligan.meta.learn import CollectConfig
    from mulligan.meta.learn import learn as gather

    lessons = CollectConfig(tasks, parse_seconds(time), experience, str(workers), parse_images(images), size)
    return gather(lessons, listener or _ignore)


def export(generator: Generator | Path | str, to: str, out: Path | str | None = None) -> tuple[Path, str, float]:
    """Writes a generator for another program, opens it there, and compares what it draws (docs/export.md).

    Args:
      generator: one in memory, or the folder of a run or of `Generator.save`.
      to: `keras`, `onnx`, `savedmodel` or `safetensors`.
      out: file to write (for `savedmodel` a folder), which must not exist; `generator.keras` and the like by default.

    Returns:
      Where it is, the program that opened it, and the largest difference of a pixel in [-1, 1].

    Raises:
      UsageError: no such format, or something is at `out`.
      MulliganError: what the format needs is not installed, or the other program draws other images.
    """
    from mulligan.exports.export import export as write

    held = generator if isinstance(generator, Generator) else load(generator)
    return write(held, to, None if out is None else Path(out))


def score(
    source: Any,
    data: Any,
    *,
    size: int | None = None,
    n: int | None = None,
    inception: Path | str | None = None,
) -> dict[str, Any]:
    """Every metric of a generator (a run folder or a saved generator) or of images, against the test split of `data`.

    Args:
      source: a folder made by `fit` or `Generator.save`, or anything `fit` reads images from.
      data: the real images.
      size: side that both are resampled to; a generator's own size by default.
      n: generated images, or images taken from `source`; 2000 by default.
      inception: the standard file of Inception's weights, for FID (docs/metrics.md).
    """
    from mulligan.meta.score import score as score_images

    return score_images(source, data, size, n, None if inception is None else Path(inception))


def prove(
    source: Generator | Path | str, data: Any, *, listener: Callable[[dict[str, Any]], None] | None = None
) -> dict[str, Any]:
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
    from mulligan.training.run import write_json

    generator = source if isinstance(source, Generator) else load(source)
    proof = proof_of(generator, data, listener or _ignore)
    if generator.run is not None:
        write_json(generator.run / f"{DOCUMENT}.json", proof)
        write_report(generator.run)
    return proof


def _budget(time: float | str | None, images: int | str | None) -> Budget:
    if time is not None and images is not None:
        raise UsageError("a run has one budget: give --time or --images, not both.")
    if images is not None:
        return Budget(parse_images(images), None)
    return Budget(None, parse_seconds(DEFAULT_TIME if time is None else time))


def _models(generator: Any, discriminator: Any, networks: Path | str | None) -> Architecture | None:
    """The architecture of models of the caller's own, if there are any."""
    if generator is None and discriminator is None and networks is None:
        return None
    from mulligan.networks.keras_models import adopt, run_file

    if networks is not None:
        if generator is not None or discriminator is not None:
            raise UsageError("give the models as objects or as a file of networks, not both.")
        generator, discriminator = run_file(Path(networks))
    return adopt(generator, discriminator)


def _recipe(recipe: Recipe | Mapping[str, Any] | Path | str | None) -> Recipe | None:
    if recipe is None or isinstance(recipe, Recipe):
        return recipe
    return Recipe.from_json(dict(recipe) if isinstance(recipe, Mapping) else read_json(Path(recipe)))


def _reported(generator: Generator) -> Generator:
    if generator.run is not None:
        write_report(generator.run)
    return generator


def _ignore(event: dict[str, Any]) -> None:
    del event
