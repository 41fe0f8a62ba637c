"""What `make check` selects, and that nothing else can slip in."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.check_selection import MARKERS, PACKAGES, ROOT, Guard, obstacles


@pytest.mark.parametrize(
    ("file", "reason"),
    [
        ("tests/sim/test_networks.py", "edgewright.sim.build"),
        ("tests/targets/cpu/test_kernels.py", "edgewright.targets.cpu.compile_c"),
        ("tests/targets/cpu/test_lower.py", "tvm"),
        ("tests/passes/learn/test_torch_ops.py", "torch"),
        ("tests/hw/test_golden.py", "subprocess"),
        ("tests/passes/test_depth.py", "tvm"),
        ("tests/test_support_table.py", "tvm"),
    ],
)
def test_files_are_left_out_for_what_they_import(file: str, reason: str) -> None:
    """The last two reach TVM through helpers of theirs and through the package."""
    assert reason in obstacles(ROOT / file)


def test_files_without_tools_are_selected() -> None:
    for file in (
        "tests/test_layers.py",
        "tests/hw/test_plan.py",
        "tests/passes/test_quantise.py",
        "tests/frontend/test_reader.py",
    ):
        assert not obstacles(ROOT / file), file


def test_the_guard_refuses_programs_and_remembers_it() -> None:
    guard = Guard()
    with pytest.raises(AssertionError, match=r"starts g\+\+"):
        guard("subprocess.Popen", ("g++", ["g++", "-c"], None, None))
    guard("open", ("g++", "r", 0))
    assert guard.taken() == ["starts g++"] and not guard.taken()


def test_the_whole_selection() -> None:
    """Collected under the guard; nothing in it has a marker of a tool."""
    done = pytest_check("--collect-only", "-m", " or ".join(MARKERS), "tests")
    assert done.returncode == pytest.ExitCode.NO_TESTS_COLLECTED, done.stdout[-2000:]
    deselected = re.search(r"\((\d+) deselected\)", done.stdout)
    assert deselected is not None and int(deselected[1]) > 2000


def test_tools_are_hidden_and_a_test_that_starts_a_compiler_fails_whatever_it_catches(tmp_path: Path) -> None:
    (tmp_path / "test_tools.py").write_text(f"""
import importlib.util, os, pytest

def test_hidden():
    for package in {PACKAGES}:
        assert importlib.util.find_spec(package) is None
        with pytest.raises(ImportError):
            importlib.import_module(package)

def test_starting():
    try:
        os.system('g++ --version')
    except AssertionError:
        pass
""")
    done = pytest_check("-c", str(ROOT / "pyproject.toml"), "-p", "tests.conftest", str(tmp_path / "test_tools.py"))
    assert done.returncode == pytest.ExitCode.TESTS_FAILED, done.stdout
    assert "1 failed, 1 passed" in done.stdout and "starts b'g++ --version'" in done.stdout


def pytest_check(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--check", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
