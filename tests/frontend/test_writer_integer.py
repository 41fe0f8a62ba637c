"""The written integer ONNX in onnxruntime gives the bits of the interpreter: an engine that nobody here wrote."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
import onnxruntime  # type: ignore[import-untyped]
import pytest
from edgewright.frontend.onnx_writing.writer import interface_names, tensor_names, write_integer
from edgewright.passes.ir import INT8, INT16, INT32, Array, Graph, Int, Level, Node, make
from edgewright.passes.ir.interp import interpret_all
from edgewright.passes.ops import (
    AddRequantised,
    Attention,
    Cast,
    Clip,
    Concat,
    Constant,
    Conv,
    Dequantise,
    Div,
    Gather,
    Input,
    LayerNormalization,
    Linear,
    MatMul,
    Max,
    Min,
    Mul,
    PatchEmbed,
    Quantise,
    ReduceSum,
    Relu,
    Requantise,
    Reshape,
    RMSNormalization,
    Slice,
    Softmax,
    Sub,
    Table,
    Transpose,
    Where,
    constant,
    graph_input,
)


def run(model: onnx.ModelProto, inputs: dict[str, Array]) -> dict[str, Array]:
    """onnxruntime's results by name."""
    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, inputs), strict=True))


def assert_same_bits(outputs: Sequence[Node], inputs: dict[str, Array], names: Sequence[str] | None = None) -> None:
    """Write, run and compare every tensor that is no constant."""
    leaves = [n for n in Graph("g", (), tuple(outputs), ()).nodes() if isinstance(n.op, Input)]
    out_names = tuple(names or (f"y{i}" for i in range(len(outputs))))
    graph = Graph("g", tuple(leaves), tuple(outputs), out_names, Level.QUANTISED)
    feeds = {
        name: inputs[node.op.name].astype(np.float32 if node.type.is_float else np.int64)
        for name, node in zip(interface_names(graph)[0], graph.inputs, strict=True)
        if isinstance(node.op, Input)
    }
    found = run(write_integer(graph, every_tensor=True), feeds)
    wanted = interpret_all(graph, inputs)
    for node, name in tensor_names(graph).items():
        if not isinstance(node.op, Constant | Input):
            np.testing.assert_array_equal(found[name], wanted[node], err_msg=f"{node.op.kind} {name}")
    for node, name in zip(graph.outputs, interface_names(graph)[1], strict=True):
        np.testing.assert_array_equal(found[name], wanted[node])


def whole(rng: np.random.Generator, shape: Sequence[int], elem: Int) -> Array:
    """Random integers over the whole symmetric range, the extremes always among them."""
    high = (1 << (elem.bits - 1)) - 1
    values = rng.integers(-high, high, tuple(shape), dtype=np.int64, endpoint=True)
    values.reshape(-1)[: min(2, values.size)] = [high, -high][: min(2, values.size)]
    return values


def test_quantise_rounds_halves_up_and_saturates() -> None:
    x = graph_input("x", (1, 12))
    values = np.array([[0.5, -0.5, 1.5, -1.5, 2.4999, 126.5, 127.5, -127.5, 1e30, -1e30, 0.0, -0.0]], np.float32)
    assert_same_bits([make(Quantise(1.0, 0), x), make(Quantise(0.037, -5), x)], {"x": values})


def test_dequantise_is_float() -> None:
    x = graph_input("x", (1, 5), INT8)
    assert_same_bits([make(Dequantise(0.3, 4), x)], {"x": np.array([[-127, -1, 0, 4, 127]])})


