"""Check each node of a quantised graph on its own, before fusion: what the engine lacks to run it."""

from __future__ import annotations

import math
from collections.abc import Iterable

from edgewright.hw.host_part import host_nodes, reads_shared_bias
from edgewright.hw.maxima import compared
from edgewright.hw.views import broadcast_rows, channel_axis, is_move
from edgewright.passes.diagnostics import Diagnostic
from edgewright.passes.ir.graph import Graph, Node
from edgewright.passes.ir.op import Op
from edgewright.passes.ir.types import INT8, INT16
from edgewright.passes.names import plain
from edgewright.passes.ops import (
    AddRequantised,
    Attention,
    Concat,
    Constant,
    Conv,
    Gather,
    Input,
    LayerNormalization,
    Linear,
    Max,
    Mul,
    PatchEmbed,
    Quantise,
    ReduceSum,
    Relu,
    Requantise,
    Reshape,
    RMSNormalization,
    Slice,
    Table,
    Transpose,
)
from edgewright.passes.ops.groups import WINDOWS, Group

IMPLEMENTS: dict[type[Op], str] = {
    Quantise: "on the host, at the input",
    PatchEmbed: "product; patches of an image up to 16 x 16, of computed maps up to 15 x 15",
    Conv: "product over the pixels under its kernel; of an image, windows that the host writes",
    Linear: "product; up to 4,096 inputs, any number of outputs",
    Attention: "a head of a window after the other, with constant biases; up to 2,048 keys",
    ReduceSum: "product with ones, or past the array (mean pooling)",
    Mul: "past the array; the second factor may repeat along tokens",
    Max: "max pooling: windows up to 7 x 7, strides up to 4, by the unit for windows",
    Requantise: "epilogue",
    Table: "epilogue",
    Relu: "as Table",
    AddRequantised: "epilogue",
    LayerNormalization: "before a product, or past the array; up to 2,048 wide",
    RMSNormalization: "as LayerNormalization, where the mean is known to be 0",
    Concat: "by address, along tokens, or along channels at multiples of 16",
    Slice: "by address or a list of rows; else a product that selects",
    Reshape: "by address or a list of rows, if channels stay together",
    Transpose: "by address or a list of rows, if channels stay together",
    Gather: "by a list of rows, for constant indices",
    Constant: "memory image",
    Input: "written by the host",
}
"""What the engine does with each operator of a quantised graph; every other operator is refused with its name."""

NAMED = 3
ON_A_CPU = "compile for a CPU"
Lack = tuple[str, str]
"""What the engine lacks, and what to do instead."""

FOREIGN: dict[str, Lack] = {
    "MatMul": (
        "it multiplies two computed values, which the engine does inside attention only",
        "write it as softmax attention, multiply by constant weights, or compile for a CPU",
    ),
    "Div": (
        "it divides by a computed value, as linear attention does, and the engine divides inside softmax attention only",
        "use softmax attention, divide by constants, or compile for a CPU",
    ),
    "Softmax": ("softmax is computed inside attention only", ON_A_CPU),
    "MoE": (
        "its program is fixed, and the experts of a token are known only at run time",
        "compile models with experts for a CPU",
    ),
    "Gather": (
        "it selects rows by values that are known only at run time, and the engine's addresses are fixed",
        "look up the rows on the host and pass them to the model as an input, or compile for a CPU",
    ),
    "Where": ("it selects elementwise, and the engine has no unit for that", ON_A_CPU),
}
OTHER: Lack = (
    "the engine has no unit that computes it",
    "docs/reference/support.md lists what the engine runs; or compile for a CPU",
)
WIDEST_NORM = 2048
MOST_ROWS = (1 << 14) - 1
"""Rows of int8 whose sum the engine counts."""
MOST_WIDE_ROWS = 1 << 10
"""Rows of int16 whose sum fits an accumulator."""
LAST_SOFTMAX: Lack = (
    "softmax is computed inside attention only, and this one ends the model",
    "remove it from the output: the host can compute it, and the order of the classes stays the same",
)
MOVES: Group = (*WINDOWS, Concat, Gather)
CARRIERS: Group = (*MOVES, Requantise, Table, Relu)


