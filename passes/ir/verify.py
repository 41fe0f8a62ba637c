"""What must hold of a graph at its level. G-codes are our bugs, Q-codes come from the model."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from edgewright.passes.diagnostics import CompileError, Diagnostic, Exit
from edgewright.passes.ir.graph import Graph, Node
from edgewright.passes.ir.op import InferError, Op
from edgewright.passes.ir.types import Array, Int, Level
from edgewright.passes.ops import arith
from edgewright.passes.ops.add import Add
from edgewright.passes.ops.add_requantised import AddRequantised
from edgewright.passes.ops.arith_hashing import hash_accumulator_bound
from edgewright.passes.ops.attention import Attention
from edgewright.passes.ops.cast import Cast
from edgewright.passes.ops.clip import Clip
from edgewright.passes.ops.concat import Concat
from edgewright.passes.ops.constant import Constant
from edgewright.passes.ops.conv import Conv
from edgewright.passes.ops.dequantise import Dequantise
from edgewright.passes.ops.div import Div
from edgewright.passes.ops.gather import Gather
from edgewright.passes.ops.hash_attention import HashAttention
from edgewright.passes.ops.hash_codes import HashCodes
from edgewright.passes.ops.input import Input
from edgewright.passes.ops.layer_normalization import LayerNormalization
from edgewright.passes.ops.linear import Linear
from edgewright.passes.ops.matmul import MatMul
from edgewright.passes.ops.max import Max
from edgewright.passes.ops.min import Min
from edgewright.passes.ops.moe import MoE
from edgewright.passes.ops.mul import Mul
from edgewright.passes.ops.neg import Neg
from edgewright.passes.ops.patch_embed import PatchEmbed
from edgewright.passes.ops.quantise import Quantise
from edgewright.passes.ops.reciprocal import Reciprocal
from edgewright.passes.ops.reduce_mean import ReduceMean
from edgewright.passes.ops.reduce_sum import ReduceSum
from edgewright.passes.ops.relu import Relu
from edgewright.passes.ops.requantise import Requantise
from edgewright.passes.ops.reshape import Reshape
from edgewright.passes.ops.rms_normalization import RMSNormalization
from edgewright.passes.ops.slice import Slice
from edgewright.passes.ops.softmax import Softmax
from edgewright.passes.ops.sub import Sub
from edgewright.passes.ops.table import Table
from edgewright.passes.ops.transpose import Transpose
from edgewright.passes.ops.where import Where

ONLY_QUANTISED: tuple[type[Op], ...] = (Quantise, Dequantise, Requantise, Table, AddRequantised, ReduceSum)
QUANTISED_OPS: tuple[type[Op], ...] = (
    *ONLY_QUANTISED,
    *(Input, Constant, Linear, PatchEmbed, Conv, LayerNormalization, Attention, MatMul, Mul, Softmax, Relu),
    *(RMSNormalization, Clip, Max, Min),
    *(Concat, Slice, Reshape, Transpose, Gather, Where, HashCodes, HashAttention, MoE),
)
# what the host may do to float values that no integer of the graph has reached: masks
ON_HOST: tuple[type[Op], ...] = (
    *(Cast, Where, Add, Sub, Mul, Neg, Slice, Reshape, Transpose, Concat, Gather),
    *(Clip, Div, Max, Min, Reciprocal, ReduceMean),
)
# what token ids and masks go through before they become floats
INTEGERS_IN_FLOAT: tuple[type[Op], ...] = (Input, Constant, Concat, Gather, Reshape, Slice, Transpose, Where)


def verify(graph: Graph, after: str = "") -> None:
    """Raises CompileError with everything `problems` finds; `after` names the pass that made the graph."""
    found = list(problems(graph, after))
    if found:
        ours = any(d.code.startswith("G") for d in found)
        raise CompileError(found, Exit.BUG if ours else Exit.MODEL)


def problems(graph: Graph, after: str = "") -> Iterator[Diagnostic]:
    """Every broken rule: structure, types, levels, and on integers the ranges the hardware relies on."""
    where = f" (after {after})" if after else ""
    try:
        nodes = graph.nodes()
    except ValueError as error:
        yield Diagnostic("G001", f"the graph has a {error}", graph.name + where)
        return
    yield from _interface(graph, nodes, where)
    outside: set[Node] = set()  # floats that come from inputs alone
    for node in nodes:
        at = f"{node.name}{where}"
        try:
            inferred = node.op.infer(*(n.type for n in node.inputs))
        except InferError as error:
            yield Diagnostic("G003", f"{node.op.kind} does not fit its operands", at, str(error))
            continue
        if (inferred.shape, inferred.elem) != (node.shape, node.elem):
            yield Diagnostic("G003", f"{node.op.kind} has type {node.type}", at, f"its operands give {inferred}")
        if graph.level is Level.FLOAT:
            if isinstance(node.op, ONLY_QUANTISED) or not (node.type.is_float or isinstance(node.op, INTEGERS_IN_FLOAT)):
                yield Diagnostic("G004", f"{node.op.kind} of type {node.type} in a float graph", at)
        else:
            if node.type.is_float and isinstance(node.op, (Input, Constant)):
                outside.add(node)
            elif node.type.is_float and isinstance(node.op, ON_HOST) and all(n in outside or _is_given(n) for n in node.inputs):
                outside.add(node)
                continue
            yield from _integers(node, at)


def _is_given(node: Node) -> bool:
    """An integer that is an input or a constant, or a move of such."""
    op = node.op
    moves = isinstance(op, INTEGERS_IN_FLOAT) and all(_is_given(n) for n in node.inputs)
    return isinstance(node.elem, Int) and (isinstance(op, (Input, Constant)) or moves)


def _interface(graph: Graph, nodes: list[Node], where: str) -> Iterator[Diagnostic]:
    if len(graph.outputs) != len(graph.output_names) or len(set(graph.output_names)) != len(graph.outputs):
        yield Diagnostic("G002", f"outputs {graph.output_names} do not name each output once", graph.name + where)
    inputs = [node for node in nodes if isinstance(node.op, Input)]
    names = [node.op.name for node in inputs if isinstance(node.op, Input)]
    if set(inputs) != set(graph.inputs) or len(set(names)) != len(names):
        yield Diagnostic("G002", f"inputs {names} are not the graph's inputs, each once", graph.name + where)


def _integers(node: Node, at: str) -> Iterator[Diagnostic]:
    op = node.op
    if not isinstance(op, QUANTISED_OPS):
        yield Diagnostic("G004", f"{op.kind} in a quantised graph", at)
        return
    if node.type.is_float and not isinstance(op, (Input, Dequantise, Constant)):
        yield Diagnostic("G004", f"{op.kind} is float in a quantised graph", at)
        return
    bound = accumulator_bound(node)
    if bound >= arith.ACCUMULATOR_LIMIT:
        yield Diagnostic(
            "Q003",
            f"accumulators of {op.kind} may reach {bound}",
            at,
            "the engine keeps 27 bits, so their magnitude must stay below 2^26 = 67108864",
            "make the layer narrower, or split its sum",
        )
    for what, value, low, high in _constants(node):
        if value.size and (int(value.min()) < low or int(value.max()) > high):
            yield Diagnostic("G005", f"{what} of {op.kind} outside [{low}, {high}]", at)


def _constants(node: Node) -> Iterator[tuple[str, Array, int, int]]:
    """Constant operands with the range the arithmetic allows them."""
    values = [n.op.value if isinstance(n.op, Constant) else None for n in node.inputs]
    ranges: dict[int, tuple[str, int, int]] = {}
    if isinstance(node.op, (Linear, PatchEmbed, Conv)):
        ranges = {1: ("weight", -127, 127)}
    elif isinstance(node.op, Requantise):
        ranges = {1: ("multiplier", 1 << 15, (1 << 16) - 1), 2: ("shift", 1, arith.SHIFT_MAX)}
        yield "zero point", np.array(node.op.zero_point), -127, 127
    elif isinstance(node.op, (LayerNormalization, RMSNormalization)):
        ranges = {1: ("multiplier", -(1 << 16) + 1, (1 << 16) - 1), 2: ("offset", -(1 << 47), (1 << 47) - 1)}
    elif isinstance(node.op, Attention):
        for value in values[3:]:
            if value is not None:
                yield "score bias", value, -arith.SCORE_BIAS_MAX, arith.SCORE_BIAS_MAX
    elif isinstance(node.op, HashCodes):
        ranges = {1: ("anchor", -127, 127), 2: ("coefficient", -127, 127), 4: ("offset", 0, 1 << 24)}
    elif isinstance(node.op, MoE):
        multiplier, shift = ("multiplier", 1 << 15, (1 << 16) - 1), ("shift", 1, arith.SHIFT_MAX)
        ranges = {2: ("weight", -127, 127), 4: ("weight", -127, 127), 6: multiplier, 7: shift, 9: multiplier, 10: shift}
        ranges[8] = ("entry", -127, 127)
    elif isinstance(node.op, Table):
        ranges = {1: ("entry", -127, 127)}
    elif isinstance(node.op, Concat):
        high = arith.limit(node.elem) if isinstance(node.elem, Int) else 0
        ranges = {i: ("constant", -high, high) for i in range(len(values))}
    for position, (what, low, high) in ranges.items():
        value = values[position]
        if value is not None:
            yield what, value, low, high
        elif not isinstance(node.op, Concat):
            yield f"{what} (not a constant)", np.array(high + 1), low, high


def accumulator_bound(node: Node) -> int:
    """The largest magnitude the int32 accumulators of a node can take with int8 activations, from its actual
    weights and bias; 0 for ops without accumulators."""
    op = node.op
    if isinstance(op, (Linear, PatchEmbed, Conv)) and not node.type.is_float:
        weight, *biases = (n.op for n in node.inputs[1:])
        if isinstance(weight, Constant) and all(isinstance(bias, Constant) for bias in biases):
            sums = np.abs(weight.value.astype(np.int64)).reshape(len(weight.value), -1).sum(axis=1) * 127
            added = sum(np.abs(bias.value.astype(np.int64)) for bias in biases if isinstance(bias, Constant))
            return int((sums + added).max())
        return math.prod(node.inputs[1].shape[1:]) * 127 * 127
    if isinstance(op, MoE) and not node.type.is_float:
        return max(_expert_bound(*node.inputs[2:4]), _expert_bound(*node.inputs[4:6]))
    if isinstance(op, MatMul) and not node.type.is_float:
        return node.inputs[0].shape[-1] * 127 * 127
    if isinstance(op, Attention) and not node.type.is_float:
        q, k = node.inputs[:2]
        scores = q.shape[2] // op.heads * 127 * 127 + (arith.SCORE_BIAS_MAX if node.inputs[3:] else 0)
        return max(scores, k.shape[1] * arith.ATTENTION_WEIGHT_MAX * 127)
    if isinstance(op, HashCodes) and not node.type.is_float:
        return node.inputs[1].shape[2] * 127 * 127
    if isinstance(op, HashAttention) and not node.type.is_float:
        return hash_accumulator_bound(node.shape[1], op.bits)
    if isinstance(op, ReduceSum):
        (x,) = node.inputs
        return x.type.size // node.type.size * (arith.limit(x.elem) if isinstance(x.elem, Int) else 0)
    return 0


def _expert_bound(weight: Node, bias: Node) -> int:
    """The largest accumulator of one product of all experts."""
    if not isinstance(weight.op, Constant) or not isinstance(bias.op, Constant):
        return weight.shape[2] * 127 * 127
    sums = np.abs(weight.op.value.astype(np.int64)).sum(axis=2) * 127
    return int((sums + np.abs(bias.op.value.astype(np.int64))).max())
