"""The commands of `mulligan experience`: parse, call, print, and compute nothing themselves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

Place = Annotated[
    str | None,
    typer.Option(
        "--experience", metavar="FILE|URL", help="Where trials are remembered; your own data folder if not given."
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for machines, and nothing else.")]

experience_app = typer.Typer(help="List, share and check what was remembered.", no_args_is_help=True)


@experience_app.command("list")
def experience_list(experience: Place = None, as_json: Json = False) -> None:
    """List the tasks, with what was tried on each and what did best."""
    from mulligan.meta.store.overview import overview, overview_lines

    found = overview(experience)
    print(json.dumps(found) if as_json else "\n".join(overview_lines(found)))


@experience_app.command("report")
def experience_report(
    out: Annotated[Path, typer.Option("-o", "--out", metavar="FILE", help="HTML file to write.")] = Path(
        "experience.html"
    ),
    experience: Place = None,
) -> None:
    """Draw a page: which recipes win where, and what matters."""
    from mulligan.report.experience import write_experience_report

    print(write_experience_report(experience, out))


@experience_app.command("export")
def experience_export(
    out: Annotated[Path, typer.Argument(metavar="FILE", help="To write; ends in .jsonl.gz.", show_default=False)],
    experience: Place = None,
) -> None:
    """Write everything into one portable file."""
    from mulligan.meta.store.exchange import read, write_file
    from mulligan.meta.store.experience import required_place

    write_file(out, read(experience or required_place()))
    print(out)


@experience_app.command("import")
def experience_import(
    files: Annotated[list[Path], typer.Argument(metavar="FILES", help="Exported files.", show_default=False)],
    experience: Place = None,
) -> None:
    """Add what exported files hold."""
    experience_merge([str(path) for path in files], experience)


@experience_app.command("merge")
def experience_merge(
    places: Annotated[
        list[str], typer.Argument(metavar="PLACES", help="Experiences, or exported files.", show_default=False)
    ],
    experience: Place = None,
) -> None:
    """Add what other experiences hold; what is known stays as it is."""
    from mulligan.meta.store.exchange import merge, read
    from mulligan.meta.store.experience import Experience

    added = [read(place) for place in places]  # before anything is written
    target = Experience(experience)
    for place, found in zip(places, added, strict=True):
        print(f"{merge(target, found)} new of {len(found.trials)} trials in {place}")


@experience_app.command("verify")
def experience_verify(
    place: Annotated[
        str | None, typer.Argument(metavar="PLACE", help="An experience or exported file; your own if not given.")
    ] = None,
) -> None:
    """Check that nothing is damaged."""
    from mulligan.meta.store.exchange import damage

    found = damage(place)
    print("\n".join(found) or "nothing is damaged")
    if found:
        raise typer.Exit(1)
