"""What a model is and costs, and what each target supports of it. Rendering is elsewhere."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from edgewright.frontend.onnx_reading.reader import ModelSource, read_with_facts
from edgewright.passes.diagnostics import CompileError, Diagnostic
from edgewright.passes.hashing.energy import HashingOutlook, hashing_outlook
from edgewright.passes.ir import Graph, Shape
from edgewright.passes.ir.budget import alive
from edgewright.passes.names import plain
from edgewright.passes.ops import Attention, Constant, Input, Linear, PatchEmbed
from edgewright.passes.ops.groups import NORMS
from edgewright.passes.pipeline import optimise
from edgewright.passes.results import html_of
from edgewright.passes.transform import Statistics

Supports = Callable[[Graph], list[Diagnostic]]


@dataclass(frozen=True, slots=True)
class Tensor:
    """A named input or output."""

    name: str
    shape: Shape


@dataclass(frozen=True, slots=True)
class Structure:
    """The vision transformer that was recognised; fields are None where blocks differ or nothing was found."""

    blocks: int
    heads: int | None
    width: int | None
    head_dim: int | None
    hidden: int | None
    tokens: int | None
    patch: int | None
    classes: int | None

    @property
    def is_vit(self) -> bool:
        """Patch embedding and at least one attention block."""
        return self.blocks > 0 and self.patch is not None


@dataclass(frozen=True, slots=True, repr=False)
class Inspection:
    """Facts of one model. targets: (target, precision) -> reasons why not; empty means that it runs there. passes: what each
    group did while the model was read and then optimised, where that was asked for."""

    name: str
    producer: str
    opset: int
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    parameters: int
    macs: int
    weight_bytes_float: int
    weight_bytes_int8: int
    activation_bytes_int8: int
    operators: dict[str, int]
    structure: Structure
    targets: dict[tuple[str, str], tuple[Diagnostic, ...]] = field(default_factory=dict)
    hashing: HashingOutlook | None = None
    passes: tuple[Statistics, ...] = ()

    def runs_on(self) -> tuple[str, ...]:
        """Return the targets, each with a precision, that were checked and run the model."""
        return tuple(f"{target} {precision}" for (target, precision), reasons in self.targets.items() if not reasons)

    def facts(self) -> tuple[tuple[str, str], ...]:
        """Return the headline as names and values."""
        tensors = (("inputs", self.inputs), ("outputs", self.outputs))
        shapes = [(name, ", ".join(f"{plain(t.name)} {'x'.join(map(str, t.shape))}" for t in group)) for name, group in tensors]
        sizes = (("parameters", f"{self.parameters:,}"), ("products (MACs)", f"{self.macs:,}"))
        return (*shapes, *sizes, ("runs on", ", ".join(self.runs_on()) or ("nothing" if self.targets else "not checked")))

    def __repr__(self) -> str:
        return f"<Inspection of {plain(self.name)}: {'; '.join(f'{a} {b}' for a, b in self.facts())}>"

    def _repr_html_(self) -> str:
        return html_of(plain(self.name), self.facts())


def inspect(
    source: ModelSource,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    supports: Mapping[tuple[str, str], Supports] | None = None,
    passes: bool = False,
) -> Inspection:
    """Read a model and describe it, with what the passes do to it if `passes`. CompileError when it cannot be read at all.

    `supports` gives for each target and precision what it says of the graph; a CompileError it raises counts as its reasons.
    """
    graph, facts = read_with_facts(source, shapes)
    nodes = graph.nodes()
    weights = [node for node in nodes if isinstance(node.op, Constant) and node.type.is_float]
    matrices = {node.inputs[1] for node in nodes if isinstance(node.op, Linear | PatchEmbed)}
    parameters = sum(node.type.size for node in weights)
    in_matrices = sum(node.type.size for node in weights if node in matrices)
    return Inspection(
        name=graph.name,
        producer=facts.producer,
        opset=facts.opset,
        inputs=tuple(Tensor(n.op.name, n.shape) for n in graph.inputs if isinstance(n.op, Input)),
        outputs=tuple(Tensor(name, n.shape) for name, n in zip(graph.output_names, graph.outputs, strict=True)),
        parameters=parameters,
        macs=sum(node.op.macs(*(operand.type for operand in node.inputs)) for node in nodes),
        weight_bytes_float=4 * parameters,
        weight_bytes_int8=in_matrices + 4 * (parameters - in_matrices),
        activation_bytes_int8=max((total for _, total in alive(graph, lambda node: node.type.size)), default=0),
        operators=dict(sorted(Counter(n.op.kind for n in nodes if not isinstance(n.op, Constant | Input)).items())),
        structure=structure(graph),
        targets={name: _reasons(graph, check) for name, check in (supports or {}).items()},
        hashing=hashing_outlook(graph),
        passes=(*facts.passes, *optimise(graph)[1]) if passes else (),
    )


def as_data(model: Inspection) -> dict[str, Any]:
    """Return an inspection as plain values: what runs it as a list, without the passes' graphs."""
    facts = {entry.name: getattr(model, entry.name) for entry in fields(model) if entry.name != "targets"}
    runs = [
        {"target": target, "precision": precision, "runs": not reasons, "reasons": reasons}
        for (target, precision), reasons in model.targets.items()
    ]
    return {**facts, "targets": runs}


def _reasons(graph: Graph, check: Supports) -> tuple[Diagnostic, ...]:
    try:
        return tuple(check(graph))
    except CompileError as error:
        return error.diagnostics


def _only(values: list[int]) -> int | None:
    return values[0] if values and len(set(values)) == 1 else None


def structure(graph: Graph) -> Structure:
    """Return blocks, heads and widths, as the canonical operators show them."""
    nodes = graph.nodes()
    attentions = [(node, node.op) for node in nodes if isinstance(node.op, Attention)]
    patches = [node.op.patch for node in nodes if isinstance(node.op, PatchEmbed)]
    widths = [n.inputs[0].shape[-1] for n in nodes if isinstance(n.op, NORMS)]
    width = _only(widths)
    linears = [node for node in nodes if isinstance(node.op, Linear)]
    hidden = [n.inputs[0].shape[-1] for n in linears if n.shape[-1] == width and n.inputs[0].shape[-1] != width]
    classes = [n.shape[-1] for n in graph.outputs if isinstance(n.op, Linear)]
    return Structure(
        blocks=len(attentions),
        heads=_only([op.heads for _, op in attentions]),
        width=width,
        head_dim=_only([node.shape[2] // op.heads for node, op in attentions]),
        hidden=_only(hidden),
        tokens=_only([node.shape[1] for node, _ in attentions]),
        patch=patches[0] if len(patches) == 1 else None,
        classes=_only(classes),
    )
