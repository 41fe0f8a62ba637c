"""What the operating system hands a command: its streams and its signals."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType

_received: list[int] = []


class Interrupted(KeyboardInterrupt):
    """After a plain KeyboardInterrupt in code that was made from text, caught or not, Python ends itself by SIGINT."""


def handle_signals() -> None:
    """Turn SIGINT, SIGTERM and SIGHUP into exceptions, so that folders are cleaned up; `nohup` keeps its meaning."""
    signal.signal(signal.SIGINT, _leave)
    signal.signal(signal.SIGTERM, _leave)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        signal.signal(signal.SIGHUP, _leave)


def ignore_interrupts() -> None:
    """Ignore SIGINT from here on: only Python's own exit is left, which must not print about a signal."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def signalled() -> int | None:
    """Return the first signal that was received, if any was."""
    return _received[0] if _received else None


def open_closed() -> None:
    """Open closed standard streams on the null device, so that no file that is opened later gets their numbers."""
    while (handle := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(handle, True)
    os.close(handle)
    if sys.stdout is None:
        sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
    if sys.stderr is None:
        sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115


def abandon_stdout() -> None:
    """Drop what could not be written, or Python complains once more at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _leave(number: int, frame: FrameType | None) -> None:
    _received.append(number)
    if number == signal.SIGINT:
        raise Interrupted
    raise SystemExit(128 + number)
