"""Write a mixture of experts in standard ONNX, at either level: every expert computes every token, and gates that are 0 for
the experts that a token did not choose mask the sum. Of two equal experts TopK takes the lower one, as MoE does."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from edgewright.frontend.onnx_writing.arith import biased, constant_of, product, requantise, round_shift, softmax_last
from edgewright.frontend.onnx_writing.emit import Emitter, op_of
from edgewright.passes.ir import INT8, INT16, Array, Node, Op, make
from edgewright.passes.ops import MoE, graph_input
from edgewright.passes.ops.activations import ACTIVATIONS
from edgewright.passes.ops.arith_experts import EXPERT_FRACTION, GATE_BITS

Writers = Mapping[type[Op], Callable[[Emitter, Node, Sequence[str]], str]]


def _chosen(emit: Emitter, scores: str, top_k: int) -> tuple[str, str]:
    """Write the K largest of each row, and their indices."""
    values = emit("TopK", scores, emit.ints([top_k]), axis=-1, largest=1, sorted=1)
    emit.nodes[-1].output.append(f"{values}_indices")
    return values, f"{values}_indices"


def _by_expert(emit: Emitter, node: Node, gates: str, indices: str, zeros: Array) -> str:
    """Write gates (M, K) at the indices of their experts, zeros elsewhere, as (N, M, 1)."""
    experts = node.inputs[1].shape[2]
    masked = emit("ScatterElements", emit.exact(zeros), indices, gates, axis=-1)
    return emit.reshape(emit.transpose(masked, 1, 0), (experts, zeros.shape[0], 1))


def write_moe(emit: Emitter, node: Node, operands: Sequence[str], writers: Writers) -> str:
    """Write a mixture in float32; one of `writers` writes the activation."""
    op, (x, logits, w1, b1, w2, b2) = op_of(node, MoE), operands
    tokens = node.shape[0] * node.shape[1]
    experts, hidden, width = node.inputs[2].shape
    rows = emit.reshape(logits, (tokens, experts))
    if op.softmax == "after":
        logits, indices = _chosen(emit, rows, op.top_k)
        gates = emit("Softmax", logits, axis=-1)
    else:
        gates, indices = _chosen(emit, emit("Softmax", rows, axis=-1), op.top_k)
        if op.renormalise:
            gates = emit("Div", gates, emit.sum(gates, -1))
    weights = _by_expert(emit, node, gates, indices, np.zeros((tokens, experts), np.float32))
    first = emit("MatMul", emit.reshape(x, (1, tokens, width)), emit.transpose(w1, 0, 2, 1))
    sums = emit("Add", first, emit.reshape(b1, (experts, 1, hidden)))
    activation = ACTIVATIONS[op.activation]
    template = make(activation, graph_input("hidden", (experts, tokens, hidden)))
    second = emit("MatMul", writers[type(activation)](emit, template, [sums]), emit.transpose(w2, 0, 2, 1))
    outputs = emit("Add", second, emit.reshape(b2, (experts, 1, node.shape[2])))
    return emit.reshape(emit.sum(emit("Mul", outputs, weights), 0, keepdims=0), node.shape)


def write_integer_moe(emit: Emitter, node: Node, operands: Sequence[str]) -> str:
    """Write `arith_experts.mixture`. Logits are made distinct by their expert, so that the result does not depend on ties."""
    op = op_of(node, MoE)
    tokens = node.shape[0] * node.shape[1]
    w1, b1, w2, b2, m1, s1, table, m2, s2 = (constant_of(node, i) for i in range(2, 11))
    experts, _, width = w1.shape
    rows = emit.reshape(operands[1], (tokens, experts))
    ranks = emit("Add", emit("Mul", rows, emit.ints(experts)), emit.ints(np.arange(experts)[::-1]))
    _, indices = _chosen(emit, ranks, op.top_k)
    if op.over_chosen:
        gates = softmax_last(emit, emit("GatherElements", rows, indices, axis=-1), op.gate_multiplier, op.gate_shift)
    else:
        shares = softmax_last(emit, rows, op.gate_multiplier, op.gate_shift)
        gates = emit("GatherElements", shares, indices, axis=-1)
    weights = _by_expert(emit, node, gates, indices, np.zeros((tokens, experts), np.int64))

    def products(x: str, w: Array, b: Array) -> str:
        columns = emit.exact((w.transpose(0, 2, 1) + 128).astype(np.uint8))
        return emit("Add", product(emit, biased(emit, x), columns, 128, 128), emit.ints(b[:, None]))

    first = products(emit.reshape(operands[0], (1, tokens, width)), w1, b1)
    sums = requantise(emit, first, m1[:, None], s1[:, None], op.zero_point, INT8)
    hidden = emit("Gather", emit.ints(table), emit("Add", sums, emit.ints(128)))
    outputs = requantise(emit, products(hidden, w2, b2), m2[:, None], s2[:, None], 0, INT16)
    total = emit.sum(emit("Mul", outputs, weights), 0, keepdims=0)
    return emit.reshape(round_shift(emit, total, GATE_BITS - EXPERT_FRACTION), node.shape)
