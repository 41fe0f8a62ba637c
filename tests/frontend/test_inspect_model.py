"""What `inspect` says of a model, and what callers' targets say of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from edgewright.frontend import support
from edgewright.frontend.build import build
from edgewright.frontend.cpu import target as cpu
from edgewright.frontend.inspect_model import inspect
from edgewright.frontend.onnx_reading.reader import read_model
from edgewright.frontend.onnx_writing.writer import write_float
from edgewright.frontend.options import Options
from edgewright.frontend.report.render import consoles, inspection
from edgewright.passes.diagnostics import CompileError, Diagnostic
from edgewright.passes.ir import Graph, Op, make
from edgewright.passes.ops import Exp, Gelu, LayerNormalization, Pow, Softmax, graph_input

from tests.frontend.bad_models import chain, product
from tests.frontend.onnx_vit import Sizes, Spelling, vit
from tests.mixed_models import Layers

MODELS = Path(__file__).parents[2] / "examples" / "models"


def test_a_vit() -> None:
    found = inspect(vit(Spelling(opset=18)))
    assert (found.opset, found.producer) == (18, "unknown")
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
    assert "pytorch" in found.producer
    assert (found.structure.blocks, found.structure.width, found.structure.patch) == (4, 64, 4)
    assert found.weight_bytes_float == 4 * found.parameters > found.weight_bytes_int8 > found.parameters
    assert found.activation_bytes_int8 >= 49 * 64


def test_targets_say_why_not() -> None:
    def refuses(graph: Graph) -> list[Diagnostic]:
        raise CompileError([Diagnostic("P001", f"no {graph.name}")])

    found = inspect(
        vit(Spelling()),
        supports={
            ("yes", "int8"): lambda graph: [],
            ("yes", "fp32"): lambda graph: [Diagnostic("P002", "x")],
            ("boom", "int8"): refuses,
        },
    )
    assert {name: [d.code for d in reasons] for name, reasons in found.targets.items()} == {
        ("yes", "int8"): [],
        ("yes", "fp32"): ["P002"],
        ("boom", "int8"): ["P001"],
    }


def test_what_is_no_vit() -> None:
    structure = inspect(chain(product())).structure
    assert not structure.is_vit and structure.blocks == 0 and structure.heads is None


def test_unreadable() -> None:
    with pytest.raises(CompileError):
        inspect(MODELS / "absent.onnx")


def test_tiny() -> None:
    assert inspect(vit(Spelling(), Sizes(width=2, heads=2, hidden=3))).structure.head_dim == 1


def test_verdicts_name_precisions_and_count_reasons(capsys: pytest.CaptureFixture[str]) -> None:
    one, two = Diagnostic("Q004", "too wide", "norm", "why", "how"), Diagnostic("P001", "no", "a", "b", "c")
    found = inspect(
        vit(Spelling()),
        supports={
            ("host", "int8"): lambda graph: [one],
            ("host", "fp32"): lambda graph: [],
            ("rpi4", "int8"): lambda graph: [one],
            ("rpi4", "fp32"): lambda graph: [],
            ("engine", "int8"): lambda graph: [one, two],
            ("all", "int8"): lambda graph: [],
        },
    )
    inspection(consoles()[0], "vit.onnx", found)
    words = " ".join(capsys.readouterr().out.split())
    for part in (
        "runs on host: fp32 only not on host in int8, for 1 reason: Q004 too wide at norm: why; how",
        "runs on rpi4: fp32 only not on rpi4 in int8, as host",
        "not on engine in int8, for 2 reasons:",
        "runs on all: int8",
    ):
        assert part in words, part


def mlp(activation: Op | None, width: int = 16) -> bytes:
    """Linear, something that not every target runs, Linear."""
    layers, x = Layers(0), graph_input("x", (1, 4, 16))
    y = layers.linear(x, width, "before")
    if isinstance(activation, Pow):
        y = make(activation, y, layers.linear(x, width, "exponent"), origin=("f",))
    elif isinstance(activation, LayerNormalization):
        y = layers.norm(y, "f")
    elif activation is not None:
        y = make(activation, y, origin=("f",))
    return bytes(write_float(Graph("mlp", (x,), (layers.linear(y, 16, "after"),), ("y",))).SerializeToString())


VERDICTS: dict[str, Callable[[], bytes]] = {
    "plain": lambda: mlp(None),
    "exp": lambda: mlp(Exp()),
    "gelu": lambda: mlp(Gelu("none")),
    "softmax": lambda: mlp(Softmax(-1)),
    "power of two values": lambda: mlp(Pow()),
    "wide norm": lambda: mlp(LayerNormalization(1e-5), 2064),
    "odd norm": lambda: mlp(LayerNormalization(1e-5), 20),
    "transformer": lambda: write_float(read_model(vit(Spelling(), Sizes(width=16, heads=1, hidden=16)))).SerializeToString(),
}


@pytest.mark.tvm
@pytest.mark.parametrize("name", VERDICTS)
def test_compile_does_what_inspect_says(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything that `compile` does runs but for the C compiler and the writing of RTL."""
    pytest.importorskip("tvm")
    from edgewright.targets.cpu.lower import lower

    path = tmp_path / "model.onnx"
    path.write_bytes(VERDICTS[name]())
    said = inspect(path, supports={**support.checks("host"), **support.checks("zcu104")}).targets
    assert set(said) == {("host", "int8"), ("host", "fp32"), ("zcu104", "int8")}
    monkeypatch.setattr(
        "edgewright.targets.cpu.package.package", lambda graph, variant, **_: ({"model.so": b""}, lower(graph, variant), [])
    )
    monkeypatch.setattr("edgewright.frontend.cpu.target.cpu_report", lambda *_: None)
    monkeypatch.setattr("edgewright.frontend.fpga.target.emit", lambda *_: {})
    for (target, precision), reasons in said.items():
        options = Options(target, calibration="random", precision=precision)
        found: tuple[str, ...] = ()
        try:
            build(path, options)
        except CompileError as error:
            found = tuple(one.code for one in error.diagnostics)
        assert found == tuple(one.code for one in reasons), (target, precision)


def test_without_tvm_no_cpu_runs_a_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu, "find_spec", lambda name: None)
    cpu._refused.cache_clear()
    said = inspect(vit(Spelling(opset=18)), supports=support.checks("host")).targets
    cpu._refused.cache_clear()
    assert {code for reasons in said.values() for code in (one.code for one in reasons)} == {"T022"}
