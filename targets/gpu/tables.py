"""model_tables.cpp: what the runner of edgewright_cuda.h needs to know about one model."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edgewright.passes.names import plain
from edgewright.targets.gpu.lower import CudaProgram
from edgewright.targets.lowering.view import ITEM_BYTES, Space, StridedView, TensorStorage

SPACES = {
    Space.WEIGHTS: "EDGEWRIGHT_WEIGHTS",
    Space.WORK: "EDGEWRIGHT_WORK",
    Space.INPUT: "EDGEWRIGHT_INPUT",
    Space.OUTPUT: "EDGEWRIGHT_OUTPUT",
}
FNV_START, FNV_PRIME = 14695981039346656037, 1099511628211
BYTES_A_LINE = 24


@dataclass(frozen=True, slots=True)
class Placed:
    """Byte offsets of storages in the two blocks, and the blocks."""

    offsets: Mapping[TensorStorage, int]
    weights: bytes
    workspace_bytes: int


def fnv1a(content: bytes) -> int:
    """Return FNV-1a of 64 bits over little-endian words of 8 bytes, as the runner computes it."""
    value = FNV_START
    for (word,) in struct.iter_unpack("<Q", content):
        value = (value ^ word) * FNV_PRIME & 0xFFFFFFFFFFFFFFFF
    return value


def tables_source(program: CudaProgram, names: Sequence[str], numbers: Sequence[int], placed: Placed, cubin: bytes) -> str:
    """Return the text. `numbers`: which kernel of `names` each step runs; cubin: empty for none."""
    arguments: list[str] = []
    steps: list[str] = []
    for step, number in zip(program.steps, numbers, strict=True):
        launch = f"{step.launch.blocks}, {step.launch.threads}, {len(arguments)}, {len(step.arguments)}"
        steps.append(f"{{{_text(f'{step.name} ({step.kind})')}, {number}, {launch}}}")
        for argument in step.arguments:
            storage, offset = argument.view.storage, argument.view.offset * ITEM_BYTES[argument.view.dtype]
            offset += placed.offsets.get(storage, 0)
            arguments.append(f"{{{SPACES[storage.space]}, {storage.index}, {offset}}}")
    major, minor = divmod(int(program.arch.removeprefix("sm_")), 10)
    graph = program.graph
    ends = {
        "inputs": _tensors("input", [n.name for n in graph.inputs], program.inputs),
        "outputs": _tensors("output", graph.output_names, program.outputs),
    }
    listed = {
        "const char *const kernels": [_text(name) for name in names],
        "const edgewright_step steps": steps,
        "const edgewright_argument arguments": arguments,
        **{f"const edgewright_cuda_tensor {kind}": rows for kind, (_, rows) in ends.items()},
    }
    lines = [
        f"// Tables of {plain(graph.name)} for {program.arch}, printed by Edgewright.",
        '#include "edgewright_cuda_tables.h"',
        "namespace {",
        *(line for shapes, _ in ends.values() for line in shapes),
    ]
    for declaration, rows in listed.items():
        lines += [f"{declaration}[] = {{", *(f"    {row}," for row in rows or ["{}"]), "};"]
    lines += _cubin(cubin)
    lines += [
        "}  // namespace",
        "extern const edgewright_tables edgewright_model = {",
        f"    {_text(program.arch)}, {major}, {minor},",
        f"    kernels, {len(names)}, steps, {len(steps)}, arguments,",
        f"    inputs, {len(program.inputs)}, outputs, {len(program.outputs)},",
        f"    {len(placed.weights)}, {placed.workspace_bytes}, {fnv1a(placed.weights)}ull,",
        f"    {f'cubin, {len(cubin)}' if cubin else 'nullptr, 0'},",
        "};",
        "",
    ]
    return "\n".join(lines)


def _tensors(kind: str, names: Sequence[str], views: Sequence[StridedView]) -> tuple[list[str], list[str]]:
    """Return (declarations of the shapes, one row of the table per tensor)."""
    shapes, rows = [], []
    for i, (name, view) in enumerate(zip(names, views, strict=True)):
        shapes.append(f"const long {kind}_{i}[] = {{{', '.join(map(str, view.shape)) or '1'}}};")
        rows.append(f"{{{_text(name)}, {_text(view.dtype)}, {len(view.shape)}, {kind}_{i}, {view.storage.size_bytes}}}")
    return shapes, rows


def _cubin(cubin: bytes) -> list[str]:
    if not cubin:
        return []
    rows = [cubin[i : i + BYTES_A_LINE] for i in range(0, len(cubin), BYTES_A_LINE)]
    return ["alignas(64) const unsigned char cubin[] = {", *(",".join(map(str, row)) + "," for row in rows), "};"]


def _text(value: str) -> str:
    """Return any name as a C string: its UTF-8 on one line, special characters in octal."""
    safe = {*range(32, 127)} - {ord(c) for c in '"\\?'}
    return '"' + "".join(chr(byte) if byte in safe else f"\\{byte:03o}" for byte in plain(value).encode()) + '"'
