"""Graph -> the files of an artifact."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from edgewright.passes.documents import to_json
from edgewright.passes.input_ranges import input_ranges
from edgewright.passes.ir import Graph, Node
from edgewright.passes.manifest import seal
from edgewright.passes.ops import Input
from edgewright.passes.ops.groups import WEIGHTED
from edgewright.targets.cpu.artifact import (
    ENTRY,
    FORMAT,
    LIBRARY,
    PLAIN,
    WEIGHTS,
    WORKS,
    CpuManifest,
    Identity,
    StepInfo,
    TensorInfo,
    plain_text,
)
from edgewright.targets.cpu.build import Built, build
from edgewright.targets.cpu.lower import CpuProgram, lower
from edgewright.targets.cpu.runner_files import runner_files
from edgewright.targets.cpu.variants import Variant
from edgewright.targets.cpu.work import works_of
from edgewright.targets.estimate import StepWork
from edgewright.targets.lowering.step import ProgramStep
from edgewright.targets.lowering.view import ITEM_BYTES, StridedView


def package(
    graph: Graph,
    variant: Variant,
    *,
    model: str,
    target: str,
    version: str,
    options: Mapping[str, Any] | None = None,
    files: Mapping[str, bytes] | None = None,
) -> tuple[dict[str, bytes], CpuManifest, list[StepWork]]:
    """Lower, build and seal a graph: return (files, manifest, the work of each step). `files` are added to the artifact."""
    program = lower(graph, variant)
    built = build(program)
    manifest = manifest_of(program, built, model, target, version, dict(options or {}))
    works = works_of(program)
    content = {
        **(files or {}),
        **runner_files(variant.arch),
        WORKS: to_json([dataclasses.asdict(work) for work in works]),
        LIBRARY: built.library,
        WEIGHTS: built.weights,
        PLAIN: plain_text(manifest, Identity.of(built.library), Identity.of(built.weights)),
    }
    manifest, content = seal(manifest, content)
    return content, manifest, works


def manifest_of(
    program: CpuProgram, built: Built, model: str, target: str, version: str, options: dict[str, Any]
) -> CpuManifest:
    """Return the manifest without its hashes."""
    graph, variant = program.graph, program.variant
    ranges = input_ranges(graph)
    names = [node.op.name for node in graph.inputs if isinstance(node.op, Input)]
    integer = any(not node.type.is_float for node in graph.nodes() if isinstance(node.op, WEIGHTED))
    return CpuManifest(
        format=FORMAT,
        edgewright=version,
        model=model,
        target=target,
        precision="int8" if integer else "fp32",
        arch=variant.arch,
        variant=variant.name,
        features=variant.features,
        entry=ENTRY,
        workspace_bytes=built.workspace_bytes,
        weights_bytes=len(built.weights),
        inputs=tuple(
            TensorInfo(name, view.dtype, view.shape, range=ranges.get(name))
            for name, view in zip(names, program.inputs, strict=True)
        ),
        outputs=tuple(
            _tensor(name, node, view)
            for name, node, view in zip(graph.output_names, graph.outputs, program.outputs, strict=True)
        ),
        steps=tuple(StepInfo(step.name, step.kind, step.macs, touched_bytes(step)) for step in built.steps),
        options=options,
    )


def touched_bytes(step: ProgramStep) -> int:
    """Return the bytes of the views that a step reads and writes; what is broadcast counts once."""
    moved = ((view, [n for n, stride in zip(view.shape, view.strides, strict=True) if stride]) for view in step.views)
    return sum(ITEM_BYTES[view.dtype] * math.prod(sizes) for view, sizes in moved)


def _tensor(name: str, node: Node, view: StridedView) -> TensorInfo:
    quant = node.quant
    if node.type.is_float or quant is None or not isinstance(quant.scale, float):
        return TensorInfo(name, view.dtype, view.shape)
    return TensorInfo(name, view.dtype, view.shape, quant.scale, quant.zero_point)
