"""CUDA kernels without a GPU: the generated source runs on this CPU, every operator in every form, beside the interpreter."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest
from edgewright.passes.diagnostics import CompileError
from edgewright.passes.ir.graph import Graph, Node, make
from edgewright.passes.ir.interp import interpret
from edgewright.passes.ir.types import F32, INT8, Array, Elem
from edgewright.passes.ops import Attention, Conv, Linear, MatMul, Relu, constant, graph_input
from edgewright.passes.pipeline import optimise, quantise
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytest.importorskip("tvm")

from edgewright.targets.gpu.attention import TILES, attention_tile
from edgewright.targets.gpu.build import cuda_program
from edgewright.targets.gpu.source import HEXADECIMAL, _decimal
from edgewright.targets.gpu.tile import FLAT, LARGE, MEDIUM, tile_for

from tests.models import images, tiny_vit
from tests.targets.cpu.lowered import Draw, same, values_for
from tests.targets.cpu.lowered_cases import CASES
from tests.targets.gpu.cuda_emulated import Emulated, emulated

pytestmark = pytest.mark.tvm

PRODUCTS = ("linear", "conv", "matmul", "attention")  # what sm_53, which has no dp4a, computes in another way
REFUSED = ("experts", "hashing")
COMBINATIONS = [*((family, "sm_87") for family in CASES if family not in REFUSED), *((family, "sm_53") for family in PRODUCTS)]


def check(machine: Emulated, values: dict[str, Array]) -> None:
    """Integers equal, floats within the tolerance of `lowered.same`."""
    found, wanted = machine.run(values), interpret(machine.graph, values)
    wrong = [
        f"{name} ({node!r}): {np.argwhere(found[name] != wanted[name])[:3].tolist()}"
        for name, node in zip(machine.graph.output_names, machine.graph.outputs, strict=True)
        if not same(found[name], wanted[name])
    ]
    assert not wrong, "\n".join(wrong)


def graph_of(*outputs: Node, name: str = "cases") -> Graph:
    inputs = dict.fromkeys(n for output in outputs for n in _inputs(output))
    return Graph(name, tuple(inputs), outputs, tuple(f"y_{i}" for i in range(len(outputs))))


def _inputs(node: Node) -> list[Node]:
    return [node] if node.op.kind == "Input" else [found for operand in node.inputs for found in _inputs(operand)]


@pytest.mark.parametrize(("family", "arch"), COMBINATIONS)
def test_every_operator(family: str, arch: str, tmp_path: Path) -> None:
    draw = Draw(seed=len(family))
    for name, make_case in CASES[family].items():
        draw.add(name, make_case)
    graph = draw.graph()
    check(emulated(graph, arch, tmp_path), values_for(graph))


@pytest.mark.parametrize(("family", "kinds"), [("experts", {"MoE"}), ("hashing", {"HashCodes", "HashAttention"})])
def test_layers_for_cpus_only_are_refused_by_name(family: str, kinds: set[str]) -> None:
    draw = Draw()
    name = next(iter(CASES[family]))
    draw.add(name, CASES[family][name])
    with pytest.raises(CompileError) as caught:
        cuda_program(draw.graph(), "sm_87", compiled=False)
    assert {one.message for one in caught.value.diagnostics} == {f"{kind} cannot run on a GPU" for kind in kinds}
    assert all(one.code == "T032" and one.because and one.at == name for one in caught.value.diagnostics)


def quantised_vit(pooling: str = "avg") -> Graph:
    graph, _ = optimise(tiny_vit(pooling=pooling))
    return quantise(graph, {"image": images(graph, 16)}).graph


@pytest.mark.parametrize("arch", ["sm_53", "sm_87"])
def test_a_quantised_vision_transformer_has_the_interpreters_bits(arch: str, tmp_path: Path) -> None:
    graph = quantised_vit()
    machine = emulated(graph, arch, tmp_path)
    for seed in range(3):
        check(machine, {"image": images(graph, 1, seed=seed)})


def test_a_float_vision_transformer(tmp_path: Path) -> None:
    graph, _ = optimise(tiny_vit(blocks=2))
    check(emulated(graph, "sm_53", tmp_path), {"image": images(graph, 1, seed=3)})


def test_architectures_with_dp4a_share_their_source() -> None:
    graph = quantised_vit("cls")
    sources = {arch: cuda_program(graph, arch, compiled=False).sources["model.cu"] for arch in ("sm_53", "sm_72", "sm_87")}
    assert sources["sm_72"] == sources["sm_87"]
    assert "__dp4a(" in sources["sm_87"] and "__dp4a(" not in sources["sm_53"]


@pytest.mark.parametrize("arch", ["sm_53", "sm_87"])
def test_sums_at_their_bounds_in_large_tiles(arch: str, tmp_path: Path) -> None:
    """More than the 1024 products that float32 holds exactly, all of them as large as they can be."""
    k, n = 1100, 260
    x = graph_input("x", (257, k), INT8)
    w = np.full((n, k), -128, np.int8)
    w[1] = 127
    w[2, ::2] = 127
    extreme = make(Linear(), x, constant(w), constant(np.zeros(n, np.int32)))
    assert tile_for(257, n) is LARGE
    machine = emulated(graph_of(extreme), arch, tmp_path)
    rows = np.random.default_rng(0).integers(-128, 128, (257, k))
    rows[:3] = np.array([-128, 127, -127])[:, None]
    check(machine, {"x": rows})


def test_float_products_in_every_tile(tmp_path: Path) -> None:
    outputs = []
    rng = np.random.default_rng(1)
    for rows, columns, tile in ((260, 250, LARGE), (33, 66, MEDIUM), (8, 100, FLAT)):
        x = graph_input(f"x_{rows}", (rows, 36))
        w = constant(rng.standard_normal((columns, 36)).astype(np.float32))
        outputs.append(make(Relu(), make(Linear(), x, w, constant(rng.standard_normal(columns).astype(np.float32)))))
        assert tile_for(rows, columns) is tile
    graph = graph_of(*outputs)
    check(emulated(graph, "sm_87", tmp_path), values_for(graph))


@pytest.mark.parametrize("arch", ["sm_53", "sm_87"])
def test_attention_over_many_keys(arch: str, tmp_path: Path) -> None:
    outputs = []
    kind = "dp4a" if arch == "sm_87" else "exact"
    for keys, queries, elem in ((700, 5, INT8), (4000, 2, INT8), (700, 5, F32), (4000, 2, F32)):
        assert attention_tile("float" if elem is F32 else kind, keys) is TILES[1 if keys == 700 else 2]
        shapes = {"q": (1, queries, 16), "k": (1, keys, 16), "v": (1, keys, 16)}
        parts = [graph_input(f"{part}_{keys}_{elem}", shape, elem) for part, shape in shapes.items()]
        outputs.append(make(Attention(2, 0.3, 47000, 19), *parts))
    graph = graph_of(*outputs)
    check(emulated(graph, arch, tmp_path), values_for(graph))


@st.composite
def drawn_graphs(draw: st.DrawFn) -> Graph:
    """Products, convolutions and attentions of drawn shapes, float and int8; several, since each compilation takes long."""
    d = Draw(seed=draw(st.integers(0, 1000)))
    size = st.integers(1, 41)
    for _ in range(3):
        elem: Elem = INT8 if draw(st.booleans()) else F32
        a, b = (2, draw(size), k := draw(size)), (2, k, draw(size))
        d.outputs.append(make(MatMul(), d.input(*a, elem=elem), d.input(*b, elem=elem)))
        heads, dk, dv = draw(st.integers(1, 3)), draw(st.integers(1, 20)), draw(st.integers(1, 20))
        queries, keys = draw(size), draw(st.integers(1, 80))
        shapes = ((queries, dk), (keys, dk), (keys, dv))
        op = Attention(heads, 0.3, 47000, draw(st.integers(15, 20)))
        d.outputs.append(make(op, *(d.input(1, n, heads * width, elem=elem) for n, width in shapes)))
        kernel, stride, pad = draw(st.integers(1, 3)), draw(st.integers(1, 3)), draw(st.integers(0, 2))
        ins, outs = draw(st.integers(1, 9)), draw(st.integers(1, 9))
        conv = Conv((stride, stride), (pad, pad, 0, pad), pad_value=0 if elem is F32 else draw(st.integers(-127, 127)))
        weight = d.real(outs, ins, kernel, kernel) if elem is F32 else d.integers(outs, ins, kernel, kernel)
        image = d.input(1, ins, draw(st.integers(3, 9)), draw(st.integers(3, 9)), elem=elem)
        d.outputs.append(make(conv, image, weight))
    return d.graph()


@settings(max_examples=4, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(graph=drawn_graphs(), arch=st.sampled_from(["sm_53", "sm_72"]))
def test_drawn_shapes(graph: Graph, arch: str, tmp_path: Path) -> None:
    check(emulated(graph, arch, tmp_path), values_for(graph))


def test_the_emulation_notices_what_is_missing(tmp_path: Path) -> None:
    """Barriers too few: results depend on the order of threads or the run; a barrier that not all reach ends the program."""
    x = graph_input("x", (9, 40))
    graph = graph_of(make(Linear(), x, constant(np.ones((5, 40), np.float32)), constant(np.zeros(5, np.float32))))
    values = values_for(graph)
    check(emulated(graph, "sm_87", tmp_path / "whole"), values)
    without = emulated(graph, "sm_87", tmp_path / "without", change=lambda text: text.replace("__syncthreads();", ";"))
    with pytest.raises(AssertionError, match=r"order of threads|a second run gives another result"):
        without.run(values)
    divergent = "if (threadIdx.x) __syncthreads();"
    some = emulated(graph, "sm_87", tmp_path / "some", change=lambda text: text.replace("__syncthreads();", divergent, 1))
    with pytest.raises(AssertionError, match="never come to a barrier"):
        some.run(values)


def test_the_runner_refuses(tmp_path: Path) -> None:
    """Another GPU, another device, weights that are not the model's or not there, kernels that are not there."""
    machine = emulated(quantised_vit("cls"), "sm_72", tmp_path / "a", capability=(8, 7))
    assert machine.call().stderr == "this model is for sm_72, this GPU is sm_87\n"
    machine = emulated(quantised_vit("cls"), "sm_87", tmp_path / "b")
    assert machine.call(device=1).stderr == "finding the GPU: invalid device ordinal\n"
    weights = machine.folder / "weights.bin"
    content = weights.read_bytes()
    for wrong in (content[:-64], content[:-1] + bytes([content[-1] ^ 1]), b""):
        weights.write_bytes(wrong)
        assert machine.call().stderr == f"{weights} is not the one of this model\n"
    weights.unlink()
    assert machine.call().stderr == f"cannot open {weights}\n"
    (machine.folder / "model.cubin").unlink()
    missing = f"cannot open {machine.folder}/model.cubin; make it with: nvcc -cubin -arch=sm_87 -o model.cubin model.cu\n"
    assert machine.call().stderr == missing


