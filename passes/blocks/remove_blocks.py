from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from edgewright.passes.blocks.block_influence import (
    fastest_run,
    influence_rows,
    influences,
    least,
    mask_input,
    tell_influence,
    without_block,
)
from edgewright.passes.blocks.removable_blocks import check_removal, removable
from edgewright.passes.ir import Array, Graph
from edgewright.passes.structure.find_blocks import find_blocks
from edgewright.passes.transform import Note, Pass, Progress


@dataclass(frozen=True, slots=True)
class RemoveBlocks(Pass):
    """Removes whole blocks: the baseline of `FuseBlocks`.

    Before: block(block(block(x))). After: block(block(x)), the block of least Macro Influence gone, evaluated again after
    every removal. share of all blocks (rounded up), or count, or `blocks`: their indices in the given graph.
    samples by input name, the first `influence_samples` of them decide; by: "tokens" (all) or "first" (the class token).
    epochs: above 0, the rest then learns the outputs of the unmodified graph, for so many epochs of the samples;
    hidden: weight of the last hidden state beside them.
    Exact: no. Source: ShortGPT (arXiv 2403.03853); FuseGPT (arXiv 2411.14507), section 3.1, for the measure.
    """

    exact = False

    share: float | None = None
    count: int | None = None
    blocks: tuple[int, ...] | None = None
    samples: Mapping[str, Array] = field(default_factory=dict)
    by: str = "tokens"
    influence_samples: int = 256
    epochs: float = 0.0
    batch: int = 64
    rate: float = 1e-3
    hidden: float = 0.0
    seed: int = 0
    progress: Progress | None = None
    checkpoints: Path | None = None

    def run(self, graph: Graph, note: Note) -> Graph:
        count = len(self.blocks) if self.blocks is not None else self.count
        original, removals = check_removal(graph, None if count is not None else self.share, count, note)
        if note.refusals:
            return graph
        numbers = [block.index for block in original]
        few = {name: value[: self.influence_samples] for name, value in self.samples.items()}
        rows: list[tuple[object, ...]] = []
        result = graph
        for step in range(removals):
            blocks = find_blocks(result)
            if self.blocks is not None:
                chosen = blocks[numbers.index(self.blocks[step])]
            else:
                weighed = influences(result, removable(blocks), few, fastest_run())
                chosen = least(weighed, self.by)
                rows += influence_rows(step, weighed, chosen, numbers)
            result = without_block(result, chosen)
            del numbers[chosen.index]
        note.count("blocks removed", removals)
        tell_influence(note, rows)
        if self.epochs > 0:
            from edgewright.passes.learn.block_fusion import FusionSchedule, distil_whole

            result, curve = distil_whole(
                graph,
                result,
                self.samples,
                mask_input(graph, original),
                FusionSchedule(self.epochs, self.batch, self.rate, self.seed),
                stage="fine-tuning",
                hidden=self.hidden,
                checkpoint=None if self.checkpoints is None else self.checkpoints / "remove_blocks.pt",
                progress=self.progress,
            )
            note.table("loss", ("stage", "step", "loss"), curve, "mean loss over tenths of each stage")
        return result
