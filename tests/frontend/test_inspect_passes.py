"""What `inspect --passes` shows, and what checkpoints keep of it."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path

from edgewright.frontend.files.checkpoints import checkpoint_files
from edgewright.frontend.inspect_model import inspect
from edgewright.frontend.onnx_reading.reader import read_with_facts
from edgewright.frontend.report.render_passes import pass_table
from edgewright.passes.pipeline import FLOAT_PASSES
from rich.console import Console

MODEL = Path(__file__).parents[2] / "examples" / "models" / "vit_digits.dynamo18.onnx"


def test_every_group_is_counted_and_nodes_add_up() -> None:
    found = inspect(MODEL, passes=True)
    assert [done.name for done in found.passes[-len(FLOAT_PASSES) :]] == [step.name for step in FLOAT_PASSES]
    for before, after in zip(found.passes, found.passes[1:], strict=False):
        assert before.nodes_after == after.nodes_before
    for done in found.passes:
        if done.parts:
            assert sum(part.nodes_after - part.nodes_before for part in done.parts) == done.nodes_after - done.nodes_before
    counts = {part.name: dict(part.counts) for done in found.passes for part in done.parts if part.counts}
    assert counts["FuseAttention"] == {"attentions": 4} and counts["FusePatchEmbed"] == {"patch embeddings": 1}
    assert not inspect(MODEL).passes


def test_the_table_has_a_row_for_what_changed() -> None:
    console = Console(width=120, record=True, file=StringIO())
    pass_table(console, inspect(MODEL, passes=True).passes)
    text = console.export_text()
    assert "recognise attention" in text and "attentions 4" in text and "FuseHashCodes" not in text


def test_a_checkpoint_holds_the_statistics_without_times() -> None:
    graph, facts = read_with_facts(MODEL)
    files = [
        checkpoint_files("read", graph, passes)["checkpoints/read.json"]
        for passes in (facts.passes, read_with_facts(MODEL)[1].passes)
    ]
    told = json.loads(files[0])
    assert files[0] == files[1] and [group["name"] for group in told] == [done.name for done in facts.passes]
    assert told[0].keys() == {"name", "nodes_before", "nodes_after", "counts", "passes"}
    assert "checkpoints/read.json" not in checkpoint_files("read", graph)
