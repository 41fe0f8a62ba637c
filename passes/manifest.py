"""The manifest of a compiled model: one struct for every kind of target, which writes manifest.json and reads it.

What only one kind of target has stands in a subclass with the kind as its `tag`; the JSON holds it as "kind".
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar, NoReturn, TypeVar

import msgspec
from edgewright.passes.diagnostics import CompileError, Diagnostic, Exit, fail
from edgewright.passes.documents import Unreadable, digest, read_json, to_json
from edgewright.passes.names import plain

MANIFEST = "manifest.json"
M = TypeVar("M", bound="Manifest")
T = TypeVar("T")


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="kind"):
    """What manifest.json says of a compiled model. `options`: those that decide the content; `files`: SHA-256 by relative
    path. A subclass sets the format that it writes, the only one that it reads, and the files that must be listed."""

    FORMAT: ClassVar[int]
    REQUIRED: ClassVar[tuple[str, ...]] = ()

    format: int
    edgewright: str
    target: str
    precision: str
    options: dict[str, Any] = {}
    files: dict[str, str] = {}

    @property
    def kind(self) -> str:
        """The kind of target."""
        return str(self.__struct_config__.tag)

    def check(self) -> None:
        """ValueError when no version of Edgewright wrote this."""
        for name in self.files:
            path = PurePosixPath(name)
            if not name or "\0" in name or path.is_absolute() or ".." in path.parts or str(path) != name:
                raise ValueError(f"'{plain(name)[:80]}' is not a file of this folder")
        if unlisted := sorted(set(self.REQUIRED) - set(self.files)):
            raise ValueError(f"it gives no hash of {', '.join(unlisted)}")


class _Header(msgspec.Struct, frozen=True):
    format: int
    kind: str = "fpga"  # format 1 of an FPGA's has none


def seal(manifest: M, files: Mapping[str, bytes]) -> tuple[M, dict[str, bytes]]:
    """Return the manifest with the hashes of the files, and the files with the manifest."""
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in sorted(files.items())}
    manifest = msgspec.structs.replace(manifest, files=hashes)
    return manifest, {**files, MANIFEST: to_json(msgspec.to_builtins(manifest))}


def read_kind(folder: Path) -> str:
    """Return the kind of target that a folder was compiled for. CompileError U022 when there is no manifest that says it."""
    try:
        return read_json(folder / MANIFEST, _Header).kind
    except Unreadable as error:
        not_compiled(folder, f"{MANIFEST}: {error}")


def read_manifest(folder: Path, kind: type[M]) -> M:
    """Return the manifest of a folder. CompileError U022 (exit 2) when there is none of this kind and format."""
    try:
        header, tag = read_json(folder / MANIFEST, _Header), kind.__struct_config__.tag
        if header.kind != tag:
            raise ValueError(f"it is of kind '{plain(header.kind)[:80]}', not '{tag}'")
        if header.format != kind.FORMAT:
            because = f"{MANIFEST}: it is of format {header.format}, this version reads {kind.FORMAT}"
            not_compiled(folder, because, "compile the model again")
        manifest = read_json(folder / MANIFEST, kind)
        manifest.check()
    except (Unreadable, ValueError) as error:
        not_compiled(folder, f"{MANIFEST}: {error}")
    return manifest


def check_files(folder: Path, hashes: Mapping[str, str]) -> None:
    """CompileError U023 with the files that are not as they were written."""
    changed = [name for name, written in hashes.items() if file_digest(folder / name) != written]
    if changed:
        raise CompileError(
            damaged(name, "its hash differs from the manifest's" if (folder / name).is_file() else "it is missing")
            for name in changed[:8]
        )


def read_files(folder: Path, hashes: Mapping[str, str], within: str) -> dict[str, bytes]:
    """Return the listed files that lie directly in a folder of a bundle, by relative path. CompileError U023 as
    `check_files`."""
    names = [name for name in sorted(hashes) if PurePosixPath(name).parent == PurePosixPath(within)]
    check_files(folder, {name: hashes[name] for name in names})
    return {name: (folder / name).read_bytes() for name in names}


def read_figures(folder: Path, name: str, kind: type[T]) -> T:
    """Return the value that a JSON file of a bundle holds. CompileError U023 when it is missing or damaged."""
    try:
        return read_json(folder / name, kind)
    except Unreadable as error:
        raise CompileError([damaged(name, str(error))]) from error


def file_digest(path: Path) -> str | None:
    """Return the SHA-256 of a regular file; None for what is none, or cannot be read."""
    try:
        return digest(path)
    except (OSError, ValueError):  # ValueError: a NUL in the name
        return None


def not_compiled(folder: Path, because: str, help_text: str = "give the folder that `edgewright compile` wrote") -> NoReturn:
    """Raise U022 (exit 2) for a folder that is not a compiled model, or not one of this version."""
    fail("U022", "this folder is not a compiled model", plain(folder), because, help_text, Exit.USAGE)


def damaged(name: str, because: str) -> Diagnostic:
    """Return U023 for a file of a bundle that is not as it was written."""
    help_text = "compile the model again: into a new folder, or after the file was moved away"
    return Diagnostic("U023", "a file of the bundle is not what the compiler wrote", plain(name), plain(because), help_text)
