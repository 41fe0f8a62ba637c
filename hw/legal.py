"""Check each node of a quantised graph on its own, before fusion: what the engine lacks to run it."""

from __future__ import annotations

from collections.abc import Iterable

from edgewright.hw.kernel.types import WORD_BYTES
from edgewright.hw.views import is_move
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
    Input,
    LayerNormalization,
    Linear,
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
from edgewright.passes.ops.arith import LAYER_NORM_NARROW
from edgewright.passes.ops.groups import WINDOWS, Group

IMPLEMENTS: dict[type[Op], str] = {
    Quantise: "on the host, at the input",
    PatchEmbed: "product; patches up to 16 x 16 cut by address",
    Linear: "product; up to 4,096 inputs, any number of outputs",
    Attention: "one head after the other; up to 1,024 keys, heads a multiple of 16 wide",
    ReduceSum: "product with ones (mean pooling over tokens)",
    Mul: "product with a diagonal, by constants that hold for every token",
    Requantise: "epilogue, after a product",
    Table: "epilogue, after a product",
    Relu: "as Table",
    AddRequantised: "epilogue, after a product",
    LayerNormalization: "before a product; multiples of 16 wide, up to 1,024",
    RMSNormalization: "as LayerNormalization, where the mean is known to be 0",
    Concat: "by address, along tokens, or along channels at multiples of 16",
    Slice: "by address, along tokens or channels; else a product that selects",
    Reshape: "by address, if channels stay together",
    Transpose: "by address, if tokens stay evenly spaced",
    Constant: "memory image",
    Input: "written by the host",
}
"""What the engine does with each operator of a quantised graph; every other operator is refused with its name."""

NAMED = 3
ON_A_CPU = "compile for a CPU"
Lack = tuple[str, str]
"""What the engine lacks, and what to do instead."""

