"""The commands of `mulligan experience`: parse, call, print, and compute nothing themselves."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from mulligan.errors import UsageError
from mulligan.options import Json, Place

SourceName = Annotated[
    str | None,
    typer.Option("--source", metavar="NAME", help="Name of where it comes from; `here` for trials of your own."),
]

experience_app = typer.Typer(help="List, share and check what was remembered.", no_args_is_help=True)


@experience_app.command("list")
def experience_list(experience: Place = None, as_json: Json = False) -> None:
    """List the tasks, with what was tried on each and what did best."""
    from mulligan.meta.overview import overview, overview_lines

    found = overview(experience)
    print(json.dumps(found) if as_json else "\n".join(overview_lines(found)))
    _tell(found["told"])


@experience_app.command("report")
def experience_report(
    out: Annotated[Path, typer.Option("-o", "--out", metavar="FILE", help="HTML file to write.")] = Path(
        "experience.html"
    ),
    experience: Place = None,
) -> None:
    """Draw a page: which recipes win where, and what matters."""
    from mulligan.report.experience import write_experience_report

    told = write_experience_report(experience, out)
    print(out)
    _tell(told)


@experience_app.command("export")
def experience_export(
    out: Annotated[Path, typer.Argument(metavar="FILE", help="To write; ends in .jsonl.gz.", show_default=False)],
    experience: Place = None,
) -> None:
    """Write everything into one portable file."""
    from mulligan.meta.experience import read, required_place
    from mulligan.meta.store.exchange import write_file

    write_file(out, read(experience or required_place()))
    print(out)


@experience_app.command("import")
def experience_import(
    files: Annotated[list[Path], typer.Argument(metavar="FILES", help="Exported files.", show_default=False)],
    experience: Place = None,
    source: SourceName = None,
) -> None:
    """Add what exported files hold, all of it or nothing; `remove` takes it away again."""
    experience_merge([str(path) for path in files], experience, source)


@experience_app.command("merge")
def experience_merge(
    places: Annotated[
        list[str], typer.Argument(metavar="PLACES", help="Experiences, or exported files.", show_default=False)
    ],
    experience: Place = None,
    source: SourceName = None,
) -> None:
    """Add what other experiences hold; what is known stays as it is."""
    from mulligan.meta.experience import Experience, take
    from mulligan.meta.store.connections import without_password

    taken = take(Experience(experience), places, source)
    for place, (name, new, trials) in zip(places, taken, strict=True):
        print(f"{new} new of {trials} trials in {without_password(place)}, from now on of the source {name}")


@experience_app.command("remove")
def experience_remove(
    source: Annotated[
        str | None, typer.Option("--source", metavar="NAME", help="What came from this source: see `list`.")
    ] = None,
    task: Annotated[str | None, typer.Option("--task", metavar="NAME|ID", help="What was tried on this task.")] = None,
    trial: Annotated[str | None, typer.Option("--trial", metavar="ID", help="This trial.")] = None,
    experience: Place = None,
) -> None:
    """Forget trials for good; of several options all must apply."""
    from mulligan.meta.experience import existing, required_place

    if source is None and task is None and trial is None:
        raise UsageError("say what is to be removed: give --source, --task or --trial.")
    gone = existing(experience or required_place()).remove(source, task, trial)
    print(f"{gone.trials} trials and {gone.tasks} tasks removed")


@experience_app.command("verify")
def experience_verify(
    place: Annotated[
        str | None, typer.Argument(metavar="PLACE", help="An experience or exported file; your own if not given.")
    ] = None,
) -> None:
    """Check that nothing is damaged."""
    from mulligan.meta.experience import damage

    found = damage(place)
    print("\n".join(found) or "nothing is damaged")
    if found:
        raise typer.Exit(1)


def _tell(sentence: str | None) -> None:
    """Says what is no result beside the result."""
    if sentence:
        print(f"mulligan: {sentence}", file=sys.stderr)
