"""Compilers and simulators end with the process that started them, and their exit codes arrive."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from edgewright.sim.children import run_child

PARENT = """
import sys
from edgewright.sim.children import run_child
run_child(["sh", "-c", f"sleep 300 & echo $$ $! > {sys.argv[1]}; wait"])
"""


def lives(pid: int) -> bool:
    """Whether a process is there and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_until(condition: object, seconds: float = 20) -> bool:
    end = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGHUP, signal.SIGTERM])
def test_what_was_started_dies_with_us(tmp_path: Path, number: signal.Signals) -> None:
    """A shell and what it has started itself, as make starts g++."""
    file = tmp_path / "pids"
    with subprocess.Popen([sys.executable, "-c", PARENT, str(file)]) as parent:
        try:
            assert wait_until(lambda: file.exists() and len(file.read_text().split()) == 2)
            pids = [int(pid) for pid in file.read_text().split()]
            assert all(map(lives, pids))
        finally:
            os.kill(parent.pid, number)
    assert wait_until(lambda: not any(map(lives, pids)))


def test_exit_codes_and_output_arrive() -> None:
    done = run_child(["sh", "-c", "echo out; echo err >&2; exit 3"], stderr=subprocess.PIPE)
    assert (done.returncode, done.stdout, done.stderr) == (3, "out\n", "err\n")
    assert run_child(["sh", "-c", "kill -SEGV $$"]).returncode == 128 + signal.SIGSEGV
    missing = run_child(["/nonexistent/tool"])
    assert missing.returncode and "/nonexistent/tool: No such file" in missing.stdout


def test_the_time_limit_ends_the_whole_group(tmp_path: Path) -> None:
    file = tmp_path / "pid"
    with pytest.raises(subprocess.TimeoutExpired):
        run_child(["sh", "-c", f"sleep 300 & echo $! > {file}; wait"], timeout_s=1)
    assert wait_until(lambda: not lives(int(file.read_text())))
