"""Graph -> steps for CPUs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from edgewright.passes import ops
from edgewright.passes.ir import Graph, Op
from edgewright.targets.cpu.attention import attention
from edgewright.targets.cpu.convolution import convolution, patch_embed
from edgewright.targets.cpu.elementwise import copied, elementwise
from edgewright.targets.cpu.experts import experts
from edgewright.targets.cpu.hashing import hash_attention, hash_codes
from edgewright.targets.cpu.matmul import matmul
from edgewright.targets.cpu.product import linear
from edgewright.targets.cpu.rows import gather_step, reduce_step, row_step
from edgewright.targets.cpu.step import Context
from edgewright.targets.cpu.variants import Variant
from edgewright.targets.lowering.groups import Group
from edgewright.targets.lowering.step import LoweredProgram, ProgramStep
from edgewright.targets.lowering.walk import GraphWalk, check_supported, prepared, unsupported

LOWERINGS: dict[type[Op], Callable[[Context, Group], None]] = {
    ops.Linear: linear,
    ops.PatchEmbed: patch_embed,
    ops.Conv: convolution,
    ops.MatMul: matmul,
    ops.Attention: attention,
    ops.LayerNormalization: row_step,
    ops.RMSNormalization: row_step,
    ops.Softmax: row_step,
    ops.ReduceMean: reduce_step,
    ops.ReduceSum: reduce_step,
    ops.Gather: gather_step,
    ops.MoE: experts,
    ops.HashCodes: hash_codes,
    ops.HashAttention: hash_attention,
}


@dataclass(frozen=True, slots=True)
class CpuProgram(LoweredProgram[ProgramStep]):
    """A graph lowered for one variant of the micro-kernels."""

    variant: Variant


def lower(graph: Graph, variant: Variant) -> CpuProgram:
    """Return the program of a graph for one variant of the micro-kernels. CompileError (T020) with every node it lacks."""
    graph = prepared(graph)
    check_supported(
        graph, lambda node: unsupported(node, LOWERINGS, "CPU"), "T020", "CPU target", "report the model's operator"
    )
    # the kernels read images channels last only
    moves = (ops.Concat, ops.Slice)
    walk = GraphWalk(graph, Context(variant), LOWERINGS, elementwise, copied, image_moves=moves, images_to_outputs=False)
    walk.run()
    return CpuProgram(graph, tuple(walk.context.steps), walk.inputs, walk.outputs, variant)
