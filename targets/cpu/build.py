"""Program -> shared library: one entry function that calls the steps, weights in one block, temporaries in another."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tvm
from edgewright.targets.cpu.artifact import ENTRY
from edgewright.targets.cpu.compile_c import kernels_object, link_shared
from edgewright.targets.cpu.lower import CpuProgram
from edgewright.targets.cpu.variants import Variant
from edgewright.targets.lowering.memory import lives, place
from edgewright.targets.lowering.memory import weights as weights_of
from edgewright.targets.lowering.step import ProgramStep, distinct
from edgewright.targets.lowering.tir import IRBuilder, T, i32, i64, tirx
from edgewright.targets.lowering.view import ITEM_BYTES, Space, StridedView, TensorStorage
from tvm.tirx import compilation_pipeline

# Our order of TVM's lowering passes. Its usual one ("s_tir") moves scratch memory out of the scope that names its device,
# and shrinks what only micro-kernels see to the element whose address was taken; its plain one does not run.
PIPELINE = "edgewright"

# LLVM inlines each step that is called once into its caller, and takes time and memory that grow faster than the length of
# a function: programs of many different steps are called in parts.
FUNCTIONS_MAX = 256  # of a program in one part
PART_STEPS = 64


@dataclass(frozen=True, slots=True)
class Built:
    """The parts of an artifact. `library`: the bytes of model.so."""

    library: bytes
    weights: bytes
    workspace_bytes: int
    steps: tuple[ProgramStep, ...]
    functions: int


def build(program: CpuProgram) -> Built:
    """Compile a program for its variant. Equal steps (blocks of a network) share one function."""
    offsets, workspace_bytes = place(lives(program.steps))
    weights, weight_offsets = weights_of(program.steps)
    functions, numbers = distinct([step.function for step in program.steps])
    names = [tvm.ir.GlobalVar(f"step_{i}") for i in range(len(functions))]
    calls = [names[i] for i in numbers]
    addresses = {**offsets, **weight_offsets}
    members = dict(zip(names, functions, strict=True))
    parts: list[tuple[range, Any]] = []
    if len(functions) > FUNCTIONS_MAX:
        for begin in range(0, len(calls), PART_STEPS):
            steps = range(begin, min(begin + PART_STEPS, len(calls)))
            parts.append((steps, tvm.ir.GlobalVar(f"part_{len(parts)}")))
            members[parts[-1][1]] = _part(program, addresses, calls, steps)
    entry = _entry(program, addresses, calls, parts, len(weights), workspace_bytes)
    module = tvm.IRModule({**members, tvm.ir.GlobalVar(ENTRY): entry.with_attr("global_symbol", ENTRY)})
    executable = tvm.compile(module, target=tvm.target.Target(target_of(program.variant)), tir_pipeline=PIPELINE)
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "model.so"
        objects = kernels_object(program.variant)

        def link(output: str, inputs: Sequence[str], options: object = None, **_: Any) -> None:
            link_shared([Path(name) for name in inputs], Path(output), program.variant.arch)

        link.output_format = "so"  # type: ignore[attr-defined]  # read by export_library
        executable.export_library(str(path), fcompile=link, addons=[str(objects)])
        library = path.read_bytes()
    return Built(library, weights, workspace_bytes, program.steps, len(functions))


def sizes(program: CpuProgram) -> tuple[int, int]:
    """Return (bytes of weights, bytes of temporaries) of what `build` would make, without compiling it."""
    return len(weights_of(program.steps)[0]), place(lives(program.steps))[1]


def _pipeline() -> tuple[Any, Any, Any]:
    passes = tvm.tirx.transform
    lowering = tvm.ir.transform.Sequential(
        [
            passes.StmtSimplify(),
            passes.FlattenBuffer(),
            passes.NarrowDataType(32),
            passes.VectorizeLoop(True),
            passes.UnrollLoop(),
            passes.StmtSimplify(),
            passes.RemoveNoOp(),
            passes.CommonSubexprElim(),
            passes.VerifyMemory(),
            passes.AnnotateEntryFunc(),
            passes.SplitHostDevice(),
            passes.MakePackedAPI(),
        ]
    )
    return lowering, compilation_pipeline.finalize_host_passes, compilation_pipeline.finalize_device_passes


compilation_pipeline.register_tir_pipeline(PIPELINE, _pipeline)


def target_of(variant: Variant) -> dict[str, Any]:
    """Return the TVM target of a variant."""
    cpu = {"x86_64": "x86-64", "aarch64": "generic"}[variant.arch]
    attributes = list(variant.llvm_attrs)
    return {"kind": "llvm", "mtriple": f"{variant.arch}-linux-gnu", "mcpu": cpu, "mattr": attributes, "num-cores": 1}


def _entry(
    program: CpuProgram,
    offsets: Mapping[TensorStorage, int],
    calls: Sequence[Any],
    parts: Sequence[tuple[range, Any]],
    weight_bytes: int,
    workspace_bytes: int,
) -> Any:
    """Return edgewright_run(first, last, weights, workspace, inputs..., outputs...), which runs steps first <= i < last, in
    parts if there are any."""
    ends = [*program.inputs, *program.outputs]
    with IRBuilder() as ib, T.prim_func():
        T.func_name(ENTRY)
        first, last = T.arg("first", T.int64()), T.arg("last", T.int64())
        weights = T.arg("weights", T.buffer((max(weight_bytes, 1),), "uint8"))
        workspace = T.arg("workspace", T.buffer((max(workspace_bytes, 1),), "uint8"))
        end_buffers = {view.storage: T.arg(f"tensor_{i}", T.buffer(view.shape, view.dtype)) for i, view in enumerate(ends)}
        if not parts:
            _call_steps(program, offsets, calls, range(len(calls)), (first, last), weights, workspace, end_buffers)
        buffers = (weights, workspace, *end_buffers.values())
        starts = [tirx.address_of(buffer[[0] * len(buffer.shape)]) for buffer in buffers]
        for steps, name in parts:
            with T.If(tirx.all(first < steps.stop, last > steps.start)), T.Then():
                T.evaluate(tvm.ir.Call(name, [first, last, *starts], ret_ty=i32(0).ty))
    return ib.get()


def _part(program: CpuProgram, offsets: Mapping[TensorStorage, int], calls: Sequence[Any], steps: range) -> Any:
    """A private function of the entry function's arguments, tensors as pointers, that calls some of the steps."""
    ends = {view.storage: view for view in (*program.inputs, *program.outputs)}
    with IRBuilder() as ib, T.prim_func(private=True):
        T.func_name("part")
        T.func_ret(tvm.ir.PrimType("int32"))
        first, last = T.arg("first", T.int64()), T.arg("last", T.int64())
        pointers = {name: T.arg(name, T.ptr("uint8")) for name in ("weights", "workspace")}
        tensors = {storage: T.arg(f"tensor_{i}", T.ptr(view.dtype)) for i, (storage, view) in enumerate(ends.items())}
        weights, workspace = (T.decl_buffer((1,), "uint8", data=pointer) for pointer in pointers.values())
        end_buffers = {
            storage: T.decl_buffer((ends[storage].span,), ends[storage].dtype, data=pointer)
            for storage, pointer in tensors.items()
        }
        _call_steps(program, offsets, calls, steps, (first, last), weights, workspace, end_buffers)
        T.Return(i32(0))
    return ib.get()


