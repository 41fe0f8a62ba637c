"""Folders whose files are known by size and SHA-256, so that damage is found before they are used."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

SEAL = ".sealed.json"


def seal(folder: Path) -> None:
    """Write down size, SHA-256 and the right to execute of every file in `folder`."""
    files = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name != SEAL:
            files[str(path.relative_to(folder))] = [path.stat().st_size, _executable(path), _digest(path)]
    scratch = folder / f"{SEAL}.{os.getpid()}"
    scratch.write_text(json.dumps(files), encoding="utf-8")
    scratch.replace(folder / SEAL)


def to_disk(folder: Path) -> None:
    """Wait until the disk has everything that `folder` holds."""
    for path in (*folder.rglob("*"), folder):
        if path.is_dir() or path.is_file():
            sync(path)


def sync(path: Path) -> None:
    """Wait until the disk has this file or folder."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sealed_names(folder: Path) -> set[str]:
    """Return the files that the seal of an intact folder knows."""
    return set(json.loads((folder / SEAL).read_bytes()))


def intact(folder: Path) -> bool:
    """Return whether `folder` is sealed and every sealed file is unchanged. Files added later do not matter."""
    try:
        files = json.loads((folder / SEAL).read_bytes())
        # The cheap part first: most damage is a file that is missing or shorter.
        for name, (size, executable, _) in files.items():
            if (folder / name).stat().st_size != size or _executable(folder / name) != executable:
                return False
        return all(_digest(folder / name) == digest for name, (_, _, digest) in files.items())
    except (OSError, ValueError, TypeError, AttributeError, RecursionError):
        return False


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _executable(path: Path) -> bool:
    return os.access(path, os.X_OK)
