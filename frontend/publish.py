"""Output folders that are whole or absent: files are written beside the target and renamed into place."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Collection, Mapping
from pathlib import Path

from edgewright.passes.diagnostics import CompileError, Diagnostic, Exit


def publish(files: Mapping[str, bytes], directory: Path, programs: Collection[str] = ()) -> None:
    """Replace ``directory`` by one that holds exactly ``files`` (relative path -> content), ``programs`` executable.

    A failure or interruption leaves what was there before. Raises ``CompileError`` (exit 2) when nothing can be
    written there, or when the folder holds something that this program did not make.
    """
    directory = directory.absolute()
    check_place(directory)
    staging: Path | None = None
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=f".{directory.name}-", dir=directory.parent))
        staging.chmod(0o755)
        for name, content in files.items():
            path = staging / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            if name in programs:
                path.chmod(0o755)
        swap(staging, directory)
    except OSError as error:
        raise refusal(directory, error.strerror or str(error), "choose a folder you can write to with -o") from error
    finally:
        if staging is not None:
            shutil.rmtree(staging, ignore_errors=True)


def check_place(directory: Path) -> None:
    """Refuse early what could not be published later: a file, a folder of somebody else's, an unwritable place."""
    if directory.exists() and (not directory.is_dir() or not is_ours(directory)):
        raise refusal(directory, "it exists and is not a bundle", "choose a new folder with -o, or remove this one")
    parent = directory.absolute()
    while not parent.exists():
        parent = parent.parent
    if not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
        raise refusal(directory, f"{parent} cannot be written to", "choose a folder you can write to with -o")


def replace_file(path: Path, content: bytes) -> None:
    """Replace one file at once."""
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except OSError as error:
        raise refusal(path, error.strerror or str(error), "choose a folder you can write to") from error


def swap(staging: Path, directory: Path) -> None:
    """Put ``staging`` in the place of ``directory``; the old one is moved aside first and comes back on failure."""
    if not directory.exists():
        staging.rename(directory)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{directory.name}-old-", dir=directory.parent)) / "bundle"
    directory.rename(old)
    try:
        staging.rename(directory)
    except OSError:
        old.rename(directory)
        raise
    finally:
        shutil.rmtree(old.parent, ignore_errors=True)


def is_ours(directory: Path) -> bool:
    """Whether a folder is empty or a bundle."""
    return (directory / "manifest.json").is_file() or not any(directory.iterdir())


def refusal(path: Path, because: str, help_text: str) -> CompileError:
    """The error for a place that cannot be written."""
    return CompileError([Diagnostic("U020", "the output cannot be written", str(path), because, help_text)], Exit.USAGE)
