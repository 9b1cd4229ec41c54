"""Generators on the Hugging Face hub: a folder of a generator up, and the same down. Nothing that is loaded is run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mulligan.errors import MulliganError, UsageError, first_line, optional_import

PREFIX = "hf:"  # of names of generators on the hub: `hf:user/name`, or `hf:user/name@revision`
NAME = re.compile(r"[\w.-]+/[\w.-]+")


def upload(folder: Path, name: str, private: bool) -> str:
    """Puts the files of a folder into a repository of the hub, which is made where there is none; its address.

    Who is signed in is what `hf auth login` or `HF_TOKEN` says; `HF_ENDPOINT` leads to another hub.

    Args:
      folder: what is uploaded, all of it.
      name: `user/name`.
      private: whether a new repository is seen by its owner alone.

    Raises:
      UsageError: no such name.
      MulliganError: huggingface_hub is not installed, or the hub refuses.
    """
    hub = _library_for(name)
    try:
        api = hub.HfApi()
        address = api.create_repo(name, private=private, exist_ok=True)
        api.upload_folder(repo_id=name, folder_path=str(folder), commit_message="A generator, by mulligan")
    except Exception as error:  # the library raises its own, those of its HTTP client, and OSError
        raise MulliganError(f"the hub did not take {name}: {first_line(error)}; `hf auth login` signs in.") from error
    return str(address)


def download(source: str, files: tuple[str, ...]) -> Path:
    """A folder with these files of a repository, kept by the library for the next time.

    Args:
      source: `hf:user/name` or `hf:user/name@revision`.
      files: what is wanted of it; all else stays there.

    Raises:
      UsageError: no such name.
      MulliganError: huggingface_hub is not installed, or the repository is not there or holds no generator.
    """
    name, _, revision = source.removeprefix(PREFIX).partition("@")
    hub = _library_for(name)
    try:
        folder = Path(hub.snapshot_download(name, revision=revision or None, allow_patterns=list(files)))
    except Exception as error:
        raise MulliganError(f"{source} cannot be had from the hub: {first_line(error)}.") from error
    missing = [file for file in files if not (folder / file).is_file()]
    if missing:
        raise MulliganError(f"{source} is no generator of mulligan's: it has no {missing[0]}.")
    return folder


def _library_for(name: str) -> Any:
    """The library, with which a repository of this name may be spoken of."""
    with optional_import("huggingface_hub", "the hub", "hub"):
        import huggingface_hub  # pyright: ignore[reportMissingImports]
    if not NAME.fullmatch(name):
        raise UsageError(f"{name!r} is no name on the hub: say user/name.")
    return huggingface_hub
