"""Train a GAN on your images, from what was learned on others."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mulligan.api import (
        Generator,
        average,
        export,
        fit,
        learn,
        load,
        pack,
        project,
        prove,
        resume,
        score,
        walk,
    )

    __version__: str

__all__ = [
    "Generator",
    "__version__",
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


def __getattr__(name: str) -> Any:
    """Imports what is asked for when it is asked for: `import mulligan` alone loads no jax."""
    if name == "__version__":
        from importlib.metadata import version

        return version("mulligan")
    if name in __all__:
        from mulligan import api

        return getattr(api, name)
    if name == "keras":
        from importlib import import_module

        return import_module("mulligan.keras")
    raise AttributeError(f"module 'mulligan' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
