"""Which files of an output folder are ours: those that a manifest of ours lists with their hashes, and sealed results.

Everything else in the folder is the user's, and is neither removed nor overwritten.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from edgewright.passes.documents import Unreadable, digest, read_bytes, read_json
from edgewright.passes.manifest import MANIFEST

RESULTS = ("report", "profile")
"""Pages with figures beside them, renewed by `simulate` and `profile` and therefore not in the manifest."""
LARGEST_PAGE = 256 << 20
_SEAL = re.compile(rb"<!-- edgewright page:([0-9a-f]{64}) data:([0-9a-f]{64}(?:,[0-9a-f]{64})*) -->\n\Z")
_SEAL_BYTES = 4096
_Hash = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]


class _Compiled(msgspec.Struct):
    """A bundle of any version, for any kind of target; early ones of FPGAs have an engine and no kind."""

    format: int
    edgewright: str
    options: dict[str, Any]
    files: Annotated[dict[str, _Hash], msgspec.Meta(min_length=1)]
    engine: dict[str, Any] | None = None
    kind: str | None = None

    def __post_init__(self) -> None:
        if self.engine is None and self.kind is None:
            raise ValueError("it is of no kind")

    def hashes(self) -> dict[str, str]:
        return self.files


class _Part(msgspec.Struct):
    file: str
    sha256: _Hash


class _Split(msgspec.Struct):
    """A split folder."""

    kind: Literal["split"]
    schema_version: int
    edgewright: str
    sub_models: Annotated[list[_Part], msgspec.Meta(min_length=1)]
    fusion: _Part

    def hashes(self) -> dict[str, str]:
        return {part.file: part.sha256 for part in (*self.sub_models, self.fusion)}


@dataclass(frozen=True, slots=True)
class Contents:
    """What a folder of ours holds, as relative paths. ours: to be replaced; changed: written by us, and edited or damaged
    since; others: the user's files, links and empty folders."""

    ours: frozenset[str] = frozenset()
    changed: tuple[str, ...] = ()
    others: tuple[str, ...] = ()


def contents(directory: Path) -> Contents | None:
    """Return what an existing folder holds; None when it is neither empty nor ours. OSError where it cannot be read."""
    names = list(entries(directory))
    if not names:
        return Contents()
    listed = hashes_of(directory)
    if listed is None:
        return None
    intact = {name for name in names if name in listed and digest(directory / name) == listed[name]}
    changed = tuple(name for name in names if name in listed and name not in intact)
    ours = {MANIFEST, *intact}
    for stem in RESULTS:
        ours |= sealed_files(directory, stem) - listed.keys()
    others = tuple(name for name in names if name not in ours and name not in listed)
    return Contents(frozenset(ours), changed, others)


def hashes_of(directory: Path) -> dict[str, str] | None:
    """Return the files that a manifest of ours lists, with their hashes; None without such a manifest."""
    for kind in (_Compiled, _Split):
        try:
            return dict(read_json(directory / MANIFEST, kind).hashes())  # type: ignore[attr-defined]
        except Unreadable:
            continue
    return None


def entries(directory: Path) -> Iterator[str]:
    """Yield relative paths of everything but folders with something in them; links are not followed."""
    stack = [""]
    while stack:
        prefix = stack.pop()
        with os.scandir(directory / prefix) as scanned:
            inside = sorted(scanned, key=lambda entry: entry.name)
        if not inside and prefix:
            yield prefix.rstrip("/")
        for entry in inside:
            if entry.is_dir(follow_symlinks=False):
                stack.append(f"{prefix}{entry.name}/")
            else:
                yield prefix + entry.name


def vouches(name: str) -> int:
    """Return for how much a file vouches: 2 for the manifest, 1 for a page with a seal, 0 for all others."""
    return 2 if name == MANIFEST else int(name in {f"{stem}.html" for stem in RESULTS})


def sealed(files: Mapping[str, bytes], directory: Path | None = None) -> dict[str, bytes]:
    """Return the files with each page of results sealed: its last line holds the hash of all before it and that of its
    figures. ``directory``: where they replace others; the seal covers those figures too until they are replaced."""
    result = dict(files)
    for stem in RESULTS:
        page, data = f"{stem}.html", f"{stem}.json"
        if page not in files or data not in files:
            continue
        hashes = [hashlib.sha256(files[data]).hexdigest()]
        if directory is not None and data in sealed_files(directory, stem):
            replaced = digest(directory / data)
            hashes += [replaced] if replaced is not None and replaced not in hashes else []
        text = _SEAL.sub(b"", files[page])
        seal = f"<!-- edgewright page:{hashlib.sha256(text).hexdigest()} data:{','.join(hashes)} -->\n"
        result[page] = text + seal.encode()
    return result


def sealed_files(directory: Path, stem: str) -> set[str]:
    """Return which of STEM.html and STEM.json are as they were written."""
    vouched = vouched_data(directory, stem)
    if vouched is None:
        return set()
    data = digest(directory / f"{stem}.json")
    return {f"{stem}.html"} | ({f"{stem}.json"} if data in vouched else set())


def vouched_data(directory: Path, stem: str) -> set[str] | None:
    """Return the hashes that STEM.html gives its figures; None when there is no such page as it was written."""
    page = directory / f"{stem}.html"
    try:
        content = b"" if page.is_symlink() else read_bytes(page, LARGEST_PAGE)
    except Unreadable:
        return None
    seal = _SEAL.search(content, max(0, len(content) - _SEAL_BYTES))
    if seal is None or hashlib.sha256(content[: seal.start()]).hexdigest() != seal[1].decode():
        return None
    return set(seal[2].decode().split(","))
