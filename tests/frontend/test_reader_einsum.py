"""Einsum is the products, transposes and sums that it means; attention written with it is attention."""

from __future__ import annotations

import numpy as np
import pytest
from edgewright.passes.ops import Attention, Linear
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.frontend.bad_models import codes, refusal
from tests.frontend.small_models import check_float, check_int8, model_of, node, normal
from tests.frontend.test_reader import kinds

SIZES = {"a": 2, "b": 3, "c": 4, "d": 1, "e": 5}


@st.composite
def equations(draw: st.DrawFn) -> tuple[str, list[tuple[int, ...]]]:
    terms = [draw(st.permutations("abcde"))[: draw(st.integers(1, 4))] for _ in range(draw(st.integers(1, 3)))]
    dots = draw(st.booleans())
    every = sorted({label for term in terms for label in term})
    result = draw(st.permutations(every))[: draw(st.integers(0, len(every)))]
    shapes = [tuple(SIZES[label] for label in term) for term in terms]
    texts = ["".join(term) for term in terms]
    if dots:
        rank = draw(st.integers(0, 2))
        lead = [tuple(draw(st.sampled_from([1, n])) for n in (3, 2)[rank:]) for _ in terms]
        texts = ["..." + text for text in texts]
        shapes = [(*front, *shape) for front, shape in zip(lead, shapes, strict=True)]
    arrow = draw(st.integers(0, 4)) > 0
    right = "->" + ("..." if dots else "") + "".join(result)
    return ",".join(texts) + (right if arrow else ""), shapes


@pytest.mark.long
@given(equations(), st.integers(0, 7))
@settings(max_examples=150, deadline=None)
def test_any_equation(drawn: tuple[str, list[tuple[int, ...]]], constants: int) -> None:
    equation, shapes = drawn
    names = [f"x{i}" for i in range(len(shapes))]
    fixed = {name for i, name in enumerate(names) if constants >> i & 1 and i}
    inputs = {name: shape for name, shape in zip(names, shapes, strict=True) if name not in fixed}
    weights = {name: normal(i, *shape) for i, (name, shape) in enumerate(zip(names, shapes, strict=True)) if name in fixed}
    check_float(model_of([node("Einsum", " ".join(names), equation=equation)], inputs, weights), tolerance=1e-5)


def test_a_diagonal_is_refused() -> None:
    assert codes(refusal(model_of([node("Einsum", "x", equation="ii->i")], {"x": (3, 3)}))) == ["N018"]


def test_a_product_with_weights_is_a_linear() -> None:
    for equation, shape in (("btk,ko->bto", (24, 8)), ("btk,ok->bto", (8, 24)), ("...k,ok->...o", (8, 24))):
        graph = check_float(model_of([node("Einsum", "x w", equation=equation)], {"x": (1, 5, 24)}, {"w": normal(0, *shape)}))
        assert [n.op for n in graph.nodes() if n.inputs] == [Linear()], equation


ATTENTIONS = {
    "heads first": ("bhid,bhjd->bhij", "bhij,bhjd->bhid", True),
    "tokens first": ("bihd,bjhd->bhij", "bhij,bjhd->bihd", False),
    "ellipsis": ("...id,...jd->...ij", "...ij,...jd->...id", True),
}


@pytest.mark.parametrize("name", ATTENTIONS)
def test_attention(name: str) -> None:
    scores, mix, heads_first = ATTENTIONS[name]
    nodes = []
    for part in "qkv":
        nodes += [node("MatMul", f"x w{part}", f"{part}0"), node("Reshape", f"{part}0 split", f"{part}1")]
        nodes.append(node("Transpose", f"{part}1", part, perm=[0, 2, 1, 3] if heads_first else [0, 1, 2, 3]))
    nodes += [node("Einsum", "q k", "s", equation=scores), node("Mul", "s scale", "t"), node("Softmax", "t", "p", axis=-1)]
    perm = [0, 2, 1, 3] if heads_first else [0, 1, 2, 3]
    nodes += [node("Einsum", "p v", "m", equation=mix), node("Transpose", "m", "n", perm=perm)]
    nodes += [node("Reshape", "n joined", "o"), node("MatMul", "o wo")]
    weights = {f"w{part}": normal(i, 24, 24) / 5 for i, part in enumerate("qkvo")}
    weights |= {"split": np.array([1, 7, 3, 8]), "joined": np.array([1, 7, 24]), "scale": np.array(8**-0.5)}
    model = model_of(nodes, {"x": (1, 7, 24)}, weights)
    graph = check_float(model)
    assert kinds(graph)["Attention"] == 1 and not kinds(graph)["Transpose"] and not kinds(graph)["Gather"]
    assert next(n.op for n in graph.nodes() if isinstance(n.op, Attention)).heads == 3
    check_int8(model, 25)


def test_an_outer_product_too_large_is_refused() -> None:
    model = model_of([node("Einsum", "x x", equation="ij,kl->ijkl")], {"x": (300, 300)})
    assert codes(refusal(model)) == ["N018"]
