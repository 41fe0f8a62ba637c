"""A folder from which an interrupted run of passes continues: results of finished passes, progress of the others."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import numpy as np
from edgewright import __version__
from edgewright.frontend.files.checkpoints import graph_bytes
from edgewright.frontend.files.publish import refusing, replace_file
from edgewright.frontend.samples.preprocess import Preprocess
from edgewright.frontend.samples.stores import DataSource
from edgewright.passes.diagnostics import Exit, fail
from edgewright.passes.documents import Unreadable, read_json
from edgewright.passes.ir import Graph, checkpoint
from edgewright.passes.names import plain
from edgewright.passes.transform import Pass, Statistics

T = TypeVar("T")
RUN_FILE = "run.json"


class _RunFile(msgspec.Struct, frozen=True):
    key: str


@dataclass(frozen=True, slots=True)
class ResumableRun:
    """One run of passes in its folder."""

    directory: Path

    @classmethod
    def of(
        cls,
        directory: str | Path | None,
        graph: Graph,
        options: dict[str, Any],
        data: DataSource | None,
        resume: bool,
        rule: Preprocess | None = None,
    ) -> ResumableRun | None:
        """Begin or resume the run of these options on this model; None without a folder. rule: how the data is read.
        CompileError as `begin`."""
        if directory is None:
            return None
        return cls.begin(Path(directory), key_of(graph, options, data, rule), resume)

    @classmethod
    def begin(cls, directory: Path, key: str, resume: bool) -> ResumableRun:
        """Begin or resume a run. CompileError: U032 when the folder holds another run, or this one without `resume`; U025
        when its content is damaged; U020 when it cannot be created."""
        file = directory / RUN_FILE
        earlier = _read(file, _RunFile) if os.path.lexists(file) else None
        if earlier is not None and earlier.key != key:
            because = "it was begun with another model, other data, other options or another version"
            _refuse(directory, because, "name another folder, or remove this one")
        if earlier is not None and not resume:
            _refuse(directory, "a run was begun in it", "continue it with --resume, or name another folder")
        if earlier is None and directory.is_dir() and any(directory.iterdir()):
            _refuse(directory, "it holds something other than a run", "name another folder")
        with refusing(directory, "choose another folder with --checkpoints"):
            directory.mkdir(parents=True, exist_ok=True)
        if earlier is None:
            replace_file(file, (json.dumps({"key": key, "edgewright": __version__}) + "\n").encode())
        return cls(directory)

    def folder(self, number: int, name: str) -> Path:
        """Return the folder of one pass."""
        return self.directory / f"{number}-{name}"

    def offered(self, number: int, name: str) -> dict[str, Any]:
        """Return the fields of a pass that let it continue where it was interrupted."""
        folder = self.folder(number, name)
        folder.mkdir(parents=True, exist_ok=True)
        return {"checkpoints": folder}

    def step(self, number: int, step: Pass, graph: Graph) -> tuple[Graph, Statistics]:
        """Run a pass, or read its result if it had already finished."""
        folder = self.folder(number, step.name)
        after, statistics = folder / "after.npz", folder / "statistics.json"
        if statistics.is_file():  # written last
            return checkpoint.load(after), _read(statistics, Statistics)
        result, done = step(graph)
        replace_file(after, graph_bytes(result))
        replace_file(statistics, msgspec.json.encode(done))
        return result, done


def key_of(graph: Graph, options: dict[str, Any], data: DataSource | None, rule: Preprocess | None = None) -> str:
    """Return a key that two runs share exactly if they compute the same."""
    digest = hashlib.sha256(f"{__version__} {json.dumps(options, sort_keys=True)} ".encode())
    digest.update(graph_bytes(graph))
    digest.update(("" if data is None else data_digest(data, rule)).encode())
    return digest.hexdigest()


def data_digest(source: DataSource, rule: Preprocess | None = None) -> str:
    """Return a SHA-256 of a file, of all files of a folder with their names, or of arrays; and of how they are read."""
    if rule is not None:
        return hashlib.sha256(f"{data_digest(source)} ".encode() + rule.content()).hexdigest()
    if isinstance(source, str | Path) and not Path(source).is_dir():
        with Path(source).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    digest = hashlib.sha256()
    if isinstance(source, str | Path):
        for path in sorted(path for path in Path(source).rglob("*") if path.is_file()):
            digest.update(f"{path.relative_to(source)}\0{data_digest(path)}\n".encode("utf-8", "surrogateescape"))
        return digest.hexdigest()
    for name, array in sorted((source if isinstance(source, Mapping) else {"": source}).items()):
        values = np.ascontiguousarray(array)
        digest.update(f"{name}\0{values.dtype}\0{values.shape}\n".encode())
        digest.update(values.tobytes())
    return digest.hexdigest()


def _read(path: Path, kind: type[T]) -> T:
    try:
        return read_json(path, kind)
    except Unreadable as error:
        help_text = "remove the folder to start anew, or name another one"
        fail("U025", "the checkpoint of a run is damaged", plain(path), plain(error), help_text, exit=Exit.USAGE)


def _refuse(directory: Path, because: str, help_text: str) -> None:
    fail("U032", "the checkpoint folder is taken", f"--checkpoints {directory}", because, help_text, exit=Exit.USAGE)