def _call_steps(
    program: CpuProgram,
    offsets: Mapping[TensorStorage, int],
    calls: Sequence[Any],
    steps: range,
    bounds: tuple[Any, Any],
    weights: Any,
    workspace: Any,
    end_buffers: Mapping[TensorStorage, Any],
) -> None:
    """Call those of the steps that lie within the bounds, on addresses in `weights`, `workspace` and `end_buffers`, which the
    inputs and outputs have."""
    first, last = bounds

    def pointer(view: StridedView) -> Any:
        storage = view.storage
        if storage in end_buffers:
            return tirx.address_of(end_buffers[storage][_unflatten(view.offset, end_buffers[storage].shape)])
        block = weights if storage.space is Space.WEIGHTS else workspace
        return tirx.address_of(block[i64(offsets[storage] + view.offset * ITEM_BYTES[storage.dtype])])

    for i in steps:
        with T.If(tirx.all(first <= i, i < last)), T.Then():
            T.evaluate(tvm.ir.Call(calls[i], [pointer(view) for view in program.steps[i].views], ret_ty=i32(0).ty))


def _unflatten(flat: int, shape: Any) -> list[int]:
    index: list[int] = []
    for n in reversed([int(n) for n in shape]):
        index.append(flat % n)
        flat //= n
    return list(reversed(index))
