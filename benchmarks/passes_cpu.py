"""What the passes' layers cost on this CPU: experts beside onnxruntime on the dense form, attention by codes beside softmax.

    python -m benchmarks.passes_cpu [--only experts,hashing] [--rounds 15] [--quick]

One thread. All that one ratio compares runs in turns within one process, and what is measured is the processor time of
that thread, of which other programs take none; a figure is the median over all rounds.

Experts: 16 experts, top 4, experts as wide as the tokens. The dense form computes every expert for every token and masks;
it is taken in two spellings, a product for each expert as PyTorch exports it and one batched product for all, and the
faster of the two counts. 0.7 N / K is asked.

Hashing: 16 bits, 25 anchors, 4 heads. Both sides start from projected operands, so the key projection that codes make
unnecessary is not counted in their favour.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

os.environ.setdefault("TVM_NUM_THREADS", "1")

import numpy as np
import onnx
import onnxruntime as ort  # type: ignore[import-untyped,unused-ignore]
from edgewright.passes.ir import F32, INT8, INT16, Array, Graph, Node
from edgewright.passes.ir.interp import interpret
from edgewright.passes.ops import Attention, HashAttention, HashCodes, MoE, array_of, constant
from edgewright.passes.ops.arith_hashing import integer_anchors, integer_coefficients

from benchmarks.figures import Figure, Section, at_least
from tests.targets.cpu.cases_experts import layer
from tests.targets.cpu.lowered import Compiled, Draw, values_for

EXPERTS, TOP_K = 16, 4
WIDTHS, TOKENS = (64, 128, 192, 384), (197, 1025)
HEADS, BITS, SUPPORTS, SIGMA = 4, 16, 25, 0.8
HEAD_WIDTHS = (16, 32, 64)
LENGTHS = (9, 16, 25, 49, 98, 196, 392, 784, 1568, 3136)
BURST_MS = 20.0
Run = Callable[[], object]


def interleaved(runs: Mapping[str, Run], rounds: int) -> dict[str, float]:
    """Median processor time in ms of each."""
    lengths, times = {}, {name: list[float]() for name in runs}
    for name, run in runs.items():
        run()
        start = time.thread_time_ns()
        run()
        lengths[name] = max(1, min(200, int(BURST_MS * 1e6 / max(time.thread_time_ns() - start, 1))))
    for turn in range(rounds):
        for name in list(runs)[:: -1 if turn % 2 else 1]:
            runs[name]()
            for _ in range(lengths[name]):
                start = time.thread_time_ns()
                runs[name]()
                times[name].append((time.thread_time_ns() - start) / 1e6)
    return {name: statistics.median(milliseconds) for name, milliseconds in times.items()}


# Experts


def dense_model(weights: Sequence[Array], tokens: int, batched: bool) -> bytes:
    """The layer as exporters write it: every expert computed, its gate 0 where it was not chosen."""
    w1, b1, w2, b2 = weights
    width = w1.shape[2]
    nodes: list[onnx.NodeProto] = []
    initial: list[onnx.TensorProto] = []

    def const(value: Array) -> str:
        initial.append(onnx.numpy_helper.from_array(np.ascontiguousarray(value), f"c{len(initial)}"))
        return str(initial[-1].name)

    def emit(kind: str, *inputs: str, outs: int = 1, **attributes: Any) -> list[str]:
        made = [f"v{len(nodes)}_{i}" for i in range(outs)]
        nodes.append(onnx.helper.make_node(kind, list(inputs), made, **attributes))
        return made

    (share,) = emit("Softmax", "logits", axis=-1)
    gates, which = emit("TopK", share, const(np.array([TOP_K])), outs=2, axis=-1)
    (mask,) = emit("ScatterElements", const(np.zeros((tokens, EXPERTS), np.float32)), which, gates, axis=-1)
    if batched:
        (first,) = emit("MatMul", "x", const(w1.swapaxes(1, 2)))
        (hidden,) = emit("Gelu", *emit("Add", first, const(b1[:, None])))
        (second,) = emit("MatMul", hidden, const(w2.swapaxes(1, 2)))
        (whole,) = emit("Add", second, const(b2[:, None]))
        (turned,) = emit("Transpose", mask, perm=[1, 0])
        (gates,) = emit("Reshape", turned, const(np.array([EXPERTS, tokens, 1])))
        (total,) = emit("ReduceSum", *emit("Mul", whole, gates), const(np.array([0])), keepdims=0)
    else:
        total = const(np.zeros((tokens, width), np.float32))
        for e in range(EXPERTS):
            (first,) = emit("Gemm", "x", const(w1[e]), const(b1[e]), transB=1)
            (second,) = emit("Gemm", *emit("Gelu", first), const(w2[e]), const(b2[e]), transB=1)
            cut = [const(np.array([n])) for n in (e, e + 1, 1)]
            (gate,) = emit("Slice", mask, *cut)
            (total,) = emit("Add", total, *emit("Mul", gate, second))
    nodes[-1].output[0] = "y"
    value = onnx.helper.make_tensor_value_info
    inputs = [value("x", 1, (tokens, width)), value("logits", 1, (tokens, EXPERTS))]
    graph = onnx.helper.make_graph(nodes, "dense", inputs, [value("y", 1, (tokens, width))], initial)
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 20)], ir_version=9)
    return bytes(model.SerializeToString())


def session(model: bytes) -> ort.InferenceSession:
    """One thread, which is the caller's."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def prepared(graph: Graph, seed: int = 0) -> tuple[Compiled, dict[str, Array]]:
    compiled = Compiled(graph)
    values = values_for(graph, seed)
    compiled.run(values)
    return compiled, values


