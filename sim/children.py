"""Run compilers and simulators that end, with everything they start, when this process ends, for any reason."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

LIFELINE = Path(__file__).with_name("lifeline.py")


def run_child(
    command: Sequence[str | Path],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdout: int | IO[str] = subprocess.PIPE,
    stderr: int | IO[str] = subprocess.STDOUT,
    timeout_s: float | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end; a return code above 128 is 128 plus a signal's number.

    The command has its own process group, which is killed at the time limit (`subprocess.TimeoutExpired`), when an exception
    such as KeyboardInterrupt is raised here, and when this process dies, even by SIGHUP or SIGKILL.
    """
    read_end, write_end = os.pipe()
    launcher = [sys.executable, "-I", "-S", str(LIFELINE), str(read_end)]
    try:
        process = subprocess.Popen(
            [*launcher, *map(str, command)],
            cwd=cwd,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            pass_fds=(read_end,),
            start_new_session=True,
            text=True,
            errors="replace",
        )
        try:
            output, errors = process.communicate(timeout=timeout_s)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    finally:
        os.close(read_end)
        os.close(write_end)
    return subprocess.CompletedProcess(list(command), process.returncode, output, errors)