def lacking(node: Node, host: frozenset[Node] = frozenset()) -> Lack | None:
    """Return what the engine lacks for this node, whatever its neighbours; None if nothing. ``host``: what the host
    computes."""
    op = node.op
    if node in host:
        return None
    if type(op) not in IMPLEMENTS:
        return FOREIGN.get(op.kind, OTHER)
    if isinstance(op, Gather) and not is_move(node):
        return FOREIGN["Gather"]
    if isinstance(op, Attention):
        return missing_in_attention(node, host)
    if isinstance(op, Conv):
        return missing_in_convolution(node, op)
    if isinstance(op, Max) and compared(node) is None:
        return "it takes the greater of two values, and the engine compares pixels of one map, as max pooling does", ON_A_CPU
    if isinstance(op, Mul):
        return missing_in_mul(node)
    if isinstance(op, Requantise):
        return missing_in_requantise(node, op)
    if isinstance(op, AddRequantised):
        return missing_in_sum_of_two(node)
    if isinstance(op, RMSNormalization):
        help_text = "the engine's normalisation subtracts the mean first; use LayerNorm"
        return "the mean of what it normalises may not be 0", help_text
    if isinstance(op, LayerNormalization):
        return missing_in_norm(node)
    if isinstance(op, Linear) and not all(isinstance(n.op, Constant) for n in node.inputs[1:]):
        return "its weights are computed", f"make them constants, or {ON_A_CPU}"
    if isinstance(op, (Linear, PatchEmbed)) and node.inputs[0].elem != INT8:
        return f"it reads a value of {bits(node.inputs[0])} bits", f"the array reads int8; {ON_A_CPU}"
    if isinstance(op, ReduceSum):
        return missing_in_sum(node, op)
    if isinstance(op, Quantise) and node.elem not in (INT8, INT16):
        return f"this input is stored in {bits(node)} bits", f"the engine reads int8 and int16; {ON_A_CPU}"
    return None


def bits(node: Node) -> int:
    """Return the bits of an element."""
    return node.elem.bits


def missing_in_attention(node: Node, host: frozenset[Node]) -> Lack | None:
    """Return what the engine lacks for an attention."""
    if not node.inputs[3:] or isinstance(node.inputs[3].op, Constant):
        return None
    if node.inputs[3] not in host:
        return "the bias of its scores is computed by the model", f"make it a constant; or {ON_A_CPU}"
    if not reads_shared_bias(node):
        return "its mask differs between queries or heads", f"one mask for all queries is read; or {ON_A_CPU}"
    return None


def missing_in_convolution(node: Node, op: Conv) -> Lack | None:
    """Return what the engine lacks for a convolution."""
    x, *weights = node.inputs
    if not all(isinstance(n.op, Constant) for n in weights):
        return "its weights are computed", f"make them constants, or {ON_A_CPU}"
    if isinstance(x.op, Quantise):
        if x.shape[0] > 1:
            return f"it convolves {x.shape[0]} inputs side by side", f"the host writes the windows of one; {ON_A_CPU}"
        if op.groups > 1:
            return f"it convolves an input in {op.groups} groups", f"the host writes windows of all channels; {ON_A_CPU}"
        return None
    if any(op.pads) and op.dilations != (1, 1):
        return "it pads and dilates", f"the engine pads kernels that are not dilated; {ON_A_CPU}"
    if any(op.pads) and any(n & (n - 1) for n in op.strides):
        return f"it pads, with strides of {op.strides[0]} x {op.strides[1]}", f"strides are powers of two; {ON_A_CPU}"
    return None


