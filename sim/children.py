"""Runs compilers and simulators: they and everything they start end with us, however we end."""

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
    """The ended command; a code above 128 is 128 and a signal's number.

    It has a process group of its own, which is killed when the time is over (`subprocess.TimeoutExpired`), when an
    exception such as KeyboardInterrupt passes through here, and when this process dies, be it by SIGHUP or SIGKILL.
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