@pytest.mark.parametrize("per_channel", [True, False])
@pytest.mark.parametrize("elem", [INT8, INT16])
def test_requantise_for_every_shift(per_channel: bool, elem: Int) -> None:
    rng = np.random.default_rng(1)
    for shift in range(1, 48) if not per_channel else (0,):
        acc = rng.integers(-(1 << 26) + 1, 1 << 26, (1, 9, 47))
        acc[0, 0, :4] = [(1 << 26) - 1, -(1 << 26) + 1, 0, -1]
        shifts = np.arange(1, 48) if per_channel else np.array([shift])
        factors = rng.integers(1 << 15, 1 << 16, shifts.shape)
        x = graph_input("x", acc.shape, Int(32))
        op = Requantise(0 if elem == INT16 else int(rng.integers(-127, 128)), elem)
        parts = constant(factors.astype(np.int32)), constant(shifts.astype(np.int8))
        assert_same_bits([make(op, x, *parts)], {"x": acc})


def _products(rng: np.random.Generator) -> list[tuple[Node, dict[str, Array]]]:
    w, b = whole(rng, (7, 48), INT8), rng.integers(-(1 << 20), 1 << 20, 7)
    weights = constant(w.astype(np.int8)), constant(b.astype(np.int32))
    patch = constant(whole(rng, (5, 3 * 4 * 4), INT8).astype(np.int8)), constant(np.arange(5, dtype=np.int32))
    return [
        (make(Linear(), graph_input("x", (1, 9, 48), INT8), *weights), {"x": whole(rng, (1, 9, 48), INT8)}),
        (make(Linear(), graph_input("x", (1, 48), INT8), *weights), {"x": whole(rng, (1, 48), INT8)}),
        (make(PatchEmbed(4), graph_input("x", (1, 3, 8, 12), INT8), *patch), {"x": whole(rng, (1, 3, 8, 12), INT8)}),
    ]


@pytest.mark.parametrize("case", range(3))
def test_products(case: int) -> None:
    node, inputs = _products(np.random.default_rng(2))[case]
    assert_same_bits([node], inputs)


def test_products_do_not_saturate_in_pairs() -> None:
    """255 * 127 * 2 overflows 16 bits: what an int8 kernel without VNNI gets wrong."""
    x, w = graph_input("x", (1, 4, 64), INT8), constant(np.full((3, 64), 127, np.int8))
    node = make(Linear(), x, w, constant(np.zeros(3, np.int32)))
    assert_same_bits([node], {"x": np.full((1, 4, 64), 127)})


def test_table_and_add() -> None:
    rng = np.random.default_rng(3)
    x = graph_input("x", (1, 256), INT8)
    table = constant(whole(rng, (256,), INT8).astype(np.int8))
    assert_same_bits([make(Table(), x, table)], {"x": np.arange(-128, 128)[None]})
    a, b = graph_input("a", (1, 6, 50), INT16), graph_input("b", (1, 6, 50), INT16)
    inputs = {"a": whole(rng, (1, 6, 50), INT16), "b": whole(rng, (1, 6, 50), INT16)}
    for pairs in ((32768, 15, 32768, 15), (65535, 16, 40000, 17), (50000, 47, 32768, 1)):
        assert_same_bits([make(AddRequantised(*pairs, subtract), a, b) for subtract in (False, True)], inputs)


@pytest.mark.parametrize(
    ("a", "b"), [((2, 3, 40), (2, 3, 40)), ((2, 3, 40), (3, 1)), ((40,), (2, 1, 1)), ((), (7,)), ((7,), ())]
)
def test_quotients(a: tuple[int, ...], b: tuple[int, ...]) -> None:
    """Accumulators and narrower values, of either sign and 0, and their extremes; every number of fractional bits."""
    rng, most = np.random.default_rng(0), (1 << 26) - 1
    above, below = (np.asarray(rng.integers(-most, most + 1, s) >> rng.integers(0, 26, s)) for s in (a, b))
    if below.size > 4:
        below.reshape(-1)[:5] = 0, 1, -1, most, -most
    x, wide, narrow = graph_input("a", a, INT32), graph_input("b", b, INT32), graph_input("c", b, INT16)
    inputs = {"a": above, "b": below, "c": np.asarray(whole(rng, b, INT16))}
    for fraction in range(0, 32, 3):
        for offset in (0, 3, -most):
            assert_same_bits([make(Div(fraction, offset), x, divisor) for divisor in (wide, narrow)], inputs)


