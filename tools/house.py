"""How the package is cut: the figures that its house is kept by, counted from its source (docs/log/ has their history).

`python -m tools.house` prints them. Nested functions and methods count as functions; lines are those of whole files.
"""

from __future__ import annotations

import ast
import json
import sys
import tokenize
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from statistics import median, quantiles
from types import CodeType, FrameType
from typing import Any

PACKAGE = Path(__file__).resolve().parents[1] / "mulligan"
OWN = ("game",)  # rooms whose functions are counted as the game's own in a step; the others are plugged into it
Function = ast.FunctionDef | ast.AsyncFunctionDef


def functions(tree: ast.AST) -> Iterator[Function]:
    """Every function and method, nested ones included."""
    return (node for node in ast.walk(tree) if isinstance(node, Function))


def body_lines(function: Function) -> int:
    """Lines from the first statement behind the docstring to the last."""
    first = function.body[1] if ast.get_docstring(function) is not None and len(function.body) > 1 else function.body[0]
    return (function.end_lineno or 0) - first.lineno + 1


def comment_lines(path: Path) -> int:
    """Lines that are a comment and nothing else."""
    with path.open("rb") as file:
        return sum(
            token.type == tokenize.COMMENT and token.line.strip().startswith("#")
            for token in tokenize.tokenize(file.readline)
        )


def annotated(function: Function) -> tuple[int, int]:
    """Arguments (but `self` and `cls`) and the return that have a type, and how many there are."""
    spec = function.args
    arguments = [*spec.posonlyargs, *spec.args, *spec.kwonlyargs, spec.vararg, spec.kwarg]
    named = [argument for argument in arguments if argument and argument.arg not in ("self", "cls")]
    return sum(argument.annotation is not None for argument in named) + (function.returns is not None), len(named) + 1


def figures() -> dict[str, Any]:
    """All figures that the source alone gives."""
    paths = sorted(PACKAGE.rglob("*.py"))
    trees = {path: ast.parse(path.read_text()) for path in paths}
    lines = sum(len(path.read_text().splitlines()) for path in paths)
    found = [function for tree in trees.values() for function in functions(tree)]
    bodies = [body_lines(function) for function in found]
    private = [function for function in found if function.name.startswith("_") and not function.name.startswith("__")]
    uses = Counter(
        node.id if isinstance(node, ast.Name) else node.attr
        for tree in trees.values()
        for node in ast.walk(tree)
        if isinstance(node, ast.Name | ast.Attribute)
    )
    once = [function for function in private if uses[function.name] == 1]
    typed = [annotated(function) for function in found]
    names = Counter(node.name for tree in trees.values() for node in ast.walk(tree) if isinstance(node, ast.ClassDef))
    public = [function for function in found if not function.name.startswith("_") and ast.get_docstring(function)]
    return {
        "lines": lines,
        "functions per 1,000 lines": round(1000 * len(found) / lines, 2),
        "body lines: median, p90, max": [median(bodies), quantiles(bodies, n=10)[-1], max(bodies)],
        "private functions used once": f"{len(once)} of {len(private)}",
        "of these five lines or shorter": sum(body_lines(function) <= 5 for function in once),
        "full-line comments per 100 lines": round(100 * sum(map(comment_lines, paths)) / lines, 2),
        "class names with two meanings": sorted(name for name, count in names.items() if count > 1),
        "arguments and returns annotated": round(sum(have for have, _ in typed) / sum(of for _, of in typed), 3),
        "public functions that document errors": round(
            sum("Raises:" in (ast.get_docstring(function) or "") for function in public) / len(public), 3
        ),
    }


def default_step() -> dict[str, Any]:
    """The functions that one step of the default game enters while it is traced, their files and their lines.

    Those of the game itself; and all but networks, that is with the loss's, the average's and the schedule's.
    """
    import jax
    import jax.numpy as jnp

    from mulligan.recipe import Recipe
    from mulligan.training import engine

    shape = (16, 16, 1)
    game = engine.make_game(Recipe(), shape, 0, 1e5)
    state = engine.start_state(game, Recipe(), shape, 0, 0)
    data = engine.Data(jnp.zeros((64, *shape), jnp.uint8))
    entered: set[CodeType] = set()

    def watch(frame: FrameType, event: str, _: Any) -> None:
        if event == "call" and str(PACKAGE) in frame.f_code.co_filename:
            entered.add(frame.f_code)

    sys.setprofile(watch)
    try:
        jax.eval_shape(lambda state: engine.step(game, state, data), state)
    finally:
        sys.setprofile(None)
    codes = [code for code in entered if code.co_name not in ("<genexpr>", "<listcomp>", "<dictcomp>", "__hash__")]
    return {
        "step of the default game": _counted(codes, OWN),
        "with all that is plugged in but networks": _counted(codes, ("game", "averaging", "schedules", "online")),
    }


def _counted(codes: list[CodeType], rooms: tuple[str, ...]) -> str:
    files = {code.co_filename for code in codes if Path(code.co_filename).relative_to(PACKAGE).parts[0] in rooms}
    kept = [code for code in codes if code.co_filename in files]
    spans = {(code.co_filename, line) for code in kept for *_, line in code.co_lines() if line is not None}
    for code in kept:  # from the definition to the last line: as a reader sees it, docstrings included
        last = max(line for *_, line in code.co_lines() if line is not None)
        spans |= {(code.co_filename, line) for line in range(code.co_firstlineno, last + 1)}
    return f"{len(kept)} functions, {len(files)} files, {len(spans)} lines"


if __name__ == "__main__":
    print(json.dumps(figures() | default_step(), indent=2))
