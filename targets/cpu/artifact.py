"""The artifact of a CPU build: model.so, weights.bin and a manifest, checked before any of its code runs."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import msgspec
from edgewright.passes.diagnostics import CompileError, Exit, fail
from edgewright.passes.manifest import MANIFEST, Manifest, check_files, damaged, not_compiled, read_figures, read_manifest
from edgewright.passes.names import plain, safe_identifier
from edgewright.targets.cpu.variants import VARIANTS, host_arch, host_features
from edgewright.targets.estimate import StepWork

if TYPE_CHECKING:
    from edgewright.targets.cpu.runtime import Runner

FORMAT, PLAIN_FORMAT = 1, 2
ENTRY = "edgewright_run"
LIBRARY, WEIGHTS, PLAIN, WORKS = "model.so", "weights.bin", "model.txt", "work.json"


class TensorInfo(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
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


class CpuManifest(Manifest, frozen=True, kw_only=True, tag="cpu"):
    """`model`: its name; `features`: what the processor must have."""

    FORMAT: ClassVar[int] = FORMAT
    REQUIRED: ClassVar[tuple[str, ...]] = (LIBRARY, WEIGHTS, PLAIN)

    model: str
    arch: str
    variant: str
    features: tuple[str, ...]
    entry: str
    workspace_bytes: int
    weights_bytes: int
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    steps: tuple[StepInfo, ...]

    def check(self) -> None:
        """ValueError as `Manifest.check`, and for kernels or an entry function that there are not."""
        super().check()
        if self.variant not in {known.name for known in VARIANTS}:
            raise ValueError(f"there are no kernels called '{self.variant}'")
        if self.entry != ENTRY:
            raise ValueError(f"it names the entry function '{self.entry}'")


@dataclass(frozen=True, slots=True)
class Identity:
    """Size and SHA-256 of a file."""

    size_bytes: int
    sha256: str

    @classmethod
    def of(cls, content: bytes) -> Identity:
        return cls(len(content), hashlib.sha256(content).hexdigest())


@dataclass(frozen=True, slots=True)
class Artifact:
    """A folder that `compile` wrote for a CPU, checked to be complete and unchanged."""

    directory: Path
    manifest: CpuManifest

    @classmethod
    def open(cls, directory: str | Path) -> Artifact:
        """Open an artifact. CompileError U022 when it is none, U023 when a file or the manifest changed or is missing."""
        folder = Path(directory)
        manifest = read_manifest(folder, CpuManifest)
        check_files(folder, manifest.files)
        check_manifest(folder, manifest)
        return cls(folder, manifest)

    @property
    def library(self) -> Path:
        return self.directory / LIBRARY

    @property
    def weights(self) -> Path:
        return self.directory / WEIGHTS

    @property
    def works(self) -> list[StepWork]:
        """What the steps do, for estimates. CompileError U023 when it is damaged."""
        return read_figures(self.directory, WORKS, list[StepWork])

    def check_host(self) -> None:
        """Raise CompileError T021 when this machine has another architecture or lacks features that the artifact needs."""
        manifest = self.manifest
        if manifest.arch != host_arch():
            fail(
                "T021",
                f"the artifact is for {manifest.arch}, this machine is {host_arch()}",
                str(self.directory),
                f"it was compiled with --target {manifest.target}",
                "run it on such a machine, `edgewright profile --device qemu` to check its bits here, "
                "or compile with --target host",
                exit=Exit.USAGE,
            )
        missing = sorted(set(manifest.features) - host_features())
        if missing:
            fail(
                "T021",
                f"this processor lacks {', '.join(missing)}",
                str(self.directory),
                f"the artifact uses the '{manifest.variant}' kernels",
                "compile it on this machine with --target host",
                exit=Exit.USAGE,
            )

    def runner(self, threads: int | None = None) -> Runner:
        """Return what runs the artifact on this machine with this many threads (default: all cores)."""
        from edgewright.targets.cpu.runtime import Runner

        self.check_host()
        return Runner(self, threads)


def check_manifest(folder: Path, manifest: CpuManifest) -> None:
    """Check the manifest, which has no hash, against model.txt. CompileError U022 for another format, U023 for damage."""
    text = (folder / PLAIN).read_bytes()
    first = text.split(b"\n", 1)[0].split()
    if first[:1] == [b"edgewright-model"] and first[1:2] != [str(PLAIN_FORMAT).encode()]:
        stated = (first[1:2] or [b"?"])[0].decode(errors="replace")
        because = f"{PLAIN} has format {plain(stated)}, this version reads {PLAIN_FORMAT}"
        not_compiled(folder, because, "compile the model again")
    library, weights = (Identity((folder / name).stat().st_size, manifest.files[name]) for name in (LIBRARY, WEIGHTS))
    if manifest.weights_bytes != weights.size_bytes or text != plain_text(manifest, library, weights):
        raise CompileError([damaged(MANIFEST, f"it describes another model than {PLAIN}")])


def plain_text(manifest: CpuManifest, library: Identity, weights: Identity) -> bytes:
    """Return the manifest for runners without a JSON reader; a runner compares the files with it before it runs anything.

    Lines: `edgewright-model FORMAT BYTES SHA256` of all that follows, `counts INPUTS OUTPUTS STEPS`, `arch NAME`,
    `features NAME...`, `library BYTES SHA256`, `weights BYTES SHA256`, `workspace BYTES`,
    `input NAME DTYPE RANK SIZE... [LOW HIGH]` (what an integer input may hold),
    `output NAME DTYPE RANK SIZE... SCALE ZERO_POINT` (scale 0: real values), `step MACS BYTES KIND`.
    """
    counts = (len(manifest.inputs), len(manifest.outputs), len(manifest.steps))
    lines = [
        "counts {} {} {}".format(*counts),
        f"arch {manifest.arch}",
        " ".join(("features", *manifest.features)),
        f"library {library.size_bytes} {library.sha256}",
        f"weights {weights.size_bytes} {weights.sha256}",
        f"workspace {manifest.workspace_bytes}",
    ]
    for tensor in manifest.inputs:
        lines.append(_plain_tensor("input", tensor) + ("" if tensor.range is None else " {} {}".format(*tensor.range)))
    for tensor in manifest.outputs:
        lines.append(f"{_plain_tensor('output', tensor)} {tensor.scale or 0!r} {tensor.zero_point}")
    lines += [f"step {step.macs} {step.bytes} {step.kind}" for step in manifest.steps]
    body = ("\n".join(lines) + "\n").encode(errors="replace")
    return f"edgewright-model {PLAIN_FORMAT} {len(body)} {hashlib.sha256(body).hexdigest()}\n".encode() + body


def _plain_tensor(role: str, tensor: TensorInfo) -> str:
    return f"{role} {identifier(tensor)} {tensor.dtype} {' '.join(str(n) for n in (len(tensor.shape), *tensor.shape))}"


def identifier(tensor: TensorInfo) -> str:
    """Return the name of an input or output in model.txt."""
    return safe_identifier(tensor.name, "tensor_")