@pytest.mark.parametrize("width", [1, 3, 48, 64, 192, 1024])
@pytest.mark.parametrize("epsilon", [1, 123_456_789, 1 << 50])
def test_layer_normalization(width: int, epsilon: int) -> None:
    rng = np.random.default_rng(width)
    x = np.stack(
        [
            whole(rng, (width,), INT16),
            np.full(width, 32767),
            np.zeros(width, np.int64),
            rng.integers(-3, 4, width),
            np.where(np.arange(width) % 2, 32767, -32767),
            rng.integers(-300, 300, width),
        ]
    )[None]
    for shift in (1, 17, 40):
        factors = rng.integers(-(1 << 16) + 1, 1 << 16, width)
        offsets = rng.integers(-(1 << 47), 1 << 47, width) >> int(rng.integers(0, 30))
        parts = constant(factors.astype(np.int32)), constant(offsets)
        source = graph_input("x", x.shape, INT16)
        both = (LayerNormalization, RMSNormalization)
        kinds = (kind(eps_term=epsilon, shift=shift, elem=elem) for kind in both for elem in (INT8, INT16))
        assert_same_bits([make(op, source, *parts) for op in kinds], {"x": x})


@pytest.mark.parametrize("width", [1025, 4096, 1 << 15, (1 << 15) + 1, 200_704, 1 << 20])
@pytest.mark.parametrize("epsilon", [1, 1 << 60])
def test_normalisations_of_wide_rows(width: int, epsilon: int) -> None:
    """Factors for each column, and one for all."""
    rng = np.random.default_rng(width)
    rows = [whole(rng, (width,), INT16), np.full(width, 32767), np.where(np.arange(width) % 2, 32767, -32767)]
    rows += [np.full(width, -5) + (np.arange(width) == 7), rng.integers(-300, 300, width)]
    x = np.stack(rows[: 5 if width < 1 << 20 else 3])[None]
    source = graph_input("x", x.shape, INT16)
    for count, shift, elem in ((width, 13, INT16), (1, 21, INT8)):
        factors = rng.integers(-(1 << 16) + 1, 1 << 16, count)
        parts = constant(factors.astype(np.int32)), constant(rng.integers(-(1 << 40), 1 << 40, count))
        kinds = (kind(eps_term=epsilon, shift=shift, elem=elem) for kind in (LayerNormalization, RMSNormalization))
        assert_same_bits([make(op, source, *parts) for op in kinds], {"x": x})


@pytest.mark.parametrize(
    ("heads", "tokens", "keys", "dim"),
    [(1, 1, 1, 1), (3, 17, 17, 16), (2, 1, 50, 32), (4, 10, 7, 8), (1, 197, 197, 64)],
)
def test_attention(heads: int, tokens: int, keys: int, dim: int) -> None:
    rng = np.random.default_rng(tokens)
    shapes = {"q": (1, tokens, heads * dim), "k": (1, keys, heads * dim), "v": (1, keys, heads * dim)}
    values = {name: whole(rng, shape, INT8) for name, shape in shapes.items()}
    nodes = [graph_input(name, shape, INT8) for name, shape in shapes.items()]
    for multiplier, shift in ((32768, 20), (65535, 16), (40000, 30), (32768, 1), (33333, 47)):
        op = Attention(heads, score_multiplier=multiplier, score_shift=shift)
        assert_same_bits([make(op, *nodes)], values)


