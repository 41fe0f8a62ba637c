"""What `inspect` says of a model, and what callers' targets say of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from edgewright.frontend.inspect_model import inspect
from edgewright.passes.diagnostics import CompileError, Diagnostic
from edgewright.passes.ir import Graph

from tests.frontend.bad_models import chain, product
from tests.frontend.onnx_vit import Sizes, Spelling, vit

MODELS = Path(__file__).parents[2] / "examples" / "models"


def test_a_vit() -> None:
    found = inspect(vit(Spelling(opset=18)))
    assert (found.opset, found.producer, found.file_bytes) == (18, "unknown", None)
    assert [(t.name, t.shape) for t in found.inputs] == [("x", (1, 3, 8, 8))]
    assert [(t.name, t.shape) for t in found.outputs] == [("logits", (1, 7))]
    shape = found.structure
    assert shape.is_vit
    assert (shape.blocks, shape.heads, shape.width, shape.head_dim) == (1, 3, 24, 8)
    assert (shape.hidden, shape.tokens, shape.patch, shape.classes) == (40, 17, 2, 7)
    linear = [(24, 72), (24, 24), (24, 40), (40, 24)]
    weights = sum(i * o + o for i, o in linear) + 3 * 48 + 24 * 12 + 24 + 24 + 17 * 24 + 24 * 7 + 7
    assert found.parameters == weights
    products = 17 * sum(i * o for i, o in linear) + 16 * 24 * 12 + 2 * 17 * 17 * 24 + 24 * 7
    assert found.macs == products
    assert found.operators["Attention"] == 1 and "Constant" not in found.operators


def test_a_file() -> None:
    path = MODELS / "vit_fashion.dynamo23.onnx"
    found = inspect(path)
    assert found.file_bytes == path.stat().st_size and "pytorch" in found.producer
    assert (found.structure.blocks, found.structure.width, found.structure.patch) == (4, 64, 4)
    assert found.weight_bytes_float == 4 * found.parameters > found.weight_bytes_int8 > found.parameters
    assert found.activation_bytes_int8 >= 49 * 64


def test_targets_say_why_not() -> None:
    def refuses(graph: Graph) -> list[Diagnostic]:
        raise CompileError([Diagnostic("P001", f"no {graph.name}")])

    found = inspect(
        vit(Spelling()),
        supports={"yes": lambda graph: [], "no": lambda graph: [Diagnostic("P002", "x")], "boom": refuses},
    )
    assert {name: [d.code for d in reasons] for name, reasons in found.targets.items()} == {
        "yes": [],
        "no": ["P002"],
        "boom": ["P001"],
    }


def test_what_is_no_vit() -> None:
    structure = inspect(chain(product())).structure
    assert not structure.is_vit and structure.blocks == 0 and structure.heads is None


def test_unreadable() -> None:
    with pytest.raises(CompileError):
        inspect(MODELS / "absent.onnx")


def test_tiny() -> None:
    assert inspect(vit(Spelling(), Sizes(width=2, heads=2, hidden=3))).structure.head_dim == 1
