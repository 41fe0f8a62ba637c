"""The passes that make a transformer fit, run in their order, and what each of them cost.

options -> passes -> for each: the model before and after it, compared on samples that it did not learn from.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from edgewright.frontend.pricing import Pricing
from edgewright.frontend.reshaping.options import Reshaping
from edgewright.frontend.reshaping.resume import Run
from edgewright.frontend.samples import scores
from edgewright.frontend.samples.labelled import Labelled, Material
from edgewright.passes.diagnostics import CompileError, Diagnostic, Exit
from edgewright.passes.ir.graph import Graph
from edgewright.passes.ir.types import Array
from edgewright.passes.results import Change, Snapshot, Table
from edgewright.passes.transform import Pass, Progress

MEASURED_MACS = 2e11
"""Products spent on measuring a model: ten thousand images of a small transformer, some hundred of 224 x 224."""
USAGE_SAMPLES = 2048
"""Samples on which the use of experts is counted: a share of one in a thousand tokens shows on fewer."""
Make = Callable[[dict[str, Any]], Pass]


@dataclass(frozen=True, slots=True)
class Asked:
    """A pass that the options ask for. make: from what is offered to it; needs_data: cannot run without samples; option:
    what asked for it."""

    name: str
    option: str
    make: Make
    needs_data: bool


@dataclass(frozen=True, slots=True)
class Reshaped:
    """The model after all passes, and what each changed. notes: what the user has to know about the figures."""

    graph: Graph
    changes: tuple[Change, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Measurement:
    """What one model said on the samples to measure on."""

    graph: Graph
    outputs: dict[str, Array] = field(default_factory=dict)


def asked(options: Reshaping) -> tuple[Asked, ...]:
    """The passes in the order in which they run.

    Experts of other tasks go first, so that nothing is learned for them. Blocks are fused before any attention is hashed,
    for hash functions belong to the queries they were learned from. Exact passes and quantisation come later.
    """
    found: list[Asked] = []
    if options.task is not None or options.usage_threshold is not None:
        option = "--task" if options.task is not None else "--usage-threshold"
        found.append(Asked("SelectExperts", option, _experts(options), options.usage_threshold is not None))
    if options.fuse_blocks is not None:
        found.append(Asked("FuseBlocks", "--fuse-blocks", _fusion(options), True))
    if options.hash_attention is not None:
        found.append(Asked("HashAttentionLayers", "--hash-attention", _hashing(options), True))
    return tuple(found)


def _experts(options: Reshaping) -> Make:
    def make(offered: dict[str, Any]) -> Pass:
        from edgewright.passes.experts.select_experts import SelectExperts

        if "samples" in offered:
            few = {name: array[:USAGE_SAMPLES] for name, array in offered["samples"].items()}
            offered = offered | {"samples": few}
        return _filled(SelectExperts, offered, task=options.task, usage_threshold=options.usage_threshold)

    return make


def _fusion(options: Reshaping) -> Make:
    def make(offered: dict[str, Any]) -> Pass:
        from edgewright.passes.blocks.fuse_blocks import FuseBlocks

        share, count = options.share_or_count
        return _filled(FuseBlocks, offered, share=share, count=count, epochs=options.epochs)

    return make


def _hashing(options: Reshaping) -> Make:
    def make(offered: dict[str, Any]) -> Pass:
        from edgewright.passes.hashing.hash_attention import HashAttentionLayers

        return _filled(
            HashAttentionLayers,
            offered,
            layers=options.hash_attention,
            bits=options.hash_bits,
            supports=options.hash_supports,
            constant=options.hash_constant,
            epochs=options.epochs,
        )

    return make


def _filled(kind: type[Pass], offered: dict[str, Any], **wanted: Any) -> Pass:
    """The pass with what the user wants, and with what it takes of what is offered; `epochs` goes into its recipe; 0
    leaves it without one."""
    fields = {f.name: f for f in dataclasses.fields(kind)}  # type: ignore[arg-type]  # every pass is a dataclass
    epochs = None if "epochs" in fields else wanted.pop("epochs", None)
    given = {name: value for name, value in offered.items() if name in fields}
    given |= {name: value for name, value in wanted.items() if value is not None}
    made = kind(**given)
    if epochs is not None:
        recipe = replace(made.recipe, epochs=epochs) if epochs else None  # type: ignore[attr-defined]
        made = replace(made, recipe=recipe)  # type: ignore[type-var]
    return made


def check_data(options: Reshaping, has_data: bool) -> None:
    """CompileError U031 for passes that need samples where there are none."""
    if has_data:
        return
    lacking = [
        Diagnostic(
            "U031",
            f"{one.name} has nothing to learn from",
            one.option,
            "it decides on samples like those the model will see",
            "give --data train.npz, with arrays named after the inputs or `images`, and `labels` if there are any",
        )
        for one in asked(options)
        if one.needs_data
    ]
    if lacking:
        raise CompileError(lacking, Exit.USAGE)


def reshape(
    graph: Graph,
    options: Reshaping,
    material: Material | None,
    pricing: Pricing,
    progress: Progress | None = None,
    run: Run | None = None,
) -> Reshaped:
    """Runs the passes. `run`: where they keep what an interrupted run continues from.

    Raises CompileError with what a pass refuses; U031 where one needs data."""
    check_data(options, material is not None)
    tell: Progress = progress or (lambda stage, done, total: None)
    measure = None if material is None else _affordable(graph, material.measure, options.seed)
    changes: list[Change] = []
    before = _measured(graph, measure, "measure the model as it is", tell)
    priced = pricing.snapshot(graph)
    for number, one in enumerate(asked(options), 1):
        tell(one.name, 0, 0)
        started = time.perf_counter()
        offered = _offered(before.graph, options, material, tell) | ({} if run is None else run.offered(number, one.name))
        step = one.make(offered)
        after_graph, done = run.step(number, step, before.graph) if run is not None else step(before.graph)
        seconds = time.perf_counter() - started
        after = _measured(after_graph, measure, f"measure after {one.name}", tell)
        left, right = _scored(before, after, measure, priced, pricing.snapshot(after_graph))
        agreed = () if measure is None else scores.agreements(before.graph, after.graph, before.outputs, after.outputs, measure)
        changes.append(
            Change(
                one.name,
                step.exact,
                left,
                right,
                min((row.value for row in agreed), default=None),
                None if measure is None else measure.count,
                None if material is None or not _learns(step) else material.learn.count,
                round(max(seconds, done.seconds), 3),
                dict(done.counts),
                (*_agreement_table(agreed), *done.tables),
                "" if material is None else material.how,
            )
        )
        before, priced = after, right
    return Reshaped(before.graph, tuple(changes), tuple(pricing.reasons))


def _offered(graph: Graph, options: Reshaping, material: Material | None, tell: Progress) -> dict[str, Any]:
    """What passes may take by the names of their fields."""
    found: dict[str, Any] = {"progress": tell, "seed": options.seed}
    if material is None:
        return found
    targets = scores.targets_of(graph, material.learn)
    classes = (values for name, values in targets.items() if scores.is_class(scores.shape_of(graph, name), values))
    return found | {"samples": material.learn.inputs, "targets": targets, "labels": next(classes, None)}


def _learns(step: Pass) -> bool:
    return getattr(step, "samples", None) is not None and not step.exact


def _affordable(graph: Graph, data: Labelled, seed: int) -> Labelled:
    macs = max(1, sum(node.work.macs for node in graph.nodes()))
    return data.some(max(1, int(MEASURED_MACS / macs)), seed)


def _measured(graph: Graph, data: Labelled | None, stage: str, tell: Progress) -> Measurement:
    return Measurement(graph, {} if data is None else scores.outputs_of(graph, data.inputs, stage, tell))


def _scored(
    before: Measurement, after: Measurement, data: Labelled | None, left: Snapshot, right: Snapshot
) -> tuple[Snapshot, Snapshot]:
    """Both snapshots with their scores; `accuracy` is that of the first output that both models have."""
    if data is None:
        return left, right
    own, new = (scores.scores(one.graph, one.outputs, data) for one in (before, after))
    name = next((row.output for row in new if row.output in {old.output for old in own}), None)
    chosen = [next((row.value for row in rows if row.output == name), None) for rows in (own, new)]
    return replace(left, scores=own, accuracy=chosen[0]), replace(right, scores=new, accuracy=chosen[1])


def _agreement_table(rows: tuple[scores.Agreement, ...]) -> tuple[Table, ...]:
    if len(rows) < 2 and all(row.how == scores.SAME_CLASS for row in rows):
        return ()
    text = "How far the models before and after this pass say the same; the headline has the lowest."
    cells = tuple((row.output, row.value, row.how) for row in rows)
    return (Table("Agreement of each output", ("output", "share", "how"), cells, text),)
