"""The benchmark of architectures: its table, where its figures come from, and what it says of models that it cannot have."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from benchmarks import architecture_models, architectures, pages
from benchmarks.architecture_models import ARCHITECTURES, model_path
from benchmarks.architectures import Figures
from benchmarks.cpu_models import CannotMake, cache

FIGURES: Figures = {
    "of_somebody_else": {"cycles": 1_000, "predicted": 999, "exact": False, "input": "8 tokens"},
    "pvt_v2_b0": {"cycles": 300_000, "predicted": 303_000, "exact": True, "input": "224 x 224"},
    "ConvNeXt-Atto": {"refused": "Conv cannot run on the engine: it pads and dilates"},
}


@pytest.fixture(autouse=True)
def own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEWRIGHT_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("EDGEWRIGHT_BENCH_MODELS", raising=False)
    monkeypatch.setenv("EDGEWRIGHT_BENCH_PYTHON", sys.executable)


def test_the_table_has_the_models_in_order_then_others() -> None:
    head, _, *rows = architectures.table(FIGURES).splitlines()
    assert head.count("|") == 8 and all(row.count("|") == 8 for row in rows)
    assert [row.split("|")[1].strip() for row in rows] == ["PVTv2-B0", "ConvNeXt-Atto", "of_somebody_else"]
    assert "| 224 x 224 | 300,000 | 303,000 (+1.00 %) | yes | 1.000 ms |" in rows[0]
    assert "refused: Conv cannot run on the engine: it pads and dilates" in rows[1]
    assert "| 8 tokens | 1,000 | 999 (-0.10 %) | NO | 0.003 ms |" in rows[2]


def test_figures_of_a_file_renew_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- architectures -->\n<!-- /architectures -->\nafter\n", encoding="utf-8")
    monkeypatch.setitem(pages.PAGES, "architectures", page)
    (tmp_path / "figures.json").write_text(json.dumps(FIGURES), encoding="utf-8")
    assert architectures.main(["--docs", "--from", str(tmp_path / "figures.json")]) == 0
    assert pages.table("architectures") == architectures.table(FIGURES)


def test_figures_of_the_page_are_exact_and_close_to_the_prediction() -> None:
    _, _, *rows = pages.table("architectures").splitlines()
    for name, kind, _, cycles, predicted, exact, _ in ([cell.strip() for cell in row.strip("|").split("|")] for row in rows):
        assert architectures.known(name) is not None and kind and exact == "yes"
        simulated, expected = (int(text.split()[0].replace(",", "")) for text in (cycles, predicted))
        assert abs(expected / simulated - 1) < 0.02


def test_an_unknown_name_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    for main in (architectures.main, architecture_models.main):
        with pytest.raises(SystemExit) as exit_:
            main(["no_such_model"])
        assert exit_.value.code == 2 and "no_such_model" in capsys.readouterr().err


def test_a_python_that_does_not_run_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEWRIGHT_BENCH_PYTHON", "/nonexistent/python")
    with pytest.raises(CannotMake, match="/nonexistent/python"):
        model_path(ARCHITECTURES["pvt_v2_b0"])


@pytest.mark.train
@pytest.mark.long
@pytest.mark.parametrize("name", ["itransformer", "speech"])
def test_networks_of_our_own_are_made(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("torch", "onnx", "onnxscript"):
        pytest.importorskip(package)
    path = model_path(ARCHITECTURES[name])
    assert path.parent == cache() and path.stat().st_size > 0
