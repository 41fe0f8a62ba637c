"""Random graphs and whole small networks through the CPU path, on every variant that this machine or QEMU runs."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from edgewright.passes.ir.graph import Graph
from edgewright.passes.ir.interp import interpret
from edgewright.passes.ir.types import Array
from edgewright.passes.pipeline import optimise, quantise

pytest.importorskip("tvm")

from edgewright.targets.cpu import attention, build, convolution, elementwise, experts, hashing, matmul, product, qemu, rows
from edgewright.targets.cpu.artifact import Artifact
from edgewright.targets.cpu.devices.measured import Settings
from edgewright.targets.cpu.devices.qemu import QemuDevice
from edgewright.targets.cpu.package import package
from edgewright.targets.cpu.variants import Variant, variant

from tests.form_models import linear_attention_network, normed_maps_network
from tests.hw.integer_models import random_vit
from tests.mixed_models import gated_network, plain_attention, samples, text_network, windows_network
from tests.models import tiny_vit
from tests.targets.cpu.lowered import HOST, HOST_VARIANTS, Compiled, same, values_for
from tests.targets.cpu.random_graphs import random_graph

pytestmark = pytest.mark.tvm

NETWORKS: dict[str, Callable[[], Graph]] = {
    "vit": lambda: tiny_vit(1, width=36, heads=3, blocks=2),
    "vit with the mean": lambda: tiny_vit(2, channels=3, width=30, heads=2, hidden=50, pooling="avg", merged_qkv=False),
    "gated": gated_network,
    "windows": windows_network,
    "linear attention": linear_attention_network,
    "normed maps": normed_maps_network,
    "text": text_network,
    "plain attention": plain_attention,
}
ARM = {
    "generic_aarch64": ("cortex-a72",),
    "neon": ("cortex-a72", "cortex-a76"),
    "dotprod": ("cortex-a76", "max"),
    "i8mm": ("max",),
}


@functools.cache
def network(name: str, whole: bool) -> Graph:
    """Optimised, and quantised if `whole`."""
    if name == "random integers":
        return random_vit(3, width=44, heads=2, channels=2)
    graph = optimise(NETWORKS[name]())[0]
    return quantise(graph, samples(graph, 4)).graph if whole else graph


def one_sample(graph: Graph, seed: int) -> dict[str, Array]:
    return samples(graph, 1, seed)


@pytest.fixture
def every_loop_in_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    modules: list[ModuleType] = [attention, convolution, elementwise, experts, hashing, matmul, product, rows]
    for module in modules:
        for limit in ("PARALLEL_MACS", "PARALLEL_ELEMENTS"):
            if hasattr(module, limit):
                monkeypatch.setattr(module, limit, 1)


@pytest.mark.parametrize("whole", [False, True], ids=["float", "integer"])
@pytest.mark.parametrize("seed", range(12))
def test_random_graphs(seed: int, whole: bool) -> None:
    graph = random_graph(seed, whole)
    compiled = Compiled(graph, HOST)
    compiled.check(values_for(graph, seed))


@pytest.mark.parametrize("whole", [False, True], ids=["float", "integer"])
@pytest.mark.parametrize("seed", range(3))
def test_programs_in_parts(seed: int, whole: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a program of more than FUNCTIONS_MAX functions is built: its steps, alone and in any range, give the same."""
    monkeypatch.setattr(build, "FUNCTIONS_MAX", 0)
    monkeypatch.setattr(build, "PART_STEPS", 2)
    graph = random_graph(seed, whole)
    values = values_for(graph, seed)
    compiled = Compiled(graph, HOST)
    assert len(compiled.program.steps) > 4
    compiled.check(values)
    results = compiled.run(values)
    compiled.set_inputs(values)
    for first, last in ((0, 1), (1, 4), (4, len(compiled.program.steps))):
        compiled.entry(first, last, *compiled.arguments)
    for name, view in zip(graph.output_names, compiled.program.outputs, strict=True):
        assert np.array_equal(compiled.read(view), results[name], equal_nan=True)


@pytest.mark.parametrize("name", NETWORKS)
def test_float_networks(name: str) -> None:
    graph = network(name, False)
    compiled = Compiled(graph, HOST)
    x = one_sample(graph, 5)
    compiled.check(x)
    wanted = interpret(graph, x)
    for output, found in compiled.run(x).items():  # from end to end some rounding accumulates
        assert np.abs(found - wanted[output]).max() < 3e-5 * np.abs(wanted[output]).max()


@pytest.mark.parametrize("name", [*NETWORKS, "random integers"])
@pytest.mark.usefixtures("every_loop_in_threads")
def test_integer_networks_have_the_same_bits_on_every_variant_and_thread_count(name: str) -> None:
    graph = network(name, True)
    x = one_sample(graph, 5)
    wanted = interpret(graph, x)
    for one in HOST_VARIANTS:
        compiled = Compiled(graph, one)
        for threads in (1, 2):
            Compiled.set_threads(threads)
            found = compiled.run(x)
            assert all(same(found[output], wanted[output]) for output in wanted), (one.name, threads)
        compiled.check(x)


def emulated(graph: Graph, one: Variant, folder: Path, x: dict[str, Array], cpus: tuple[str, ...]) -> None:
    files, *_ = package(graph, one, model="test", target=one.name, version="0")
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    artifact = Artifact.open(folder)
    wanted = interpret(graph, x)
    for cpu in cpus:
        found = QemuDevice(cpu, count=False).run(artifact, x, Settings(timeout_s=100)).outputs
        for output in wanted:
            assert same(found[output], wanted[output]), (one.name, cpu, output)


@pytest.mark.skipif(bool(qemu.missing()), reason="QEMU is missing")
@pytest.mark.parametrize("name", ["vit", "gated", "windows", "text", "linear attention", "normed maps", "random integers"])
@pytest.mark.parametrize("which", ARM)
def test_integer_networks_have_the_same_bits_on_arm(which: str, name: str, tmp_path: Path) -> None:
    graph = network(name, True)
    emulated(graph, variant(which), tmp_path, one_sample(graph, 5), ARM[which])


@pytest.mark.skipif(bool(qemu.missing()), reason="QEMU is missing")
@pytest.mark.parametrize(("seed", "whole"), [(0, True), (3, True), (4, False)])
@pytest.mark.parametrize("which", ARM)
def test_random_graphs_on_arm(which: str, seed: int, whole: bool, tmp_path: Path) -> None:
    graph = random_graph(seed, whole)
    emulated(graph, variant(which), tmp_path, values_for(graph, seed), ARM[which][:1])
