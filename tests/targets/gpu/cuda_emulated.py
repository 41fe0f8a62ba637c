"""Runs a CUDA artifact on this CPU: kernels, tables and runner as they are, on the driver of cuda_emulation.h."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from edgewright.passes.ir.graph import Graph
from edgewright.passes.ir.types import Array
from edgewright.passes.ops import Input
from edgewright.targets.gpu.build import CudaBuilt, cuda_program
from edgewright.targets.lowering.view import dtype_of

HERE = Path(__file__).parent
CHECKS = ("-fsanitize=undefined", "-fno-sanitize-recover=all")
FLAGS = ("-std=c++20", "-O0", "-w", "-ffp-contract=off", "-fno-strict-aliasing")
TIMEOUT_SECONDS = 300

DRIVER = r"""
int main(int count, char **arguments) {
    cuda_emulation_order(atoi(arguments[2]));
    edgewright_cuda_model *model;
    if (edgewright_cuda_open(arguments[1], atoi(arguments[3]), &model)) {
        fprintf(stderr, "%s\n", edgewright_cuda_error());
        return 1;
    }
    int ins, outs;
    const edgewright_cuda_tensor *in = edgewright_cuda_inputs(&ins), *out = edgewright_cuda_outputs(&outs);
    std::vector<std::vector<char>> memory;
    std::vector<const void *> inputs;
    std::vector<void *> outputs;
    for (int i = 0; i < ins + outs; i++) {
        const edgewright_cuda_tensor &one = i < ins ? in[i] : out[i - ins];
        memory.emplace_back(one.bytes + 1);
        if (i < ins) inputs.push_back(memory.back().data()); else outputs.push_back(memory.back().data());
        if (i >= ins) continue;
        FILE *file = fopen((std::string(arguments[1]) + "/input_" + std::to_string(i)).c_str(), "rb");
        if (!file || fread(memory.back().data(), 1, one.bytes + 1, file) != one.bytes) return 2;
        fclose(file);
    }
    std::vector<float> times(edgewright_cuda_steps());
    if (edgewright_cuda_run(model, inputs.data(), outputs.data())) return 3;
    const std::vector<std::vector<char>> first = memory;
    if (edgewright_cuda_profile(model, inputs.data(), outputs.data(), times.data())) return 4;
    if (first != memory) { fprintf(stderr, "a second run gives another result\n"); return 8; }
    for (float one : times) if (one != 1) return 5;
    for (int i = 0; i < outs; i++) {
        FILE *file = fopen((std::string(arguments[1]) + "/output_" + std::to_string(i)).c_str(), "wb");
        if (!file || fwrite(outputs[i], 1, out[i].bytes, file) != out[i].bytes || fclose(file)) return 6;
    }
    edgewright_cuda_close(model);
    for (auto &one : emulation::allocations) if (one.memory) return 7;
    return 0;
}
"""


@dataclass(frozen=True)
class Emulated:
    """A compiled emulation of one artifact, in a folder of its own. It runs twice, the second time with what blocks left in
    shared memory."""

    built: CudaBuilt
    graph: Graph
    folder: Path

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Outputs by name; fails where another order of threads and blocks gives other bits."""
        for i, node in enumerate(self.graph.inputs):
            assert isinstance(node.op, Input)
            np.ascontiguousarray(inputs[node.op.name], dtype_of(node.elem)).tofile(self.folder / f"input_{i}")
        first, second = (self._once(order) for order in (0, 1))
        for one, other in zip(first, second, strict=True):
            assert one.tobytes() == other.tobytes(), "the result depends on the order of threads"
        return dict(zip(self.graph.output_names, first, strict=True))

    def _once(self, order: int) -> list[Array]:
        done = self.call(order)
        assert done.returncode == 0, f"{done.returncode}: {done.stderr[-2000:]}"
        found = []
        for i, node in enumerate(self.graph.outputs):
            found.append(np.fromfile(self.folder / f"output_{i}", dtype_of(node.elem)).reshape(node.shape))
        return found

    def call(self, order: int = 0, device: int = 0) -> subprocess.CompletedProcess[str]:
        command = [str(self.folder / "emulated"), str(self.folder), str(order), str(device)]
        return subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_SECONDS)


def emulated(
    graph: Graph,
    arch: str,
    folder: Path,
    *,
    capability: tuple[int, int] | None = None,
    change: Callable[[str], str] = lambda source: source,
) -> Emulated:
    """Builds the artifact and compiles its emulation, with the compiler's checks for undefined behaviour.

    capability: of the GPU that is emulated, the artifact's own by default; change: what to do to the kernels first.
    """
    built = cuda_program(graph, arch, compiled=False)
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in built.files().items():
        (folder / name).write_bytes(content)
    (folder / "model.cu").write_text(change(built.sources["model.cu"]))
    (folder / "model.cubin").write_bytes(b"the emulation does not read it")
    (folder / "cuda.h").write_text('#include "cuda_emulation.h"\n')
    names = re.findall(r"(ew_\d+)\(", built.sources["model.cu"])
    rows = ", ".join(
        f'{{"{name}", [](unsigned b, unsigned t, void **p) {{ emulation::launch({name}, b, t, p); }}}}'
        for name in dict.fromkeys(names)
    )
    major, minor = capability or (int(arch[3]), int(arch[4]))
    unit = "\n".join(
        [
            *(f'#include "{name}"' for name in ("cuda_emulation.h", "model.cu", "model_tables.cpp", "edgewright_cuda.cpp")),
            "namespace emulation {",
            f"const Kernel kernels[] = {{{rows}}};",
            f"const int kernel_count = {len(set(names))};",
            f"const int capability_major = {major}, capability_minor = {minor};",
            "}",
            DRIVER,
        ]
    )
    (folder / "unit.cpp").write_text(unit)
    command = [*compiler(), *FLAGS, f"-I{folder}", f"-I{HERE}", str(folder / "unit.cpp"), "-o", str(folder / "emulated")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_SECONDS)
    assert done.returncode == 0, done.stderr[-3000:]
    return Emulated(built, graph, folder)


def compiler() -> list[str]:
    """g++ with its checks, else the clang of ziglang, whose checks trap."""
    if shutil.which("g++"):
        return ["g++", *CHECKS]
    return [sys.executable, "-m", "ziglang", "c++", "-fsanitize=undefined", "-fsanitize-trap=undefined"]
