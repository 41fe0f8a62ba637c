"""The file an interrupted training run goes on from: written whole or not at all, and refused for another run."""

from __future__ import annotations

import os
import pickle
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgewright.passes.diagnostics import CompileError, Diagnostic
from edgewright.passes.learn.torch_import import torch

VERSION = 1


@dataclass
class RunState:
    """The progress of a run, besides the weights: steps, finished epochs, and the running loss."""

    step: int = 0
    loss_sum: float = 0.0
    loss_count: int = 0
    epochs: list[dict[str, Any]] = field(default_factory=list)
    finished: bool = False
    seconds: float = 0.0


def write_state(path: Path, content: dict[str, Any]) -> None:
    """Replace the file in one move, when all of it is on disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as file:
            torch.save({"version": VERSION, **content}, file)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def read_state(path: Path, identity: dict[str, Any]) -> dict[str, Any] | None:
    """Return what `write_state` wrote, None where there is no file. Raise CompileError L009: damaged, or of another run."""
    if not path.exists():
        return None
    try:
        content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        known = content["version"] == VERSION and content["identity"]
    except (OSError, EOFError, RuntimeError, ValueError, KeyError, TypeError, pickle.UnpicklingError) as error:
        raise _refused(path, "it cannot be read: it is damaged or not a checkpoint") from error
    if not known:
        raise _refused(path, "another version wrote it")
    differ = [name for name in identity if known.get(name) != identity[name]]
    if differ:
        raise _refused(path, f"it belongs to another run: {', '.join(differ)} differ")
    return content


def _refused(path: Path, because: str) -> CompileError:
    help = "delete it to start again, or name another folder with --checkpoints"
    return CompileError([Diagnostic("L009", "training cannot continue from this checkpoint", str(path), because, help)])
