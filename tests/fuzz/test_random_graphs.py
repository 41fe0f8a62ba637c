"""A fixed slice of the random models; `python -m tests.fuzz.random_graphs` runs as many as time allows."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from tests.fuzz.checks import Findings, check_seed
from tests.fuzz.onnx_networks import finished

SLICES = 4
EACH = 15


@pytest.mark.parametrize("part", range(SLICES))
def test_random_models_agree_with_onnxruntime(part: int) -> None:
    findings = Findings()
    for seed in range(part * EACH, (part + 1) * EACH):
        check_seed(seed, findings, compiled=False)
    assert not findings.wrong, "\n".join(findings.wrong)
    assert findings.reached["read"] > 0.9 * EACH and findings.reached["integers"] >= 0.4 * EACH


@pytest.mark.tvm
@pytest.mark.parametrize("seed", [5012])
def test_random_models_compiled_for_this_cpu(seed: int) -> None:
    pytest.importorskip("tvm")
    findings = Findings()
    check_seed(seed, findings, compiled=True)
    assert not findings.wrong, "\n".join(findings.wrong)
    assert findings.reached["float on CPU"] == 1


def test_models_are_the_same_for_a_seed() -> None:
    (first, one), (second, other) = finished(7), finished(7)
    onnx.checker.check_model(one, full_check=True)
    assert one.SerializeToString() == other.SerializeToString()
    for a, b in zip(*(m.samples(2, np.random.default_rng(0)).values() for m in (first, second)), strict=True):
        assert np.array_equal(a, b)
