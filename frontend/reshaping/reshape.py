"""Run the passes that make a transformer smaller, in their order, and measure what each of them costs.

options -> passes -> for each: the model before and after it, compared on samples that it did not learn from.
"""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from edgewright.frontend.reshaping.options import Reshaping
from edgewright.frontend.reshaping.resume import ResumableRun
from edgewright.frontend.samples import scores
from edgewright.frontend.samples.labelled import Labelled, Material
from edgewright.passes.diagnostics import CompileError, Diagnostic, Exit
from edgewright.passes.ir import Array, Graph
from edgewright.passes.results import Change, Snapshot, Table
from edgewright.passes.transform import Pass, Progress

MEASURED_MACS = 2e11
"""Products spent on measuring one model: 10,000 images of a small transformer, some hundred of 224 x 224."""
USAGE_SAMPLES = 2048
"""Samples on which the use of experts is counted: a share of one in a thousand tokens shows on fewer."""


class Prices(Protocol):
    """What tells the cost of a graph on its target: `frontend.pricing.Pricing`."""

    reasons: dict[str, None]

    def snapshot(self, graph: Graph) -> Snapshot:
        """Return the cost of a float graph."""
        ...


@dataclass(frozen=True, slots=True)
class RequestedPass:
    """A pass that `option` requests, with the user's options for its fields (epochs: for its recipe; None: its own default).
    needs_data: cannot run without samples; most_samples: how many it looks at."""

    kind: type[Pass]
    option: str
    fields: dict[str, Any]
    needs_data: bool = True
    most_samples: int | None = None

    @property
    def name(self) -> str:
        return self.kind.__name__

    def made(self, offered: dict[str, Any]) -> Pass:
        """Return the pass with the user's options, and with those of the offered fields that it has; 0 epochs: no recipe."""
        names = {field.name for field in dataclasses.fields(self.kind)}  # type: ignore[arg-type]  # every pass is a dataclass
        samples = {name: array[: self.most_samples] for name, array in offered.get("samples", {}).items()}
        offered = {**offered, "samples": samples} if samples else offered
        values = {name: value for name, value in offered.items() if name in names}
        values |= {name: value for name, value in self.fields.items() if name in names and value is not None}
        made, epochs = self.kind(**values), self.fields.get("epochs")
        if epochs is not None and "epochs" not in names:
            recipe = replace(made.recipe, epochs=epochs) if epochs else None  # type: ignore[attr-defined]
            made = replace(made, recipe=recipe)  # type: ignore[type-var]
        return made