@pytest.mark.parametrize("bias_shape", [(3, 2, 5, 7), (1, 2, 5, 7), (2, 5, 7), (3, 1, 1, 7), (7,)])
def test_attention_in_windows_with_a_bias(bias_shape: tuple[int, ...]) -> None:
    """Values of another width than the keys; the bias a constant, and computed."""
    rng = np.random.default_rng(len(bias_shape))
    shapes = {"q": (3, 5, 8), "k": (3, 7, 8), "v": (3, 7, 12)}
    values = {name: whole(rng, shape, INT8) for name, shape in shapes.items()}
    nodes = [graph_input(name, shape, INT8) for name, shape in shapes.items()]
    bias = whole(rng, bias_shape, Int(25)) >> rng.integers(0, 24, bias_shape)
    op = Attention(2, score_multiplier=40000, score_shift=22)
    assert_same_bits([make(op, *nodes, constant(bias.astype(np.int32)))], values)
    given = graph_input("bias", bias_shape, Int(25))
    assert_same_bits([make(op, *nodes, given)], {**values, "bias": bias})


def test_flat_attention_rows_reach_every_length_of_the_sum() -> None:
    """Equal scores: the sum of weights is 254 per key, so that its bit length runs through many values."""
    for keys in (1, 2, 3, 5, 8, 13, 33, 64, 129):
        rng = np.random.default_rng(keys)
        shapes = {"q": (1, 2, 8), "k": (1, keys, 8), "v": (1, keys, 8)}
        values = {"q": np.zeros(shapes["q"], np.int64), **{n: whole(rng, shapes[n], INT8) for n in "kv"}}
        nodes = [graph_input(name, shape, INT8) for name, shape in shapes.items()]
        assert_same_bits([make(Attention(2, score_multiplier=40000, score_shift=20), *nodes)], values)


def test_movement_and_sums() -> None:
    rng = np.random.default_rng(4)
    x = graph_input("x", (1, 6, 10), INT8)
    rows = constant(whole(rng, (1, 1, 10), INT8).astype(np.int8))
    joined = make(Concat(1), rows, x)
    nodes = [
        make(Slice(1, 0, 1), joined),
        make(Transpose((0, 2, 1)), joined),
        make(Reshape((1, 70)), joined),
        make(ReduceSum((1,)), x),
        make(ReduceSum((1,), True), x),
        make(ReduceSum((0, -1)), x),
    ]
    assert_same_bits(nodes, {"x": whole(rng, (1, 6, 10), INT8)})