FOREIGN: dict[str, Lack] = {
    "Conv": (
        "the array multiplies whole rows by weights, and no unit before it buffers the lines that a convolution needs",
        "use patches that do not overlap (stride = kernel size, no padding, up to 16 x 16), or compile for a CPU",
    ),
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
LAST_SOFTMAX: Lack = (
    "softmax is computed inside attention only, and this one ends the model",
    "remove it from the output: the host can compute it, and the order of the classes stays the same",
)
MOVES: Group = (*WINDOWS, Concat)  # no Gather: the engine looks nothing up
CARRIERS: Group = (*MOVES, Requantise, Table, Relu)


def lacking(node: Node) -> Lack | None:
    """Return what the engine lacks for this node, whatever its neighbours; None if nothing."""
    op = node.op
    if type(op) not in IMPLEMENTS:
        return FOREIGN.get(op.kind, OTHER)
    if isinstance(op, Attention):
        return missing_in_attention(node, op)
    if isinstance(op, Mul):
        return missing_in_mul(node)
    if isinstance(op, Requantise):
        return missing_in_requantise(node, op)
    if isinstance(op, AddRequantised) and op.subtract:
        return "it is a difference", "the engine adds; negate the weights of what is subtracted"
    if isinstance(op, RMSNormalization):
        help_text = "the engine's normalisation subtracts the mean first; use LayerNorm"
        return "the mean of what it normalises may not be 0", help_text
    if isinstance(op, LayerNormalization) and node.shape[-1] > LAYER_NORM_NARROW:
        why = f"its rows hold {node.shape[-1]:,} values, and the engine's unit has registers for {LAYER_NORM_NARROW:,}"
        return why, f"use a narrower model, or {ON_A_CPU}"
    if isinstance(op, LayerNormalization) and node.elem != INT8:
        return f"a sum reads it in {bits(node)} bits", "the engine normalises into int8, for products; put a Linear between"
    if isinstance(op, LayerNormalization) and node.inputs[0].elem != INT16:
        return f"it normalises a value of {bits(node.inputs[0])} bits", "the engine normalises int16"
    if isinstance(op, Linear) and not all(isinstance(n.op, Constant) for n in node.inputs[1:]):
        return "its weights are computed", f"make them constants, or {ON_A_CPU}"
    if isinstance(op, (Linear, Relu)) and node.inputs[0].elem != INT8:
        return f"it reads a value of {bits(node.inputs[0])} bits", f"the array reads int8; {ON_A_CPU}"
    if isinstance(op, PatchEmbed) and not isinstance(node.inputs[0].op, Quantise):
        source = node.inputs[0]
        because = f"patches are cut from the input image, and this one comes from {source.op.kind} {plain(source.name)}"
        return because, f"compute the image on the host, or {ON_A_CPU}"
    if isinstance(op, ReduceSum):
        return missing_in_sum(node, op)
    if isinstance(op, Reshape | Transpose) and not is_move(node):
        kind = "reshape" if isinstance(op, Reshape) else "transpose"
        return (
            f"this {kind} moves channels between tokens, and values remain in memory as they were written",
            f"only adding, removing or moving axes of 1 and regrouping tokens is free; {ON_A_CPU}",
        )
    if isinstance(op, Quantise) and node.elem not in (INT8, INT16):
        return f"this input is stored in {bits(node)} bits", f"the engine reads int8 and int16; {ON_A_CPU}"
    return None


def bits(node: Node) -> int:
    """Return the bits of an element."""
    return node.elem.bits


def missing_in_attention(node: Node, op: Attention) -> Lack | None:
    """Return what the engine lacks for an attention."""
    query, _, value = node.inputs[:3]
    if node.inputs[3:]:
        return "it adds a bias or a mask to its scores", f"the engine's scores are products only; {ON_A_CPU}"
    if query.shape[0] != 1:
        return f"it attends within {query.shape[0]} windows", f"the engine attends over all tokens at once; {ON_A_CPU}"
    if query.shape[2] != value.shape[2]:
        return f"its values are {value.shape[2]} wide, its keys {query.shape[2]}", "both must be equally wide"
    depth = query.shape[2] // op.heads
    if depth % WORD_BYTES:
        return f"its heads are {depth} wide", f"heads must be a multiple of {WORD_BYTES} wide"
    return None


def missing_in_mul(node: Node) -> Lack | None:
    """Return what the engine lacks for an elementwise product: a constant row of channels is a diagonal matrix."""
    if any(
        is_row(factor) and other.elem == INT8 and other.shape == node.shape
        for factor, other in (node.inputs, node.inputs[::-1])
    ):
        return None
    because = "it multiplies computed values elementwise, as gates and rotary positions do, and the engine has no unit for that"
    return because, "add positions instead of rotating by them, use activations of one value; or compile for a CPU"


def is_row(node: Node) -> bool:
    """Return whether a node is a constant int8 that is the same for every token."""
    return isinstance(node.op, Constant) and node.elem == INT8 and all(n == 1 for n in node.shape[:-1])


def missing_in_requantise(node: Node, op: Requantise) -> Lack | None:
    """Return what the engine lacks for a change of scale."""
    source, multiplier, shift = node.inputs
    if not all(isinstance(n.op, Constant) for n in (multiplier, shift)):
        return "its factors are computed", f"make them constants, or {ON_A_CPU}"
    if multiplier.type.size > 1 and multiplier.shape[-1] != multiplier.type.size:
        return "its factors do not vary along the last axis", f"channels must be the last axis; {ON_A_CPU}"
    if not -128 <= op.zero_point < 128:
        return f"its zero point is {op.zero_point}", "the engine adds zero points of 8 bits"
    if source.elem == INT16:
        return (
            "it reads a 16-bit sum in 8 bits, and the array reads 8-bit values only",
            "put a LayerNorm between the sum and its consumer, or compile for a CPU",
        )
    return None


def missing_in_sum(node: Node, op: ReduceSum) -> Lack | None:
    """Return what the engine lacks for a sum over tokens."""
    (tokens,) = node.inputs
    rank = tokens.type.rank
    axes = {axis % rank for axis in op.axes}
    over_tokens = rank - 1 not in axes and all(n == 1 or axis in axes for axis, n in enumerate(tokens.shape[:-1]))
    if tokens.elem == INT8 and over_tokens:
        return None
    return f"it sums {tokens.type} over axes {op.axes}", "the engine sums int8 values over all tokens"


def refusals(graph: Graph) -> list[Diagnostic]:
    """List every operator that the engine cannot run, grouped; those that are foreign only because of a neighbour are
    omitted."""
    lacks = {node: lack for node in graph.nodes() if (lack := lacking(node)) is not None}
    for node in graph.outputs:
        while isinstance(node.op, CARRIERS):
            node = node.inputs[0]
        if node in lacks and node.op.kind == "Softmax":
            lacks[node] = LAST_SOFTMAX
    secondary = {node for node in lacks if isinstance(node.op, (*MOVES, Requantise, Quantise, PatchEmbed)) or in_windows(node)}
    named = around(graph, set(lacks) - secondary)
    return grouped((node, *lack) for node, lack in lacks.items() if node not in secondary or node not in named)


def in_windows(node: Node) -> bool:
    """Return whether a node is attention that only the shape of its operands makes foreign: a move put heads first."""
    return isinstance(node.op, Attention) and not node.inputs[3:]


def around(graph: Graph, foreign: set[Node]) -> set[Node]:
    """Return the nodes reached from the foreign ones, in both directions, through moves and changes of scale, and at most
    two sums or attentions."""
    users = graph.users()
    reached: dict[Node, int] = dict.fromkeys(foreign, 0)
    waiting = list(foreign)
    while waiting:
        node = waiting.pop()
        for other in (*node.inputs, *users[node]):
            crossed = reached[node] + (0 if isinstance(other.op, (*CARRIERS, Quantise)) else 1)
            fits = isinstance(other.op, (*CARRIERS, Quantise, AddRequantised)) or (
                (in_windows(other) or isinstance(other.op, PatchEmbed)) and lacking(other) is not None
            )
            if fits and crossed <= 2 and crossed < reached.get(other, 3):
                reached[other] = crossed
                waiting.append(other)
    return set(reached)


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