def test_names_from_the_model_are_only_data(tmp_path: Path) -> None:
    name = '"; */ system("x"); //\\ ??/ \n é %s'
    x = graph_input(name, (1, 3))
    node = make(Relu(), x, origin=(name,))
    machine = emulated(Graph(name, (x,), (node,), (name,)), "sm_87", tmp_path)
    check(machine, {name: np.array([[-1.0, 2.0, 0.5]], np.float32)})


def test_the_header_is_plain_c(tmp_path: Path) -> None:
    built = cuda_program(graph_of(make(Relu(), graph_input("x", (1, 3)))), "sm_53", compiled=False)
    (tmp_path / "plain.c").write_text(built.sources["edgewright_cuda.h"])
    command = ["g++", "-x", "c", "-std=c99", "-Wall", "-Wextra", "-pedantic", "-Werror", "-fsyntax-only"]
    done = subprocess.run([*command, str(tmp_path / "plain.c")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_manifest_says_that_nothing_was_run() -> None:
    built = cuda_program(quantised_vit(), "sm_72", compiled=False)
    assert built.manifest["run_here"] is False and built.manifest["compiled_by"] is None
    assert str(built.manifest["remark"]).startswith("never run here")
    assert all(step["milliseconds"] is None for step in built.manifest["steps"])
    assert set(built.files()) == {*built.sources, "weights.bin"}


def test_what_has_no_kernel_is_refused_by_name() -> None:
    d = Draw()
    d.case = "first"
    wrong = d(Linear(), d.input(1, 3, 4), d.input(5, 4), d.real(5))
    d.case = "second"
    d.outputs = [wrong, d(Attention(1), d.input(1, 1, 4), d.input(1, 20000, 4), d.input(1, 20000, 4))]
    with pytest.raises(CompileError) as caught:
        cuda_program(d.graph(), "sm_87", compiled=False)
    found = [(one.code, one.at, one.because) for one in caught.value.diagnostics]
    assert found == [
        ("T032", "first", "its weights are computed while the model runs"),
        ("T032", "second", "the scores of 20000 keys do not fit the memory of a block"),
    ]
    with pytest.raises(CompileError) as caught:
        cuda_program(d.graph(), "sm_99")
    assert [one.code for one in caught.value.diagnostics] == ["T034"]


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_floats_keep_their_value_as_decimals(value: float) -> None:
    text = HEXADECIMAL.sub(_decimal, f"{value.hex()}f/*{value}*/")
    assert text.endswith("f") and np.float32(text[:-1]) == np.float32(value)
    assert float(HEXADECIMAL.sub(_decimal, value.hex())) == value
