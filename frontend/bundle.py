"""What `compile` left in a folder, read strictly: its manifest, the hashes of its files, its figures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import TypeVar

import msgspec
from edgewright.frontend.ownership import MANIFEST, digest, hashes_of, vouched_data
from edgewright.hw.blocks.config import EngineConfig
from edgewright.hw.emit import FORMAT
from edgewright.hw.plan import Plan
from edgewright.passes import results
from edgewright.passes.diagnostics import CompileError, Diagnostic, Exit
from edgewright.passes.documents import Unreadable, read_json
from edgewright.passes.names import plain
from edgewright.targets.device import load_supported

DESIGN = ("rtl/engine_top.v", "memory/image.bin", "checkpoints/passes.npz")
"""Without these nothing was compiled."""
NOT_WRITTEN = "a file of the bundle is not what the compiler wrote"
AGAIN = "compile the model again: into a new folder, or after the file was moved away"
T = TypeVar("T")


class _Program(msgspec.Struct, frozen=True):
    address: int
    descriptors: int


class _Options(msgspec.Struct, frozen=True):
    target: str


class Manifest(msgspec.Struct, frozen=True):
    """What manifest.json says of an engine and its program. `files`: SHA-256 by relative path."""

    format: int
    edgewright: str
    options: _Options
    engine: dict[str, int]
    program: _Program
    memory_bytes: int
    files: dict[str, str]

    def __post_init__(self) -> None:
        if self.format != FORMAT:
            raise ValueError(f"it is of format {self.format}, this version reads {FORMAT}")
        check_names(self.files)
        if unlisted := sorted(set(DESIGN) - set(self.files)):
            raise ValueError(f"it gives no hash of {', '.join(unlisted)}")


def read_manifest(folder: Path) -> Manifest:
    """The manifest of an FPGA bundle; a usage error U022 when there is none."""
    try:
        return read_json(folder / MANIFEST, Manifest)
    except Unreadable as error:
        raise CompileError(
            [
                Diagnostic(
                    "U022",
                    "this folder is not a compiled model",
                    plain(folder),
                    f"{MANIFEST}: {error}",
                    "give the folder that `edgewright compile` wrote",
                )
            ],
            Exit.USAGE,
        ) from error


def check_names(names: Iterable[str]) -> None:
    """ValueError for paths that do not stay in their folder."""
    for name in names:
        path = PurePosixPath(name)
        if not name or "\0" in name or path.is_absolute() or ".." in path.parts or str(path) != name:
            raise ValueError(f"'{plain(name)[:80]}' is not a file of this folder")


def check_files(folder: Path, hashes: Mapping[str, str]) -> None:
    """Every file must be as it was written: a simulation of something else would prove nothing. CompileError U023."""
    changed = [name for name, wanted in hashes.items() if _digest(folder / name) != wanted]
    if changed:
        raise CompileError([damaged(name, "its hash differs from the manifest's") for name in changed[:8]])


def check_results(folder: Path) -> None:
    """report.json must be what its page was made from, where there is such a page. CompileError U023."""
    vouched = vouched_data(folder, "report")
    if vouched is not None and _digest(folder / "report.json") not in vouched:
        raise CompileError([damaged("report.json", "its hash differs from the one that report.html gives")])


def engine_of(manifest: Manifest) -> EngineConfig:
    """The engine of a bundle, which is its board's. CompileError U023 for another, T001 for an unknown board."""
    config = EngineConfig.from_table(dict(load_supported(manifest.options.target).engine))
    if manifest.engine != {name: getattr(config, name) for name in config.__dataclass_fields__}:
        raise CompileError([damaged(MANIFEST, f"its engine is not the one of {plain(manifest.options.target)}")])
    return config


def check_plan(plan: Plan, manifest: Manifest) -> None:
    """A plan must be the one that the bundle was emitted from. CompileError U023."""
    found = _Program(plan.program_address, len(plan.steps)), plan.memory_bytes
    if found != (manifest.program, manifest.memory_bytes):
        raise CompileError([damaged(MANIFEST, "its program is not that of the graph in checkpoints/")])


def report_of(folder: Path) -> results.Report:
    """The report that ``report.json`` holds. CompileError U023 when it is missing or damaged."""
    check_results(folder)
    return figures(folder, "report.json", results.Report)


def figures(folder: Path, name: str, kind: type[T]) -> T:
    """A JSON file of a bundle as a value. CompileError U023 when it is missing or damaged."""
    try:
        return read_json(folder / name, kind)
    except Unreadable as error:
        raise CompileError([damaged(name, str(error))]) from error


def kept_files(folder: Path, within: str) -> dict[str, bytes]:
    """The files of ours in a folder of a bundle that are as they were written, by relative path."""
    hashes = hashes_of(folder) or {}
    names = [name for name in sorted(hashes) if PurePosixPath(name).parent == PurePosixPath(within)]
    check_files(folder, {name: hashes[name] for name in names})
    return {name: (folder / name).read_bytes() for name in names}


def damaged(name: str, because: str) -> Diagnostic:
    """A file of a bundle that is not as it was written."""
    return Diagnostic("U023", NOT_WRITTEN, plain(name), plain(because), AGAIN)


def _digest(path: Path) -> str | None:
    try:
        return digest(path)
    except OSError:
        return None
