"""Graph -> everything that a Jetson needs to run it on its GPU: kernels, tables, weights, a runner and, if a compiler for
the architecture is found, the cubin. Nothing of it was ever run on a GPU: `run_here` in the manifest says so."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from edgewright.passes.diagnostics import Exit, fail
from edgewright.passes.ir import Graph
from edgewright.targets.gpu.compile import ADVICE, Cubin, KernelResources, compile_cubin
from edgewright.targets.gpu.lower import CudaProgram, lower_cuda
from edgewright.targets.gpu.source import cuda_source
from edgewright.targets.gpu.step import ARCHITECTURES, KernelLaunch
from edgewright.targets.gpu.tables import Placed, tables_source
from edgewright.targets.lowering.memory import lives, place
from edgewright.targets.lowering.memory import weights as weights_of
from edgewright.targets.lowering.step import distinct

RUNNER = ("edgewright_cuda.h", "edgewright_cuda_tables.h", "edgewright_cuda.cpp", "example.cpp")
ENTRY = "edgewright_cuda_run"
NEVER_RUN = "never run here: no GPU was available; the kernels were only executed by an emulation on a CPU"


@dataclass(frozen=True, slots=True)
class CudaBuilt:
    """An artifact's parts. sources: text files by name; cubins: machine code by architecture, empty without a compiler;
    weights: weights.bin. entry: the C function of edgewright_cuda.h that runs one inference."""

    arch: str
    sources: Mapping[str, str]
    cubins: Mapping[str, bytes]
    weights: bytes
    workspace_bytes: int
    entry: str
    steps: tuple[KernelLaunch, ...]
    resources: Mapping[str, KernelResources]
    manifest: Mapping[str, Any]

    def files(self) -> dict[str, bytes]:
        """Return the artifact's files, except for the manifest."""
        texts = {name: text.encode() for name, text in self.sources.items()}
        cubin = {"model.cubin": self.cubins[self.arch]} if self.cubins else {}
        return {**texts, "weights.bin": self.weights, **cubin}


def cuda_program(graph: Graph, arch: str, *, compiled: bool = True, require: bool = False) -> CudaBuilt:
    """Return the artifact's parts for one architecture (`ARCHITECTURES`).

    compiled: look for a CUDA compiler; require: fail without one. CompileError T030, T031, T033 from compiling, T032
    with every operator that has no kernel, T034 for an unknown architecture.
    """
    if arch not in ARCHITECTURES:
        known = ", ".join(ARCHITECTURES)
        fail("T034", f"no CUDA code for {arch}", help=f"one of {known}", exit=Exit.USAGE)
    program = lower_cuda(graph, arch)
    functions, numbers = distinct([step.function for step in program.steps])
    names = [f"ew_{i}" for i in range(len(functions))]
    source = cuda_source(functions, names, arch)
    cubin = compile_cubin(source, arch, require=require) if compiled or require else None
    offsets, workspace_bytes = place(lives(program.steps))
    weights, weight_offsets = weights_of(program.steps)
    placed = Placed({**offsets, **weight_offsets}, weights, workspace_bytes)
    sources = {name: (files("edgewright.targets.gpu") / "runner" / name).read_text() for name in RUNNER}
    sources["model.cu"] = source
    sources["model_tables.cpp"] = tables_source(program, names, numbers, placed, cubin.code if cubin else b"")
    code, resources = ({arch: cubin.code}, cubin.resources) if cubin else ({}, {})
    manifest = _manifest(program, source, cubin, weights, workspace_bytes, [names[i] for i in numbers])
    return CudaBuilt(arch, sources, code, weights, workspace_bytes, ENTRY, program.steps, resources, manifest)


def _manifest(
    program: CudaProgram, source: str, cubin: Cubin | None, weights: bytes, workspace_bytes: int, kernels: Sequence[str]
) -> dict[str, Any]:
    """Return the artifact's manifest; times are null, since they were not measured."""
    return {
        "kind": "cuda",
        "arch": program.arch,
        "run_here": False,
        "remark": NEVER_RUN,
        "entry": ENTRY,
        "compiled_by": cubin.compiler if cubin else None,
        "cubin": "embedded in model_tables.cpp" if cubin else f"none: {ADVICE}",
        "sha256": {
            "model.cu": hashlib.sha256(source.encode()).hexdigest(),
            "weights.bin": hashlib.sha256(weights).hexdigest(),
            **({"model.cubin": hashlib.sha256(cubin.code).hexdigest()} if cubin else {}),
        },
        "workspace_bytes": workspace_bytes,
        "steps": [
            {
                "name": step.name,
                "kind": step.kind,
                "kernel": kernel,
                "blocks": step.launch.blocks,
                "threads": step.launch.threads,
                "macs": step.macs,
                "milliseconds": None,
            }
            for step, kernel in zip(program.steps, kernels, strict=True)
        ],
        "resources": {
            name: {"registers": r.registers, "shared_bytes": r.shared_bytes, "spill_bytes": r.spill_bytes}
            for name, r in (cubin.resources if cubin else {}).items()
        },
    }
