"""What a benchmark keeps of a split can be renewed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from edgewright.frontend.splitting.folder import SplitFolder

from benchmarks import passes_splitting


def test_a_kept_deployment_is_replaced_with_its_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = Path(shutil.copytree(passes_splitting.KEPT, tmp_path / "split"))
    monkeypatch.setattr(passes_splitting, "KEPT", kept)
    files = {path.name: path.read_bytes() for path in (kept / "devices2").iterdir()}
    for figures in (b'{"a": 1}', b'{"a": 2}'):
        passes_splitting.keep(1, files, figures, ["trained", "again"])
        assert len(SplitFolder.open(kept / "devices1").sub_models) == 2
        assert (kept / "logs" / "devices1.json").read_bytes() == figures
        assert (kept / "logs" / "devices1.txt").read_text() == "trained\nagain\n"


def test_every_kept_deployment_has_its_figures() -> None:
    for folder in passes_splitting.KEPT.glob("devices*"):
        data = json.loads((passes_splitting.KEPT / "logs" / f"{folder.name}.json").read_text(encoding="utf-8"))
        assert len(data["sub_models"]) == len(list(folder.glob("sub*.onnx"))), folder.name