@dataclass(frozen=True, slots=True)
class Reshaped:
    """The model after all passes, and what each changed. notes: what the user must know about the figures."""

    graph: Graph
    changes: tuple[Change, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Measurement:
    """Outputs of one model on the samples to measure on."""

    graph: Graph
    outputs: dict[str, Array] = field(default_factory=dict)


def requested(options: Reshaping) -> tuple[RequestedPass, ...]:
    """Return the passes in the order in which they run.

    Experts of other tasks are dropped first, so that nothing is learned for them. Blocks are fused before any attention is
    hashed, because hash functions belong to the queries they were learned from. Exact passes and quantisation come later.
    """
    if not options.asks:
        return ()
    from edgewright.passes.blocks.fuse_blocks import FuseBlocks
    from edgewright.passes.experts.select_experts import SelectExperts
    from edgewright.passes.hashing.hash_attention import HashAttentionLayers

    share, count = options.share_or_count
    threshold, layers = options.usage_threshold, options.hash_attention
    experts = {"task": options.task, "usage_threshold": threshold}
    fusion = {"share": share, "count": count, "epochs": options.epochs}
    codes = {"bits": options.hash_bits, "supports": options.hash_supports, "constant": options.hash_constant}
    hashing = {"layers": layers, **codes, "epochs": options.epochs}
    option = "--usage-threshold" if options.task is None else "--task"
    passes = []
    if options.task is not None or threshold is not None:
        passes.append(RequestedPass(SelectExperts, option, experts, threshold is not None, USAGE_SAMPLES))
    if options.fuse_blocks is not None:
        passes.append(RequestedPass(FuseBlocks, "--fuse-blocks", fusion))
    if layers is not None:
        passes.append(RequestedPass(HashAttentionLayers, "--hash-attention", hashing))
    return tuple(passes)


def check_data(options: Reshaping, has_data: bool) -> None:
    """CompileError U031 for passes that need samples if there are none."""
    lacking = [
        Diagnostic(
            "U031",
            f"{step.name} has nothing to learn from",
            step.option,
            "it decides on samples like those the model will see",
            "give --data train.npz, with arrays named after the inputs or `images`, and `labels` if there are any",
        )
        for step in requested(options)
        if step.needs_data and not has_data
    ]
    if lacking:
        raise CompileError(lacking, Exit.USAGE)


def reshape(
    graph: Graph,
    options: Reshaping,
    material: Material | None,
    pricing: Prices,
    progress: Progress | None = None,
    run: ResumableRun | None = None,
) -> Reshaped:
    """Run the passes. `run`: where they save what an interrupted run continues from.

    CompileError with what a pass refuses; U031 for a pass that needs data."""
    check_data(options, material is not None)
    tell: Progress = progress or (lambda stage, done, total: None)
    macs = max(1, sum(node.work.macs for node in graph.nodes()))
    measure = None if material is None else material.measure.some(max(1, int(MEASURED_MACS / macs)), options.seed)
    changes: list[Change] = []
    before = _measured(graph, measure, "measure the model as it is", tell)
    priced = pricing.snapshot(graph)
    for number, request in enumerate(requested(options), 1):
        tell(request.name, 0, 0)
        started = time.perf_counter()
        offered = _offered(before.graph, options, material, tell) | ({} if run is None else run.offered(number, request.name))
        step = request.made(offered)
        after_graph, done = run.step(number, step, before.graph) if run is not None else step(before.graph)
        seconds = time.perf_counter() - started
        after = _measured(after_graph, measure, f"measure after {request.name}", tell)
        left, right = _scored(before, after, measure, priced, pricing.snapshot(after_graph))
        agreed = () if measure is None else scores.agreements(before.graph, after.graph, before.outputs, after.outputs, measure)
        learns = getattr(step, "samples", None) is not None and not step.exact
        change = Change(
            request.name,
            step.exact,
            left,
            right,
            agreement=min((row.value for row in agreed), default=None),
            images=None if measure is None else measure.count,
            learned=material.learn.count if material is not None and learns else None,
            seconds=round(max(seconds, done.seconds), 3),
            counts=dict(done.counts),
            tables=(*_agreement_table(agreed), *done.tables),
            how="" if material is None else material.how,
        )
        changes.append(change)
        before, priced = after, right
    return Reshaped(before.graph, tuple(changes), tuple(pricing.reasons))


def _offered(graph: Graph, options: Reshaping, material: Material | None, tell: Progress) -> dict[str, Any]:
    """Return what passes may take, by the names of their fields."""
    fields: dict[str, Any] = {"progress": tell, "seed": options.seed}
    if material is None:
        return fields
    targets = scores.targets_of(graph, material.learn)
    classes = (values for name, values in targets.items() if scores.is_class(scores.output_of(graph, name).shape, values))
    return fields | {"samples": material.learn.inputs, "targets": targets, "labels": next(classes, None)}


def _measured(graph: Graph, data: Labelled | None, stage: str, tell: Progress) -> Measurement:
    return Measurement(graph, {} if data is None else scores.outputs_of(graph, data.inputs, stage, tell))


def _scored(
    before: Measurement, after: Measurement, data: Labelled | None, left: Snapshot, right: Snapshot
) -> tuple[Snapshot, Snapshot]:
    """Return both snapshots with their scores; `accuracy` is that of the first output that both models have."""
    if data is None:
        return left, right
    old, new = (scores.scores(model.graph, model.outputs, data) for model in (before, after))
    name = next((row.output for row in new if row.output in {score.output for score in old}), None)
    chosen = [next((row.value for row in rows if row.output == name), None) for rows in (old, new)]
    return replace(left, scores=old, accuracy=chosen[0]), replace(right, scores=new, accuracy=chosen[1])


def _agreement_table(rows: tuple[scores.Agreement, ...]) -> tuple[Table, ...]:
    if len(rows) < 2 and all(row.how == scores.SAME_CLASS for row in rows):
        return ()
    text = "How far the models before and after this pass agree; the headline has the lowest."
    cells = tuple((row.output, row.value, row.how) for row in rows)
    return (Table("Agreement of each output", ("output", "share", "how"), cells, text),)
