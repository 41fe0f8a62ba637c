"""Graph -> CUDA kernels, in order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from edgewright.passes import ops
from edgewright.passes.ir import Graph, Node, Op
from edgewright.targets.gpu.attention import attention, refused
from edgewright.targets.gpu.direct import direct_convolution, gather_step, reduce_step
from edgewright.targets.gpu.elementwise import copied, elementwise
from edgewright.targets.gpu.matrix import linear, matmul, patch_embed, product_convolution
from edgewright.targets.gpu.rows import row_step
from edgewright.targets.gpu.step import CudaContext, KernelLaunch
from edgewright.targets.lowering.groups import Group
from edgewright.targets.lowering.step import LoweredProgram
from edgewright.targets.lowering.walk import GraphWalk, check_supported, prepared, unsupported


def convolution(context: CudaContext, group: Group) -> None:
    """Add a product where there is one group of channels, else the launch of a thread per result."""
    op = group.head.op
    assert isinstance(op, ops.Conv)
    (product_convolution if op.groups == 1 else direct_convolution)(context, group)


LOWERINGS: dict[type[Op], Callable[[CudaContext, Group], None]] = {
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
}


_BY_CODES = "attention by codes has kernels for CPUs only"
REFUSED: dict[type[Op], str] = {
    ops.MoE: "tokens queue for their experts while the model runs, which the CUDA kernels, of fixed sizes, cannot follow",
    ops.HashCodes: _BY_CODES,
    ops.HashAttention: _BY_CODES,
}


@dataclass(frozen=True, slots=True)
class CudaProgram(LoweredProgram[KernelLaunch]):
    """A graph lowered for one architecture."""

    arch: str


def lower_cuda(graph: Graph, arch: str) -> CudaProgram:
    """Return the kernels of a graph. CompileError (T032) with every node that has none."""
    graph = prepared(graph)
    context = CudaContext(arch)

    def reason_of(node: Node) -> str | None:
        if (reason := REFUSED.get(type(node.op)) or unsupported(node, LOWERINGS, "CUDA")) is not None:
            return reason
        return refused(node, context.has_dp4a) if isinstance(node.op, ops.Attention) else None

    check_supported(graph, reason_of, "T032", "GPU", "run the model on the CPU of the board")
    walk = GraphWalk(graph, context, LOWERINGS, elementwise, copied)
    walk.run()
    return CudaProgram(graph, tuple(context.steps), walk.inputs, walk.outputs, arch)
