"""Layers of experts, codes, attention by codes and RMS norms for every aarch64 variant, run under QEMU."""

from __future__ import annotations

from pathlib import Path

import pytest
from edgewright.passes.ir.interp import interpret

pytest.importorskip("tvm")

from edgewright.targets.cpu import qemu
from edgewright.targets.cpu.artifact import Artifact
from edgewright.targets.cpu.devices.measured import Settings
from edgewright.targets.cpu.devices.qemu import QemuDevice
from edgewright.targets.cpu.package import package
from edgewright.targets.cpu.variants import VARIANTS, variant

from tests.targets.cpu.lowered import Draw, same, values_for
from tests.targets.cpu.lowered_cases import CASES

pytestmark = [pytest.mark.tvm, pytest.mark.skipif(bool(qemu.missing()), reason="QEMU is missing")]

TOGETHER = {  # case by case the compiler would take most of the time
    "experts": (
        "integers, batch, tokens, experts, K, d, h, o = (1, 9, 16, 4, 24, 12, 24)",
        "integers, batch, tokens, experts, K, d, h, o = (2, 13, 5, 1, 33, 35, 31)",
        "integers, batch, tokens, experts, K, d, h, o = (1, 60, 2, 2, 7, 40, 3)",
        "batch, tokens, experts, K, d, h, o = (2, 13, 5, 1, 33, 35, 31)",
    ),
    "hashing": (
        "integers, windows, tokens, heads, bits, d, dv, supports = (1, 49, 2, 16, 16, 16, 25)",
        "integers, windows, tokens, heads, bits, d, dv, supports = (2, 37, 3, 7, 5, 11, 9)",
        "integers, windows, tokens, heads, bits, d, dv, supports = (3, 33, 2, 12, 32, 64, 25)",
        "windows, tokens, heads, bits, d, dv, supports = (2, 37, 3, 7, 5, 11, 9)",
    ),
    "rows": ("RMS norm", "integer RMS norm"),
}


@pytest.mark.parametrize("family", TOGETHER)
@pytest.mark.parametrize("which", [one.name for one in VARIANTS if one.arch == "aarch64"])
def test_layers_on_arm(which: str, family: str, tmp_path: Path) -> None:
    draw = Draw()
    for name in TOGETHER[family]:
        draw.add(name, CASES[family][name])
    graph = draw.graph()
    files, *_ = package(graph, variant(which), model="test", target=which, version="0")
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    x = values_for(graph, 3)
    wanted = interpret(graph, x)
    found = QemuDevice(qemu.CPUS[which], count=False).run(Artifact.open(tmp_path), x, Settings(timeout_s=100)).outputs
    for output in wanted:
        assert same(found[output], wanted[output]), output
