"""The graph that a stage of a compilation left in the output folder, for `--from`."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import NoReturn

from edgewright.passes.diagnostics import CompileError, Exit, fail
from edgewright.passes.documents import Unreadable, read_bytes, to_json
from edgewright.passes.ir import Graph, checkpoint
from edgewright.passes.ir.text import to_text
from edgewright.passes.manifest import damaged
from edgewright.passes.transform import Statistics


def checkpoint_files(stage: str, graph: Graph, statistics: Iterable[Statistics] = ()) -> dict[str, bytes]:
    """Return a graph as the files of a stage's checkpoint: exact, readable, and what each group and pass did to get there."""
    files = {f"checkpoints/{stage}.npz": graph_bytes(graph), f"checkpoints/{stage}.txt": _text(graph)}
    if told := [done.facts for done in statistics]:
        files[f"checkpoints/{stage}.json"] = to_json(told)
    return files


def graph_bytes(graph: Graph) -> bytes:
    """Return what a checkpoint stores of a graph."""
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "graph.npz"
        checkpoint.save(graph, path)
        return path.read_bytes()


def checkpoint_of(previous: Path | None, stage: str) -> Graph:
    """Return the graph that an earlier compilation left. CompileError: U021 (exit 2) when there is none, G090 when it is
    damaged, U023 when it is not the graph that its readable form shows."""
    path = None if previous is None else previous / "checkpoints" / f"{stage}.npz"
    if path is None or not path.is_file():
        nothing_to_start_from(f"the output folder has no {stage} checkpoint")
    graph = checkpoint.load(path)
    try:
        shown = read_bytes(path.with_suffix(".txt"))
    except Unreadable as error:
        raise CompileError([damaged(f"checkpoints/{stage}.txt", str(error))]) from error
    if shown != _text(graph):
        raise CompileError([damaged(f"checkpoints/{stage}.npz", f"it is not the graph of {stage}.txt")])
    return graph


def nothing_to_start_from(because: str, help_text: str = "compile the model once without --from into this folder") -> NoReturn:
    """Raise U021 (exit 2)."""
    fail("U021", "there is nothing to start from", "--from", because, help_text, Exit.USAGE)


def _text(graph: Graph) -> bytes:
    return (to_text(graph) + "\n").encode()
