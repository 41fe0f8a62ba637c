"""The graph that a stage of a compilation left in the output folder, for `--from`."""

from __future__ import annotations

import tempfile
from pathlib import Path

from edgewright.passes.diagnostics import CompileError, Diagnostic, Exit
from edgewright.passes.ir import checkpoint
from edgewright.passes.ir.graph import Graph
from edgewright.passes.ir.text import to_text


def checkpoint_files(stage: str, graph: Graph) -> dict[str, bytes]:
    """A graph as the files of a stage's checkpoint: exact, and readable."""
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "graph.npz"
        checkpoint.save(graph, path)
        content = path.read_bytes()
    return {f"checkpoints/{stage}.npz": content, f"checkpoints/{stage}.txt": (to_text(graph) + "\n").encode()}


def checkpoint_of(previous: Path | None, stage: str) -> Graph:
    """The graph that an earlier compilation left; a usage error when there is none."""
    path = None if previous is None else previous / "checkpoints" / f"{stage}.npz"
    if path is None or not path.is_file():
        raise CompileError(
            [
                Diagnostic(
                    "U021", "there is nothing to start from", "--from", f"the output folder has no {stage} checkpoint",
                    "compile the model once without --from into this folder",
                )
            ],
            Exit.USAGE,
        )  # fmt: skip
    return checkpoint.load(path)
