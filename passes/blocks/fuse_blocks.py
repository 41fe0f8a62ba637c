from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from edgewright.passes.blocks.block_influence import (
    fastest_run,
    influence_rows,
    influences,
    least,
    mask_input,
    tell_influence,
    without_block,
)
from edgewright.passes.blocks.fit_update import fit_update
from edgewright.passes.blocks.removable_blocks import check_removal, removable
from edgewright.passes.ir import Array, Graph
from edgewright.passes.structure.find_blocks import TransformerBlock, find_blocks, runs_of_equal_blocks
from edgewright.passes.transform import Note, Pass, Progress

if TYPE_CHECKING:
    from edgewright.passes.learn.block_fusion import FusedBlock, FusionSchedule


@dataclass(frozen=True, slots=True)
class FuseBlocks(Pass):
    """Removes blocks and trains their neighbours to compensate, with the help of the removed weights.

    Before: block(block(block(x))). After: block'(block'(x)) with as many operators a block as before: W' = W0 + B A +
    sum_k (L_k R_k) * P_k over the removed blocks k, folded into one matrix.
    One after another: the block of least Macro Influence goes; the preceding block predicts by least squares what it added;
    the blocks of its group absorb its weights and learn, together and on the group's inputs, to give what the group gave with
    it; then all is evaluated again. Finally the whole learns the outputs of the unmodified graph.
    share of all blocks (rounded up), or count. group: blocks in a group, the removed one included. rank: of L_k R_k and B A
    (None: a third of the width). samples by input name, unlabelled, the first `influence_samples` of them choose blocks,
    by "tokens" (all) or "first" (the class token); least squares see the first `fit_samples` (0: without). epochs over the
    samples in all: `group_share` of them for the groups, the rest for the whole, where the last hidden state counts `hidden`
    times beside the outputs. loss: "mse" or "kl" of the group's output. coefficients: False leaves P out, to compare with.
    Exact: no. Source: FuseGPT (arXiv 2411.14507), sections 3.1 to 3.3, for groups and coefficients; `fit_update` says where
    least squares come from; the distillation of the whole is ours.
    """

    exact = False

    share: float | None = None
    count: int | None = None
    samples: Mapping[str, Array] = field(default_factory=dict)
    group: int = 6
    rank: int | None = None
    by: str = "tokens"
    influence_samples: int = 256
    fit_samples: int = 2048
    epochs: float = 2.0
    group_share: float = 0.15
    loss: str = "mse"
    coefficients: bool = True
    batch: int = 64
    rate: float = 1e-3
    coefficient_rate: float = 3e-3
    distil_rate: float = 1e-3
    hidden: float = 1.0
    seed: int = 0
    progress: Progress | None = None
    checkpoints: Path | None = None

    def run(self, graph: Graph, note: Note) -> Graph:
        blocks, removals = check_removal(graph, None if self.count is not None else self.share, self.count, note)
        if note.refusals:
            return graph
        from edgewright.passes.learn.block_fusion import FusedBlock, distil_whole, with_own_constants
        from edgewright.passes.learn.torch_import import torch

        result = with_own_constants(graph, blocks)
        mask = mask_input(graph, blocks)
        few = {name: value[: self.influence_samples] for name, value in self.samples.items()}
        generator = torch.Generator().manual_seed(self.seed)
        numbers = [block.index for block in blocks]
        live = [FusedBlock(b, self.rank or max(1, b.width // 3), generator) for b in find_blocks(result)]
        influence: list[tuple[object, ...]] = []
        curves: list[tuple[object, ...]] = []
        predicted: list[tuple[object, ...]] = []
        for step in range(removals):
            weighed = influences(result, removable(find_blocks(result)), few, fastest_run())
            chosen = least(weighed, self.by)
            influence += influence_rows(step, weighed, chosen, numbers)
            note.count("blocks fused into their neighbours")
            predicted += self._predict(result, chosen, live, mask, numbers)
            result, rows = self._fuse(step, removals, result, chosen, live, mask)
            curves += rows
            del numbers[chosen.index]
        tell_influence(note, influence)
        if predicted:
            text = "share of what a removed block adds to the stream that the preceding block predicts from its hidden units"
            note.table("Prediction by least squares", ("block", "by block", "explained"), predicted, text)
        if self.epochs * (1 - self.group_share) > 0:
            schedule = self._schedule(self.epochs * (1 - self.group_share), self.distil_rate)
            result, rows = distil_whole(
                graph,
                result,
                self.samples,
                mask,
                schedule,
                hidden=self.hidden,
                checkpoint=self._checkpoint("whole"),
                progress=self.progress,
            )
            curves += rows
        if curves:
            note.table("loss", ("stage", "step", "loss"), curves, "mean loss over tenths of each stage")
        return result

    def _fuse(
        self, step: int, steps: int, graph: Graph, chosen: TransformerBlock, live: list[FusedBlock], mask: str | None
    ) -> tuple[Graph, tuple[tuple[object, ...], ...]]:
        """Return the graph without the block, those of its group trained and folded; takes the block out of `live`."""
        from edgewright.passes.learn.block_fusion import fold, learn_group

        blocks = find_blocks(graph)
        group = group_of(blocks, chosen, self.group)
        removed = live.pop(chosen.index)
        shorter = without_block(graph, chosen)
        rest = find_blocks(shorter)
        start = group[0].index
        members = rest[start : start + len(group) - 1]
        fused = live[start : start + len(group) - 1]
        if self.coefficients:
            for neighbour in fused:
                neighbour.absorb(removed)
        rows: tuple[tuple[object, ...], ...] = ()
        if self.epochs * self.group_share > 0:
            rows = learn_group(
                (graph, group),
                (shorter, members),
                fused,
                self.samples,
                mask,
                self._schedule(self.epochs * self.group_share / steps, self.rate),
                self.coefficient_rate,
                self.loss,
                stage=f"group {step + 1} of {steps}",
                checkpoint=self._checkpoint(f"group{step + 1}"),
                progress=self.progress,
            )
        return fold(shorter, rest, live), rows

    def _predict(
        self, graph: Graph, chosen: TransformerBlock, live: list[FusedBlock], mask: str | None, numbers: list[int]
    ) -> list[tuple[object, ...]]:
        """Least squares into the block before the one that goes; a row about it."""
        if not (self.fit_samples and chosen.index):
            return []
        front = find_blocks(graph)[chosen.index - 1]
        some = {name: value[: self.fit_samples] for name, value in self.samples.items()}
        update = fit_update(graph, front, chosen, some, mask, fastest_run())
        if update is None:
            return []
        live[front.index].shift(front, {"ffn2.weight": update.weight, "ffn2.bias": update.bias})
        return [(numbers[chosen.index], numbers[front.index], update.explained)]

    def _schedule(self, epochs: float, rate: float) -> FusionSchedule:
        from edgewright.passes.learn.block_fusion import FusionSchedule

        return FusionSchedule(epochs, self.batch, rate, self.seed)

    def _checkpoint(self, stage: str) -> Path | None:
        return None if self.checkpoints is None else self.checkpoints / f"fuse_blocks.{stage}.pt"


def group_of(blocks: Sequence[TransformerBlock], removed: TransformerBlock, size: int) -> tuple[TransformerBlock, ...]:
    """Return the blocks that are fused together: a window of `size` of the run of equal blocks that `removed` lies in.

    The window is about the block before it, clamped to the run (FuseGPT's released code, with its G = size).
    """
    run = next(run for run in runs_of_equal_blocks(blocks) if removed in run)
    size = max(2, min(size, len(run)))
    place = run.index(removed)
    start = max(place - 1, 0) - (size // 2 - 1)
    start = min(max(start, 0), len(run) - size)
    if not start <= place < start + size:  # an odd size about the preceding block may leave the block itself out
        start = min(max(place - size + 1, 0), len(run) - size)
    return tuple(run[start : start + size])