def moe_graph(width: int, tokens: int, whole: bool) -> Graph:
    d = Draw(3)
    x = d.input(1, tokens, width, elem=INT8 if whole else F32)
    logits = d.input(1, tokens, EXPERTS, elem=INT16 if whole else F32)
    d.outputs = [layer(d, MoE(TOP_K), x, logits, width, width)]
    return d.graph()


@dataclass(frozen=True, slots=True)
class ExpertTimes:
    """Milliseconds of one layer."""

    width: int
    tokens: int
    each: float
    batched: float
    fp32: float
    int8: float

    @property
    def dense(self) -> float:
        return min(self.each, self.batched)


def expert_times(width: int, tokens: int, rounds: int) -> ExpertTimes:
    graph = moe_graph(width, tokens, False)
    weights = [array_of(node) for node in graph.outputs[0].inputs[2:]]
    compiled, values = prepared(graph)
    named = [node.op.name for node in graph.inputs]  # type: ignore[attr-defined]
    feeds = {"x": values[named[0]][0], "logits": values[named[1]][0]}
    sessions = {name: session(dense_model(weights, tokens, name == "batched")) for name in ("each", "batched")}
    ours = next(iter(interpret(graph, values).values()))[0]
    for engine in sessions.values():
        (theirs,) = engine.run(None, feeds)
        assert np.abs(theirs - ours).max() < 1e-4, "the dense form is another layer"
    integers, _ = prepared(moe_graph(width, tokens, True))
    runs: dict[str, Run] = {name: partial(engine.run, None, feeds) for name, engine in sessions.items()}
    for name, layer_code in (("fp32", compiled), ("int8", integers)):
        runs[name] = partial(layer_code.entry, 0, len(layer_code.program.steps), *layer_code.arguments)
    return ExpertTimes(width, tokens, **interleaved(runs, rounds))


def expert_section(rounds: int, widths: Sequence[int]) -> Section:
    asked = 0.7 * EXPERTS / TOP_K
    rows = [expert_times(width, tokens, rounds) for tokens in TOKENS for width in widths]
    figures = [at_least(f"{t.tokens} tokens, width {t.width}: fp32 beside dense", t.dense / t.fp32, asked) for t in rows]
    lines = ["| tokens | width | dense, expert by expert | dense, batched | fp32 | int8 | fp32 | int8 |", "|" + "---:|" * 8]
    lines += [
        f"| {t.tokens} | {t.width} | {t.each:.3f} ms | {t.batched:.3f} ms | {t.fp32:.3f} ms | {t.int8:.3f} ms "
        f"| {t.dense / t.fp32:.2f} x | {t.dense / t.int8:.2f} x |"
        for t in rows
    ]
    return Section("Experts: 16, top 4, one thread, onnxruntime's time over ours", tuple(figures), tuple(lines))


# Hashing


def codes_of(d: Draw, u: Node, width: int) -> Node:
    """Codes of random hash functions whose thresholds are the means over random tokens."""
    anchors = d.rng.standard_normal((HEADS, SUPPORTS, width))
    anchors = (anchors / np.linalg.norm(anchors, axis=2, keepdims=True)).astype(np.float32)
    coefficients = d.rng.standard_normal((HEADS, BITS, SUPPORTS)).astype(np.float32)
    op = HashCodes(HEADS, SIGMA)
    mean = op.kernels(d.rng.standard_normal((1, 256, HEADS * width)), anchors).mean(axis=(0, 1))
    threshold = np.einsum("hrm,hm->hr", coefficients, mean).astype(np.float32)
    if u.type.is_float:
        return d(op, u, *map(constant, (anchors, coefficients, threshold)))
    whole, offset, multiplier, shift = integer_anchors(anchors, SIGMA)
    operands = whole, *integer_coefficients(coefficients, threshold), offset
    return d(HashCodes(HEADS, SIGMA, multiplier, shift), u, *map(constant, operands))


