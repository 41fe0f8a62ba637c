"""A torch module is compiled as it is, with shapes that are given or follow from arrays."""

from __future__ import annotations

from pathlib import Path

import edgewright
import numpy as np
import pytest
import torch
from edgewright.frontend.onnx_reading.modules import as_source
from torch import Tensor, nn

from tests.frontend.sample_files import only

pytestmark = pytest.mark.train


class Small(nn.Module):  # type: ignore[misc,unused-ignore]  # torch is untyped for mypy here
    """A classifier of four classes, with dropout, so that the mode matters."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.GELU(), nn.Dropout(0.5), nn.Linear(32, 4))

    def forward(self, picture: Tensor) -> Tensor:
        out: Tensor = self.layers(picture)
        return out


class Grows(nn.Module):  # type: ignore[misc,unused-ignore]
    """What torch cannot export: its answer depends on values."""

    def forward(self, x: Tensor) -> Tensor:
        return x if x.sum().item() > 0 else torch.cat([x, x])


def test_a_module_gives_what_it_computes(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    module = Small().train()
    data = np.random.default_rng(0).standard_normal((8, 1, 8, 8)).astype(np.float32)
    with torch.no_grad():
        expected = module.eval()(torch.from_numpy(data)).numpy()
    module.train()
    found = edgewright.inspect(module, shapes={"picture": (1, 1, 8, 8)}, target="rpi5", precision="fp32")
    assert found.inputs[0].name == "picture" and found.name == "Small"
    assert module.training and module.layers.training, "the module is left as it was"
    assert capfd.readouterr().out == ""
    by_arrays, by_shapes = as_source(module, None, data), as_source(module, {"picture": (1, 1, 8, 8)})
    assert by_arrays.SerializeToString() == by_shapes.SerializeToString()  # type: ignore[union-attr]
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(by_shapes.SerializeToString(), providers=["CPUExecutionProvider"])  # type: ignore[union-attr]
    outputs = np.concatenate([session.run(None, {"picture": data[i : i + 1]})[0] for i in range(8)])
    assert np.allclose(outputs, expected, atol=1e-5)


@pytest.mark.tvm
def test_a_module_is_compiled_and_run(tmp_path: Path) -> None:
    module = Small()
    data = np.random.default_rng(0).standard_normal((8, 1, 8, 8)).astype(np.float32)
    bundle = edgewright.compile(module, target="host", precision="fp32", calibration=data, output=tmp_path / "out")
    with torch.no_grad():
        expected = module.eval()(torch.from_numpy(data)).numpy()
    ran = bundle.run(data)
    assert np.allclose(ran[next(iter(ran))], expected, atol=1e-4) and bundle.report.model == "Small"


def test_what_is_missing_or_cannot_be_exported() -> None:
    with pytest.raises(edgewright.CompileError) as caught:
        edgewright.inspect(Small())
    assert only(caught.value).code == "N028" and "picture" in only(caught.value).because
    with pytest.raises(edgewright.CompileError) as caught:
        edgewright.inspect(Grows(), shapes={"x": (1, 4)})
    assert only(caught.value).code == "N027"
