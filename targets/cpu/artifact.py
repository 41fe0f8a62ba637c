"""The artifact of a CPU build: model.so, weights.bin and a manifest, checked before anything of it runs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import msgspec
from edgewright.passes.diagnostics import CompileError, Diagnostic, Exit
from edgewright.passes.documents import Unreadable, read_json
from edgewright.targets.cpu.variants import host_arch, host_features, variant
from edgewright.targets.estimate import Work

if TYPE_CHECKING:
    from edgewright.targets.cpu.runtime import Runner

FORMAT = 1
LIBRARY, WEIGHTS, MANIFEST, PLAIN, WORKS = "model.so", "weights.bin", "manifest.json", "model.txt", "work.json"


class Tensor(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An input or output. Integers stand for scale * (integer - zero_point) where a scale is given. `range`: what an
    integer input may hold, both ends included."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    scale: float | None = None
    zero_point: int = 0
    range: tuple[int, int] | None = None


class StepInfo(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One step for the profile. `bytes`: weights and activations it touches."""

    name: str
    kind: str
    macs: int
    bytes: int


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What manifest.json says. `features`: what the processor must have. `files`: SHA-256 by relative path."""

    format: int
    kind: str
    edgewright: str
    model: str
    target: str
    precision: str
    arch: str
    variant: str
    features: tuple[str, ...]
    entry: str
    workspace_bytes: int
    weights_bytes: int
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    steps: tuple[StepInfo, ...]
    options: dict[str, Any] = {}
    files: dict[str, str] = {}


@dataclass(frozen=True, slots=True)
class Artifact:
    """A folder that `compile` wrote for a CPU, found to be whole."""

    directory: Path
    manifest: Manifest

    @classmethod
    def open(cls, directory: str | Path) -> Artifact:
        """CompileError U022 (no artifact), U023 (a file changed or is missing)."""
        folder = Path(directory)
        manifest = read_manifest(folder)
        check_files(folder, manifest.files)
        return cls(folder, manifest)

    @property
    def library(self) -> Path:
        return self.directory / LIBRARY

    @property
    def weights(self) -> Path:
        return self.directory / WEIGHTS

    @property
    def works(self) -> list[Work]:
        """What the steps do, for estimates. CompileError U023 when it is damaged."""
        try:
            return read_json(self.directory / WORKS, list[Work])
        except Unreadable as error:
            because, help_text = str(error), "compile the model again"
            one = Diagnostic("U023", "a file of the artifact is not what the compiler wrote", WORKS, because, help_text)
            raise CompileError([one]) from error

    def check_host(self) -> None:
        """CompileError T021 when this machine cannot run it: another architecture, or features it lacks."""
        manifest = self.manifest
        if manifest.arch != host_arch():
            _refuse(
                "T021", f"the artifact is for {manifest.arch}, this machine is {host_arch()}", str(self.directory),
                f"it was compiled with --target {manifest.target}",
                "run it on such a machine, `edgewright profile --device qemu` to check its bits here, "
                "or compile with --target host",
            )  # fmt: skip
        missing = sorted(set(manifest.features) - host_features())
        if missing:
            _refuse(
                "T021", f"this processor lacks {', '.join(missing)}", str(self.directory),
                f"the artifact uses the '{manifest.variant}' kernels", "compile it on this machine with --target host",
            )  # fmt: skip

    def runner(self, threads: int | None = None) -> Runner:
        """Ready to run on this machine with so many threads (default: all cores)."""
        from edgewright.targets.cpu.runtime import Runner

        self.check_host()
        return Runner(self, threads)


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a CPU artifact; a usage error when there is none."""
    try:
        content = (folder / MANIFEST).read_bytes()
        manifest = msgspec.json.decode(content, type=Manifest)
        if manifest.format != FORMAT or manifest.kind != "cpu":
            raise ValueError(f"it is of format {manifest.format} and kind '{manifest.kind}'")
        variant(manifest.variant)
        if unlisted := {LIBRARY, WEIGHTS} - set(manifest.files):
            raise ValueError(f"it gives no hash of {', '.join(sorted(unlisted))}")
    except (OSError, ValueError, KeyError, msgspec.MsgspecError) as error:
        reason = error.args[0] if isinstance(error, KeyError) else getattr(error, "strerror", None) or str(error)
        _refuse(
            "U022", "this folder is no compiled CPU model", str(folder), f"{MANIFEST}: {reason}",
            "give the folder that `edgewright compile --target host` (or another CPU) wrote",
        )  # fmt: skip
    return manifest


def check_files(folder: Path, files: Mapping[str, str]) -> None:
    """Every file must be as it was written. CompileError U023 with all that are not."""
    changed = [name for name, digest in files.items() if _digest(folder / name) != digest]
    if changed:
        raise CompileError(
            [
                Diagnostic(
                    "U023", "a file of the artifact is not what the compiler wrote", name,
                    "it is missing" if not (folder / name).is_file() else "its hash differs from the manifest's",
                    "compile the model again",
                )
                for name in changed[:8]
            ]
        )  # fmt: skip


def seal(manifest: Manifest, files: Mapping[str, bytes]) -> dict[str, bytes]:
    """The artifact's files with the manifest that holds their hashes."""
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in sorted(files.items())}
    data = msgspec.to_builtins(msgspec.structs.replace(manifest, files=hashes))
    return {**files, MANIFEST: (json.dumps(data, indent=1) + "\n").encode()}


def plain_text(manifest: Manifest, names: Mapping[str, str]) -> bytes:
    """The manifest for runners without a JSON reader; `names` gives identifiers for tensors' names.

    Lines: `edgewright-model FORMAT`, `arch NAME`, `features NAME...`, `workspace BYTES`, `weights BYTES`,
    `input NAME DTYPE RANK SIZE...`, `output NAME DTYPE RANK SIZE... SCALE ZERO_POINT` (scale 0: real values),
    `step MACS BYTES KIND`.
    """
    lines = [
        f"edgewright-model {FORMAT}", f"arch {manifest.arch}", " ".join(("features", *manifest.features)),
        f"workspace {manifest.workspace_bytes}", f"weights {manifest.weights_bytes}",
    ]  # fmt: skip
    for role, tensors in (("input", manifest.inputs), ("output", manifest.outputs)):
        for one in tensors:
            meaning = f" {one.scale or 0!r} {one.zero_point}" if role == "output" else ""
            sizes = " ".join(str(n) for n in (len(one.shape), *one.shape))
            lines.append(f"{role} {names[one.name]} {one.dtype} {sizes}{meaning}")
    lines += [f"step {step.macs} {step.bytes} {step.kind}" for step in manifest.steps]
    return ("\n".join(lines) + "\n").encode()


def _digest(path: Path) -> str | None:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return None


def _refuse(code: str, message: str, at: str, because: str, help_text: str) -> NoReturn:
    raise CompileError([Diagnostic(code, message, at, because, help_text)], Exit.USAGE)