def missing_in_norm(node: Node) -> Lack | None:
    """Return what the engine lacks for a LayerNorm."""
    (source, *_), width = node.inputs, node.shape[-1]
    if width > WIDEST_NORM:
        why = f"its rows hold {width:,} values, and the engine's unit has registers for {WIDEST_NORM:,}"
        return why, f"use a narrower model, or {ON_A_CPU}"
    if source.elem != INT16:
        return f"it normalises a value of {bits(source)} bits", "the engine normalises int16"
    if channel_axis(source) != source.type.rank - 1:
        return "it normalises along an axis that is not that of channels", ON_A_CPU
    return None


def missing_in_mul(node: Node) -> Lack | None:
    """Return what the engine lacks for an elementwise product."""
    left, right = node.inputs
    streamed = left if left.shape == node.shape and not isinstance(left.op, Constant) else right
    other = right if streamed is left else left
    repeats = isinstance(other.op, Constant) or broadcast_rows(other, node) is not None
    if streamed.shape == node.shape and repeats and bits(left) + bits(right) <= 24:
        return None
    return "it repeats the channels of one of its factors", f"only tokens can be repeated; expand the value, or {ON_A_CPU}"


def missing_in_sum_of_two(node: Node) -> Lack | None:
    """Return what the engine lacks for an elementwise sum."""
    if any(not isinstance(n.op, Constant) and broadcast_rows(n, node) is None for n in node.inputs):
        return "it repeats the channels of one of its terms", f"only tokens can be repeated; expand the value, or {ON_A_CPU}"
    return None


def missing_in_requantise(node: Node, op: Requantise) -> Lack | None:
    """Return what the engine lacks for a change of scale."""
    _, multiplier, shift = node.inputs
    if not all(isinstance(n.op, Constant) for n in (multiplier, shift)):
        return "its factors are computed", f"make them constants, or {ON_A_CPU}"
    channels = node.shape[channel_axis(node)] if node.shape else 1
    if multiplier.type.size > 1 and multiplier.type.size != channels:
        return "its factors vary along an axis that is not that of channels", ON_A_CPU
    if not -128 <= op.zero_point < 128:
        return f"its zero point is {op.zero_point}", "the engine adds zero points of 8 bits"
    return None


def missing_in_sum(node: Node, op: ReduceSum) -> Lack | None:
    """Return what the engine lacks for a sum over tokens."""
    (tokens,) = node.inputs
    channels = channel_axis(tokens)
    axes = {axis % tokens.type.rank for axis in op.axes}
    rows = math.prod(n for axis, n in enumerate(tokens.shape) if axis in axes)
    most = MOST_WIDE_ROWS if tokens.elem == INT16 else MOST_ROWS
    if channels not in axes and tokens.elem in (INT8, INT16) and rows <= most:
        return None
    return f"it sums {tokens.type} over axes {op.axes}", f"the engine sums up to {most:,} tokens, not channels"


def refusals(graph: Graph) -> list[Diagnostic]:
    """List every operator that the engine cannot run, grouped, each for a reason of its own."""
    host = host_nodes(graph)
    lacks = {node: lack for node in graph.nodes() if (lack := lacking(node, host)) is not None}
    for node in graph.outputs:
        while isinstance(node.op, CARRIERS):
            node = node.inputs[0]
        if node in lacks and node.op.kind == "Softmax":
            lacks[node] = LAST_SOFTMAX
    return grouped((node, *lack) for node, lack in lacks.items())


def grouped(refused: Iterable[tuple[Node, str, str]]) -> list[Diagnostic]:
    """Return one P001 for each kind of operator and reason, with up to NAMED names, in the order of the first of each."""
    groups: dict[tuple[str, str, str], list[str]] = {}
    for node, because, help_text in refused:
        groups.setdefault((node.op.kind, because, help_text), []).append(plain(node.name))
    rows = []
    for (kind, because, help_text), names in groups.items():
        unique = list(dict.fromkeys(names))
        more = f" and {len(unique) - NAMED} more" if len(unique) > NAMED else ""
        at = ", ".join(unique[:NAMED]) + more
        rows.append(Diagnostic("P001", f"{kind} cannot run on the engine", at, because, help_text))
    return rows