@pytest.mark.parametrize("pad_value", [-127, 0, 5, 127])
@pytest.mark.parametrize("groups", [1, 2, 6])
def test_convolutions(groups: int, pad_value: int) -> None:
    rng = np.random.default_rng(groups)
    x = graph_input("x", (2, 6, 7, 8), INT8)
    w = constant(whole(rng, (12, 6 // groups, 3, 2), INT8).astype(np.int8))
    b = constant(rng.integers(-(1 << 20), 1 << 20, 12).astype(np.int32))
    nodes = [
        make(Conv((2, 1), (1, 2, 0, 1), (1, 2), groups, pad_value), x, w, b),
        make(Conv((1, 1), (1, 1, 1, 1), (1, 1), groups, pad_value), x, w),
    ]
    factors = constant(rng.integers(1 << 15, 1 << 16, (12, 1, 1)).astype(np.int32)), constant(np.full((12, 1, 1), 22, np.int8))
    nodes.append(make(Requantise(-127), nodes[0], *factors))
    assert_same_bits(nodes, {"x": whole(rng, (2, 6, 7, 8), INT8)})


@pytest.mark.parametrize("elem", [INT8, INT16])
def test_bounds_and_extremes(elem: Int) -> None:
    rng = np.random.default_rng(9)
    a, b = graph_input("a", (2, 3, 40), elem), graph_input("b", (3, 1), elem)
    bounds = [Clip(-7.0, 100.0), Clip(high=30.0), Clip(-1.0), Clip(3.0, -3.0), Clip()]
    nodes = [*(make(op, a) for op in bounds), make(Max(), a, b), make(Min(), b, a)]
    assert_same_bits(nodes, {"a": whole(rng, a.shape, elem), "b": whole(rng, b.shape, elem)})


def test_a_wide_sum_in_a_convolution_is_exact() -> None:
    """The extremes at every tap: 2,048 products of 127 * 127."""
    signs = np.where(np.arange(2048) % 3, 127, -127).reshape(1, 512, 2, 2)
    x, w = graph_input("x", (1, 512, 2, 2), INT8), constant(signs.astype(np.int8))
    assert_same_bits([make(Conv(), x, w)], {"x": signs})
    assert_same_bits([make(Conv(), x, w)], {"x": np.full_like(signs, 127)})


def test_products_of_activations() -> None:
    rng = np.random.default_rng(6)
    shapes = {"a": (1, 3, 5, 16), "b": (1, 1, 16, 7), "map": (1, 4, 3, 3), "gate": (1, 4, 1, 1)}
    values = {name: whole(rng, shape, INT8) for name, shape in shapes.items()}
    a, b, maps, gate = (graph_input(name, shape, INT8) for name, shape in shapes.items())
    assert_same_bits([make(MatMul(), a, b), make(Mul(), maps, gate), make(Relu(), maps)], values)


@pytest.mark.parametrize("axis", [-1, 1])
def test_softmax(axis: int) -> None:
    rng = np.random.default_rng(7)
    x = graph_input("x", (2, 5, 6), INT16)
    pairs = (32768, 1), (32768, 15), (65535, 20), (40000, 24), (33333, 47)
    assert_same_bits([make(Softmax(axis, *pair), x) for pair in pairs], {"x": whole(rng, (2, 5, 6), INT16)})
    assert_same_bits([make(Softmax(axis, 40000, 20), x)], {"x": np.full((2, 5, 6), 3)})


def test_rows_of_a_table_chosen_by_ids() -> None:
    rng = np.random.default_rng(8)
    ids, mask = graph_input("ids", (1, 6), Int(64)), graph_input("mask", (1, 6), Int(64))
    table = constant(whole(rng, (11, 4), INT16).astype(np.int16))
    rows = make(Gather(0), table, ids)
    bias = make(Where(), mask, constant(np.zeros(1, np.int32)), constant(np.full(1, -(1 << 24) + 1, np.int32)))
    absent = make(Sub(), constant(np.ones(1, np.float32)), make(Cast(), mask))
    real = make(Mul(), absent, constant(np.array([-3e38], np.float32)))
    scores = make(Quantise(1e-3, 0, Int(25)), real)
    assert_same_bits([rows, bias, scores], {"ids": np.array([[0, 10, 3, 3, 1, 0]]), "mask": np.array([[1, 1, 0, 1, 0, 1]])})


@pytest.mark.parametrize(
    "name",
    ["", "a b", 'x"; rm -rf /', "</script>", "../../etc/passwd", "módulo\n", "endmodule", "$(id)", "n_a", "\ud800"],
)
def test_hostile_names_are_data(name: str) -> None:
    x = make(Input(name, graph_input("x", (1, 4)).type), origin=(name,))
    y = make(Quantise(0.5), x, origin=(name,))
    graph = Graph(name, (x,), (y,), (name,), Level.QUANTISED)
    model = write_integer(graph, every_tensor=True)
    (input_name,), (output_name,) = interface_names(graph)
    found = run(model, {input_name: np.ones((1, 4), np.float32)})
    assert found[output_name].tolist() == [[2, 2, 2, 2]]
    text = model.graph.name + input_name + output_name + "".join(tensor_names(graph).values())
    assert text.replace("_", "").isalnum() and text.isascii()


def test_levels_are_not_mixed_up() -> None:
    x = graph_input("x", (1, 4))
    with pytest.raises(ValueError, match="float"):
        write_integer(Graph("g", (x,), (x,), ("y",)))
