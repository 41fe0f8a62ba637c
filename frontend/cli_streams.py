"""What the operating system hands a command: its streams, its signals, and paths that may be empty."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from types import FrameType

import typer

_received: list[int] = []


class Interrupted(KeyboardInterrupt):
    """Python ends itself by SIGINT after a plain KeyboardInterrupt in code that it made from text, caught or not."""


def given_path(text: str) -> Path:
    """A path option's value; an empty one is a usage error, for it comes from a variable that is not set."""
    if isinstance(text, str) and not text:
        raise typer.BadParameter("it is empty: was a variable not set?")
    return Path(text)


def handle_signals() -> None:
    """SIGTERM and SIGHUP leave like exceptions, so that half-written folders are cleaned up; `nohup` keeps its meaning."""
    signal.signal(signal.SIGINT, _leave)
    signal.signal(signal.SIGTERM, _leave)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        signal.signal(signal.SIGHUP, _leave)


def ignore_interrupts() -> None:
    """Everything is done but Python's own end, which has nothing to say about a signal."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def signalled() -> int | None:
    """The first signal that was received, if any was."""
    return _received[0] if _received else None


def open_closed() -> None:
    """Gives closed standard streams a place, so that no file that is opened later gets their numbers."""
    while (handle := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(handle, True)
    os.close(handle)
    if sys.stdout is None:
        sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
    if sys.stderr is None:
        sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115


def abandon_stdout() -> None:
    """What could not be written is dropped, or Python complains once more at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _leave(number: int, frame: FrameType | None) -> None:
    _received.append(number)
    if number == signal.SIGINT:
        raise Interrupted
    raise SystemExit(128 + number)