def hash_graph(width: int, tokens: int, whole: bool) -> Graph:
    """Attention by softmax and by codes of the same values; q stands for what is hashed."""
    d = Draw(5)
    size = HEADS * width
    q, k, v = (d.input(1, tokens, size, elem=INT8 if whole else F32) for _ in range(3))
    d.case = "softmax"
    soft = d(Attention(HEADS, width**-0.5, 47000, 24) if whole else Attention(HEADS, width**-0.5), q, k, v)
    d.case = "codes"
    codes = codes_of(d, q, width)
    d.case = "by codes"
    d.outputs = [soft, d(HashAttention(HEADS, BITS), codes, v)]
    return d.graph()


def hash_times(width: int, tokens: int, whole: bool, rounds: int) -> dict[str, float]:
    """Milliseconds of softmax attention, of codes, and of attention by codes."""
    compiled, _ = prepared(hash_graph(width, tokens, whole))
    runs: dict[str, Run] = {}
    for name in ("softmax", "codes", "by codes"):
        indices = [i for i, step in enumerate(compiled.program.steps) if step.origin and step.origin[0] == name]
        assert indices and indices == list(range(indices[0], indices[-1] + 1))
        runs[name] = partial(compiled.entry, indices[0], indices[-1] + 1, *compiled.arguments)
    return interleaved(runs, rounds)


def crossover(lengths: Sequence[int], ratios: Sequence[float]) -> float | None:
    """The length from which the ratio exceeds 1, between those measured; the first one where it always does."""
    if ratios[0] >= 1:
        return float(lengths[0])
    for i in range(1, len(ratios)):
        if ratios[i] >= 1:
            share = np.log(1 / ratios[i - 1]) / np.log(ratios[i] / ratios[i - 1])
            return float(lengths[i - 1] * (lengths[i] / lengths[i - 1]) ** share)
    return None


def hash_section(rounds: int, widths: Sequence[int], lengths: Sequence[int]) -> Section:
    figures: list[Figure] = []
    lines = ["| precision | head | tokens | softmax | codes | by codes | attention alone | with codes |", "|" + "---:|" * 8]
    for whole in (False, True):
        for width in widths:
            alone, both = [], []
            for tokens in lengths:
                t = hash_times(width, tokens, whole, rounds)
                alone.append(t["softmax"] / t["by codes"])
                both.append(t["softmax"] / (t["codes"] + t["by codes"]))
                lines.append(
                    f"| {'int8' if whole else 'fp32'} | {width} | {tokens} | {t['softmax']:.3f} ms | {t['codes']:.3f} ms "
                    f"| {t['by codes']:.3f} ms | {alone[-1]:.2f} x | {both[-1]:.2f} x |"
                )
                print(lines[-1], flush=True)
            for text, ratios in (("attention alone", alone), ("with its codes", both)):
                where = crossover(lengths, ratios)
                told = "no length measured" if where is None else f"{'at most ' if ratios[0] >= 1 else ''}{where:.0f} tokens"
                kind = "int8" if whole else "fp32"
                name = f"{kind}, head of {width}, {text}: faster than softmax from"
                figures.append(Figure(name, told, headline=text == "with its codes"))
    title = "Attention by codes: 4 heads, 16 bits, one thread, softmax's time over its own"
    return Section(title, tuple(figures), tuple(lines))


def main() -> None:
    """Parse the options, measure, print."""
    from benchmarks.figures import markdown

    parser = argparse.ArgumentParser(description="layers of experts and attention by codes on this CPU")
    parser.add_argument("--only", default="experts,hashing")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--quick", action="store_true", help="one width, three lengths")
    options = parser.parse_args()
    wanted = options.only.split(",")
    if "experts" in wanted:
        print(markdown([expert_section(options.rounds, WIDTHS[::3] if options.quick else WIDTHS)]), flush=True)
    if "hashing" in wanted:
        widths, lengths = (HEAD_WIDTHS[1:2], LENGTHS[::3]) if options.quick else (HEAD_WIDTHS, LENGTHS)
        print(markdown([hash_section(options.rounds, widths, lengths)]), flush=True)


if __name__ == "__main__":
    main()
