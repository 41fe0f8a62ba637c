"""The notebooks of the documentation run from top to bottom, in an empty folder."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parents[1]
NOTEBOOKS = ROOT / "docs" / "notebooks"


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("compile_and_simulate", marks=pytest.mark.sim),
        pytest.param("make_smaller", marks=pytest.mark.train),
        pytest.param("deploy_to_a_cpu", marks=pytest.mark.tvm),
    ],
)
def test_a_notebook_runs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEWRIGHT_EXAMPLES", str(ROOT / "examples"))
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(ROOT / ".src"))
    monkeypatch.setenv("JUPYTER_PREFER_ENV_PATH", "1")
    notebook = nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)
    NotebookClient(notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": tmp_path}}).execute()


def test_every_notebook_is_tested_and_committed_without_outputs() -> None:
    found = {path.stem: nbformat.read(path, as_version=4) for path in NOTEBOOKS.glob("*.ipynb")}
    assert set(found) == {"compile_and_simulate", "make_smaller", "deploy_to_a_cpu"}
    assert not [name for name, book in found.items() for cell in book.cells if cell.get("outputs")]
