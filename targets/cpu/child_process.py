"""Runs a program as the leader of a process group of its own, none of which outlives the call."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finished:
    """How a program ended: its exit code, negative for a signal, and its output as text, stdout if it was kept."""

    code: int
    stdout: str
    stderr: str


def run_child(
    command: Sequence[str],
    timeout_s: float,
    *,
    stdin: bytes = b"",
    keep_stdout: bool = False,
    environment: Mapping[str, str] | None = None,
    started: Callable[[int], None] = lambda pid: None,
) -> Finished:
    """Run a program to its end; `started` gets its process id first. subprocess.TimeoutExpired when it takes longer."""
    pipe, out = subprocess.PIPE, subprocess.PIPE if keep_stdout else subprocess.DEVNULL
    process = subprocess.Popen(command, stdin=pipe, stdout=out, stderr=pipe, env=environment, start_new_session=True)
    try:
        started(process.pid)
        stdout, stderr = process.communicate(stdin, timeout=timeout_s)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
    return Finished(process.returncode, (stdout or b"").decode(errors="replace"), stderr.decode(errors="replace"))
