"""Damaged files under sanitizers; `python -m tests.fuzz.runner_mutations` runs thousands."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.fuzz import runner_mutations

pytestmark = pytest.mark.tvm


@pytest.fixture(autouse=True)
def needs_compilers() -> None:
    if missing := runner_mutations.missing():
        pytest.skip(f"needs {missing}")


def test_damaged_files_are_refused_in_one_line() -> None:
    assert runner_mutations.mutations(120) == []


def test_the_sanitizers_are_on(tmp_path: Path) -> None:
    """Else the test above shows little."""
    names = subprocess.run(["nm", "-D", runner_mutations.sanitised_runner()], capture_output=True, text=True).stdout
    assert "__asan_report_load8" in names and "__ubsan_handle_add_overflow" in names
