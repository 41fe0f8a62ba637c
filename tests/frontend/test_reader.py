"""Every spelling of a vision transformer reads into the same canonical graph, with onnxruntime's values."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime  # type: ignore[import-untyped]
import pytest
from edgewright.frontend.onnx_reading.reader import read_model
from edgewright.frontend.onnx_writing.writer import interface_names, write_float
from edgewright.passes.input_ranges import input_ranges
from edgewright.passes.ir import Array, Graph
from edgewright.passes.ir.interp import batchable, interpret
from edgewright.passes.ir.text import to_text
from edgewright.passes.ir.verify import verify
from edgewright.passes.ops import Attention, Constant, Gelu, Input, LayerNormalization, Transpose
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.frontend.float_tolerances import assert_close
from tests.frontend.onnx_vit import Sizes, Spelling, vit

EXAMPLES = sorted((Path(__file__).parents[2] / "examples" / "models").glob("*.onnx"))
# examples of another make than four blocks and a head
COUNTED = {
    "vit_deep": {"Attention": 12, "LayerNormalization": 25, "Linear": 49},
    "moe_fashion": {"Attention": 10, "LayerNormalization": 21, "Linear": 37, "MoE": 6},
    "dense_fashion": {"Attention": 4, "LayerNormalization": 9, "Linear": 19},
    "single_edges": {"Attention": 4, "LayerNormalization": 9, "Linear": 17},
    "single_foreground": {"Attention": 4, "LayerNormalization": 9, "Linear": 17},
    "vit_fine_hashed": {"Attention": 0, "HashAttention": 4, "LayerNormalization": 9, "Linear": 21},
    "pyramid_fine_hashed": {"Attention": 2, "HashAttention": 2, "LayerNormalization": 9, "Linear": 19},
}
ZOO = Path(os.environ.get("EDGEWRIGHT_ZOO", "/nonexistent"))
CANONICAL = {"PatchEmbed": 1, "LayerNormalization": 3, "Attention": 1, "Gelu": 1}


def session(model: onnx.ModelProto | Path) -> onnxruntime.InferenceSession:
    source = str(model) if isinstance(model, Path) else model.SerializeToString()
    return onnxruntime.InferenceSession(source, providers=["CPUExecutionProvider"])


def random_inputs(graph: Graph, seed: int = 0) -> dict[str, Array]:
    """Normal numbers, and integers that the graph allows."""
    rng, ranges = np.random.default_rng(seed), input_ranges(graph)
    found: dict[str, Array] = {}
    for node in graph.inputs:
        assert isinstance(node.op, Input)
        name, low_high = node.op.name, ranges.get(node.op.name)
        if low_high is None:
            found[name] = rng.standard_normal(node.shape).astype(np.float32)
        else:
            values = rng.integers(low_high[0], low_high[1] + 1, node.shape)
            found[name] = values.astype(np.int32 if str(node.elem) == "i32" else np.int64)
    return found


def kinds(graph: Graph) -> Counter[str]:
    return Counter(node.op.kind for node in graph.nodes() if not isinstance(node.op, Constant | Input))


def check(model: onnx.ModelProto | Path, row: str, shapes: dict[str, tuple[int, ...]] | None = None) -> Graph:
    """Read, verify, and compare with onnxruntime, the graph as well as what `write_float` makes of it."""
    graph = read_model(model, shapes)
    verify(graph, "read")
    inputs = random_inputs(graph)
    found = interpret(graph, inputs)
    wanted = dict(zip(graph.output_names, session(model).run(list(graph.output_names), inputs), strict=True))
    written = write_float(graph)
    onnx.checker.check_model(written, full_check=True)
    names = interface_names(graph)
    feeds = dict(zip(names[0], inputs.values(), strict=True))
    again = session(written).run(list(names[1]), feeds)
    for name, copy in zip(graph.output_names, again, strict=True):
        assert_close(found[name], wanted[name], row)
        assert_close(np.asarray(copy), wanted[name], row)
    return graph


SPELLINGS = [
    Spelling(),
    Spelling(opset=11, norm="div", qkv="gather"),
    Spelling(opset=12, norm="squared_by_mul", qkv="unstack_first", scale="scores_div"),
    Spelling(opset=13, norm="mul_reciprocal", qkv="split", scale="k"),
    Spelling(opset=14, norm="pow_half", qkv="slice", scale="both"),
    Spelling(opset=15, norm="power_minus_half", qkv="three", scale="scores"),
    Spelling(opset=16, norm="two_means", qkv="interleaved"),
    Spelling(opset=17, qkv="slice", scale="shape", patch="conv_flatten"),
    Spelling(opset=18, qkv="slice", scale="both", linear="matmul_swapped"),
    Spelling(opset=18, norm="div", qkv="slice_last", scale="q"),
    Spelling(opset=19, qkv="split_last", attention="folded"),
    Spelling(opset=20, gelu="op", linear="transposed"),
    Spelling(opset=21, gelu="op_tanh", linear="flat_gemm"),
    Spelling(opset=22, gelu="tanh", qkv="three", linear="flat_gemm"),
    Spelling(opset=23, gelu="op", attention="op4", qkv="slice"),
    Spelling(opset=23, gelu="op", attention="op3"),
    Spelling(gelu="erf_mul", pool="slice"),
    Spelling(gelu="erf_half_first", pool="gather_vector"),
    Spelling(gelu="erf_half_last", pool="mean", qkv="gather"),
    Spelling(gelu="tanh", pool="mean_pool"),
    Spelling(patch="reshapes"),
    Spelling(patch="conv_reshape_minus_one", layer_scale=True),
    Spelling(batch="batch", qkv="gather", scale="shape", patch="conv_flatten"),
    Spelling(opset=11, batch="batch", norm="div", pool="mean", layer_scale=True),
    Spelling(opset=18, nan_guard=True),
]

NORMS = ("fused", "div", "mul_reciprocal", "pow_half", "power_minus_half", "squared_by_mul", "two_means")
GELUS = ("erf_div", "erf_mul", "erf_half_first", "erf_half_last", "tanh", "op", "op_tanh")
QKV = ("split", "slice", "gather", "unstack_first", "three", "interleaved", "slice_last", "split_last")


@st.composite
def spellings(draw: st.DrawFn) -> Spelling:
    """Any combination that its opset has operators for."""
    opset = draw(st.integers(11, 23))
    return Spelling(
        opset=opset,
        norm=draw(st.sampled_from(NORMS if opset >= 17 else NORMS[1:])),
        gelu=draw(st.sampled_from(GELUS if opset >= 20 else GELUS[:-2])),
        qkv=draw(st.sampled_from(QKV)),
        scale=draw(st.sampled_from(("q", "k", "both", "scores", "scores_div", "shape"))),
        attention=draw(st.sampled_from(("matmul", "folded", *(("op4", "op3") if opset >= 23 else ())))),
        linear=draw(st.sampled_from(("matmul", "matmul_swapped", "transposed", "flat_gemm"))),
        pool=draw(st.sampled_from(("gather", "gather_vector", "slice", "mean", "mean_pool"))),
        patch=draw(st.sampled_from(("conv", "conv_flatten", "conv_reshape_minus_one", "reshapes"))),
        batch="batch" if draw(st.booleans()) else 1,
        layer_scale=draw(st.booleans()),
    )


@pytest.mark.parametrize("spelling", SPELLINGS, ids=lambda s: "-".join(str(v) for v in vars(s).values()))
def test_spellings(spelling: Spelling) -> None:
    assert_canonical(spelling)


@pytest.mark.long
@given(spellings())
@settings(max_examples=25)
def test_any_combination(spelling: Spelling) -> None:
    assert_canonical(spelling)


def assert_canonical(spelling: Spelling) -> None:
    """One attention, one GELU, three norms, one patch embedding, products with weights; nothing plain is left."""
    graph = check(vit(spelling), "one block")
    found = kinds(graph)
    assert {kind: found[kind] for kind in CANONICAL} == CANONICAL
    separate = spelling.qkv in ("three", "interleaved") and spelling.attention != "op3"
    assert found["Linear"] == (7 if separate else 5)
    plain = {"MatMul", "Softmax", "Conv", "Transpose", "Erf", "Mul", "Div", "Sub", "Pow", "Sqrt"}
    assert not plain & set(found), found
    assert batchable(graph)
    (attention,) = (node.op for node in graph.nodes() if isinstance(node.op, Attention))
    assert attention.heads == 3 and abs(attention.scale - 8**-0.5) < 1e-6
    (gelu,) = (node.op for node in graph.nodes() if isinstance(node.op, Gelu))
    assert gelu.approximate == ("tanh" if "tanh" in spelling.gelu else "none")
    assert all(abs(n.op.epsilon - 1e-3) < 1e-9 for n in graph.nodes() if isinstance(n.op, LayerNormalization))


@pytest.mark.parametrize(
    "sizes",
    [
        Sizes(width=1, heads=1, hidden=1),
        Sizes(width=2, heads=2, hidden=3),
        Sizes(patch=8),
        Sizes(channels=1, classes=1),
    ],
)
def test_tiny_sizes(sizes: Sizes) -> None:
    """One channel, one token, one class: lengths of 1 must not confuse the layouts."""
    for spelling in (Spelling(), Spelling(qkv="three", scale="scores"), Spelling(qkv="gather", scale="both")):
        assert kinds(check(vit(spelling, sizes), "one block"))["Attention"] == 1


def test_a_constant_added_to_the_scores_is_the_attentions_bias() -> None:
    graph = check(vit(Spelling(mask=True)), "one block")
    assert (kinds(graph)["Attention"], kinds(graph)["Softmax"], kinds(graph)["MatMul"]) == (1, 0, 0)
    (attention,) = (node for node in graph.nodes() if isinstance(node.op, Attention))
    assert attention.inputs[3].shape == (1, 1, 17, 17)


def test_batch_from_shapes() -> None:
    model = vit(Spelling(batch="batch", pool="mean"))
    assert read_model(model).inputs[0].shape[0] == 1
    of_two = read_model(model, {"x": (2, 3, 8, 8)})  # an artifact for two would take no samples one by one
    assert of_two.inputs[0].shape == (1, 3, 8, 8) and of_two.notes


def test_a_batch_of_samples_in_one_run() -> None:
    model = vit(Spelling(batch="batch"))
    graph = read_model(model)
    images = np.random.default_rng(1).standard_normal((5, 3, 8, 8)).astype(np.float32)
    (wanted,) = session(model).run(None, {"x": images})
    assert_close(interpret(graph, {"x": images})["logits"], wanted, "one block")


def test_reading_is_deterministic() -> None:
    model = vit(Spelling(qkv="interleaved"))
    assert to_text(read_model(model)) == to_text(read_model(model))


@pytest.mark.long
@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.name)
def test_examples(path: Path) -> None:
    found = kinds(check(path, "trained"))
    assert set(found) <= {
        *("PatchEmbed", "Concat", "Add", "LayerNormalization", "Linear", "Slice", "Attention", "Gelu", "Reshape"),
        *("ReduceMean", "Transpose", "MoE", "HashCodes", "HashAttention"),
    }
    wanted = COUNTED.get(path.stem, {"Attention": 4, "LayerNormalization": 9, "Linear": 17})
    assert {kind: found[kind] for kind in wanted} == wanted


@pytest.mark.zoo
@pytest.mark.parametrize("path", sorted(ZOO.glob("*.onnx")) or [ZOO / "absent.onnx"], ids=lambda p: p.name)
def test_zoo(path: Path) -> None:
    graph = check(path, "network")
    assert not {"MatMul", "Softmax", "Div", "Sub", "Pow", "ConvTranspose"} & set(kinds(graph))
    moves = {node.op.perm for node in graph.nodes() if isinstance(node.op, Transpose)}
    if path.name.startswith(("vit_digits", "vit_fashion", "deit")):
        assert not moves
    if path.name.startswith(("efficientvit", "pvt")):  # free where images are stored channels last; and into windows
        windows = {(0, 1, 3, 2, 4, 5), (0, 2, 1, 3, 4)} if path.name.startswith("efficientvit") else set()
        assert moves - windows == {(0, 2, 3, 1), (0, 3, 1, 2)}
        assert kinds(graph)["Attention"] == (16 if path.name.startswith("efficientvit") else 8)


@pytest.mark.zoo
def test_deit_tiny_costs() -> None:
    import time

    start = time.perf_counter()
    graph = read_model(ZOO / "deit_tiny.dynamo18.onnx")
    assert time.perf_counter() - start < 8
    assert kinds(graph)["Attention"] == 12
