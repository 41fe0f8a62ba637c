"""The comparison with TVM's defaults: what counts as a result, and what it says when there is none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from edgewright.targets.cpu import qemu
from edgewright.targets.cpu.devices.qemu import ROOTS
from edgewright.targets.cpu.runner_files import DYNAMIC_LOADER

from benchmarks import tvm_default
from benchmarks.cpu_models import CannotMake
from benchmarks.tvm_default import CORES, MODEL, Line, Reference, count_ours, document, failing, main, table

EMULATED = not qemu.missing() and any((Path(root) / DYNAMIC_LOADER["aarch64"].lstrip("/")).exists() for root in ROOTS)
GOOD = Line("m.onnx", "i8mm", {"fp32": 10, "int8": 5, "tvm-default": 40, "tvm-fused": 30}, {})


def test_ratio_takes_the_better_of_tvms_pipelines() -> None:
    assert GOOD.ratio("fp32") == 3 and GOOD.ratio("int8") == 6
    assert Line("m", "c", {"fp32": 10, "tvm-default": 40}, {}).ratio("fp32") == 4
    assert Line("m", "c", {"fp32": 10}, {}).ratio("fp32") is None
    assert Line("m", "c", {"tvm-fused": 10}, {}).ratio("int8") is None


def test_less_than_twice_and_nothing_counted_both_fail() -> None:
    assert failing([GOOD]) == []
    poor = Line("m", "c", {"fp32": 16, "tvm-fused": 30}, {})
    assert failing([poor]) == ["m, c, fp32: 1.88", "m, c, int8: nothing counted"]


def test_table_and_document_say_the_same() -> None:
    line = Line("m.onnx", "i8mm", {"fp32": 10_000_000, "int8": 4_000_000, "tvm-default": 1_230_000_000}, {"fp32": 0.0})
    assert table([line]).splitlines()[-1] == "| m.onnx | i8mm | 10.0 M | 4.0 M | 1,230.0 M | - | 123.0 | 307.5 |"
    (found,) = json.loads(json.dumps(document([line], {"what": "why"})))["lines"]
    assert found["ratios"] == {"fp32": 123.0, "int8": 307.5} and found["instructions"] == line.instructions


def test_a_wrong_answer_is_no_result() -> None:
    reference = Reference(MODEL)
    assert reference.difference(reference.answer) == 0
    assert 0 < reference.difference(reference.answer + np.float32(5e-4)) < 1e-3
    with pytest.raises(CannotMake, match="differ"):
        reference.difference(reference.answer + 1)
    with pytest.raises(CannotMake, match="differ"):
        reference.difference(reference.answer * np.nan)


def test_what_cannot_be_counted_is_named_and_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def ours(reference: Reference, core: Any, precision: str, *rest: Any) -> tuple[int, float]:
        return 10, 0.0

    def theirs(*_: Any) -> tuple[int, float]:
        raise CannotMake("no runtime")

    monkeypatch.setattr(tvm_default, "count_ours", ours)
    monkeypatch.setattr(tvm_default, "count_tvm", theirs)
    assert main(["--cores", "i8mm", "--pipelines", "fused", "--json", str(tmp_path / "out.json")]) == 1
    data = json.loads((tmp_path / "out.json").read_text())
    assert data["failures"] == {f"{MODEL.name}, i8mm, tvm-fused": "no runtime"}
    assert data["lines"][0]["instructions"] == {"fp32": 10, "int8": 10}
    assert "no runtime" in capsys.readouterr().err


@pytest.mark.tvm
@pytest.mark.skipif(not EMULATED, reason="needs qemu-user and libc6-arm64-cross")
def test_int8_takes_fewer_instructions_where_there_are_dot_products(tmp_path: Path) -> None:
    reference = Reference(MODEL)
    counts = {
        name: count_ours(reference, CORES[name], "int8", "random", 120, tmp_path)[0] for name in ("cortex-a72", "cortex-a76")
    }
    assert 0 < counts["cortex-a76"] < counts["cortex-a72"]
