"""LayerNorm as TensorFlow multiplies it out, over any axes, and Instance- and GroupNormalization: onnxruntime's values."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from edgewright.frontend.onnx_reading.reader import read_model

from tests.frontend.small_models import check_float, check_int8, model_of, node, normal
from tests.frontend.test_reader import kinds

SHAPES = {-1: (1, 6, 24), 1: (1, 24, 4, 5)}


def moments(spelling: str) -> list[onnx.NodeProto]:
    mean = node("ReduceMean", "x axis", "mean", keepdims=1)
    if spelling == "squares":  # mean of squares minus square of mean
        return [
            mean,
            node("Mul", "x x", "q"),
            node("ReduceMean", "q axis", "qm", keepdims=1),
            node("Mul", "mean mean", "mm"),
            node("Sub", "qm mm", "v0"),
            node("Relu", "v0", "v"),
        ]
    order = "mean x" if spelling == "reversed" else "x mean"
    square = node("Pow", "d two", "q") if spelling == "pow" else node("Mul", "d d", "q")
    return [mean, node("Sub", order, "d"), square, node("ReduceMean", "q axis", "v", keepdims=1)]


def inverse(spelling: str) -> list[onnx.NodeProto]:
    moved = node("Add", "v eps", "e")
    if spelling == "reciprocal":
        return [moved, node("Sqrt", "e", "r"), node("Reciprocal", "r", "i")]
    if spelling == "one over":
        return [moved, node("Sqrt", "e", "r"), node("Div", "one r", "i")]
    if spelling == "root of reciprocal":
        return [moved, node("Reciprocal", "e", "r"), node("Sqrt", "r", "i")]
    return [moved, node("Pow", "e minus_half", "i")]


def combined(spelling: str) -> list[onnx.NodeProto]:
    if spelling == "keras":
        scaled = [node("Mul", "i g", "k"), node("Mul", "x k", "a"), node("Mul", "mean k", "m")]
        return [*scaled, node("Sub", "b m", "c"), node("Add", "a c")]
    if spelling == "last":
        scaled = [node("Mul", "g i", "k"), node("Mul", "k x", "a"), node("Mul", "k mean", "m")]
        return [*scaled, node("Sub", "a m", "c"), node("Add", "b c")]
    if spelling == "negated":
        return [
            node("Mul", "g i", "k"),
            node("Mul", "k x", "a"),
            node("Neg", "mean", "n"),
            node("Mul", "n k", "m"),
            node("Add", "a m", "c"),
            node("Add", "c b"),
        ]
    if spelling == "no scale":
        return [node("Mul", "x i", "a"), node("Mul", "mean i", "m"), node("Sub", "b m", "c"), node("Add", "c a")]
    return [node("Sub", "x mean", "z"), node("Mul", "z i", "n"), node("Mul", "n g", "h"), node("Add", "h b")]


def written_out(axis: int, how: tuple[str, str, str]) -> onnx.ModelProto:
    vector = (24,) if axis == -1 else (24, 1, 1)
    weights = {"axis": np.array([axis]), "eps": np.array(1e-3), "one": np.array(1.0), "two": np.array(2.0)}
    weights |= {"minus_half": np.array(-0.5), "g": normal(1, *vector), "b": normal(2, *vector)}
    return model_of([*moments(how[0]), *inverse(how[1]), *combined(how[2])], {"x": SHAPES[axis]}, weights)


HOWS = [
    ("differences", "reciprocal", "keras"),
    ("pow", "one over", "last"),
    ("reversed", "power", "no scale"),
    ("squares", "reciprocal", "keras"),
    ("squares", "root of reciprocal", "plain"),
    ("differences", "power", "plain"),
    ("squares", "power", "last"),
    ("differences", "reciprocal", "negated"),
]


@pytest.mark.parametrize("axis", SHAPES)
@pytest.mark.parametrize("how", HOWS, ids="-".join)
def test_layer_norm_written_out(how: tuple[str, str, str], axis: int) -> None:
    model = written_out(axis, how)
    graph = read_model(model)
    assert kinds(graph)["LayerNormalization"] == 1
    assert set(kinds(graph)) <= {"LayerNormalization", "Transpose"}
    check_float(model, tolerance=1e-5)


def test_what_only_looks_like_it_stays() -> None:
    """Another scale on the mean, or the same sign: no normalisation."""
    for wrong in (node("Mul", "mean g", "m"), node("Mul", "x k", "m")):
        nodes = [*moments("differences"), *inverse("reciprocal"), *combined("keras")]
        nodes[-3] = wrong
        weights = {"axis": np.array([-1]), "eps": np.array(1e-3), "g": normal(1, 24), "b": normal(2, 24)}
        graph = check_float(model_of(nodes, {"x": SHAPES[-1]}, weights), tolerance=1e-5)
        assert not kinds(graph)["LayerNormalization"]


def test_layer_norm_of_channels_in_int8() -> None:
    nodes = [node("Conv", "z w", "x"), *(written_out(1, HOWS[0]).graph.node)]
    nodes[-1].output[0] = "n"
    nodes.append(node("Conv", "n last"))
    constants = {t.name: onnx.numpy_helper.to_array(t) for t in written_out(1, HOWS[0]).graph.initializer}
    weights = {**constants, "w": normal(3, 24, 4, 1, 1), "last": normal(4, 4, 24, 1, 1)}
    integer = check_int8(model_of(nodes, {"z": (1, 4, 6, 5)}, weights), 28)
    assert kinds(integer)["LayerNormalization"] + kinds(integer)["RMSNormalization"] == 1


@pytest.mark.parametrize("shape", [(1, 8, 30), (1, 8, 4, 5)])
def test_instance_normalization(shape: tuple[int, ...]) -> None:
    weights = {"s": normal(1, 8), "b": normal(2, 8)}
    check_float(model_of([node("InstanceNormalization", "x s b", epsilon=1e-3)], {"x": shape}, weights), tolerance=1e-5)


@pytest.mark.parametrize("groups", [1, 2, 8])
@pytest.mark.parametrize("opset", [18, 21])
def test_group_normalization(groups: int, opset: int) -> None:
    count = groups if opset < 21 else 8
    weights = {"s": normal(1, count), "b": normal(2, count)}
    norm = node("GroupNormalization", "x s b", num_groups=groups, epsilon=1e-3)
    check_float(model_of([norm], {"x": (1, 8, 4, 5)}, weights, opset), tolerance=1e-5)


def group_norm(groups: int) -> list[onnx.NodeProto]:
    """As torch.onnx writes nn.GroupNorm."""
    return [
        node("Reshape", "x rows", "r"),
        node("InstanceNormalization", "r ones zeros", "i", epsilon=1e-5),
        node("Shape", "x", "shape"),
        node("Reshape", "i shape", "j"),
        node("Mul", "j g", "k"),
        node("Add", "k b"),
    ]


@pytest.mark.parametrize("groups", [1, 4])
def test_group_norm_of_torch(groups: int) -> None:
    weights = {"rows": np.array([0, groups, -1]), "ones": np.ones(groups), "zeros": np.zeros(groups)}
    weights |= {"g": normal(1, 8, 1, 1), "b": normal(2, 8, 1, 1)}
    check_float(model_of(group_norm(groups), {"x": (1, 8, 4, 5)}, weights), tolerance=1e-5)
    nodes = [node("Conv", "z w", "x"), *group_norm(groups)]
    nodes[-1].output[0] = "n"
    weights |= {"w": normal(3, 8, 3, 3, 3) / 4, "v": normal(4, 4, 8, 1, 1)}
    check_int8(model_of([*nodes, node("Conv", "n v")], {"z": (1, 3, 8, 9)}, weights), 28)


@pytest.mark.parametrize("kind", ["LayerNormalization", "RMSNormalization"])
def test_several_axes_as_one(kind: str) -> None:
    weights = {"s": normal(1, 6, 8), "b": normal(2, 6, 8)}
    names = "x s b" if kind == "LayerNormalization" else "x s"
    model = model_of([node(kind, names, axis=1, epsilon=1e-3)], {"x": (1, 6, 8)}, weights, 23 if kind[0] == "R" else 17)
    check_float(model, tolerance=1e-5)
