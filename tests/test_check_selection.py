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


def test_the_guard_refuses_tools_and_remembers_it() -> None:
    guard = Guard()
    for package in PACKAGES:
        with pytest.raises(AssertionError, match=f"imports {package}"):
            guard("import", (package, None, None, None, None))
    with pytest.raises(AssertionError, match=r"starts \['g\+\+', '-c'\]"):
        guard("subprocess.Popen", ("g++", ["g++", "-c"], None, None))
    guard("import", ("numpy", None, None, None, None))
    assert len(guard.taken()) == len(PACKAGES) + 1 and not guard.taken()


def test_the_whole_selection() -> None:
    """Collected under the guard; nothing in it has a marker of a tool."""
    done = pytest_check("--collect-only", "-m", " or ".join(MARKERS), "tests")
    assert done.returncode == pytest.ExitCode.NO_TESTS_COLLECTED, done.stdout[-2000:]
    deselected = re.search(r"\((\d+) deselected\)", done.stdout)
    assert deselected is not None and int(deselected[1]) > 2000


def test_a_test_that_starts_a_compiler_fails_whatever_it_catches(tmp_path: Path) -> None:
    file = tmp_path / "test_starting.py"
    file.write_text(
        "import os\ndef test_it():\n    try:\n        os.system('g++ --version')\n    except AssertionError:\n        pass\n"
    )
    done = pytest_check("-c", str(ROOT / "pyproject.toml"), "-p", "tests.conftest", str(file))
    assert done.returncode == pytest.ExitCode.TESTS_FAILED and "starts b'g++ --version'" in done.stdout, done.stdout


def pytest_check(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--check", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
