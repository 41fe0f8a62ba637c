"""How small a sub-model is: width of the residual stream, heads, hidden units; and what each shape costs.

Source: ED-ViT (arXiv 2410.11650) scales width, heads and hidden units by one factor, the share of heads that are left.
Here hidden units set the factor, which has finer steps; width and heads follow it, rounded to what machines like.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from edgewright.passes import ops
from edgewright.passes.diagnostics import CompileError, Diagnostic, fail
from edgewright.passes.ir import Graph
from edgewright.passes.ir.budget import alive
from edgewright.passes.structure.classifier import FEATURES
from edgewright.passes.structure.find_blocks import find_blocks
from edgewright.passes.structure.prune_structure import CHANNEL, HEAD, HIDDEN, Structure, prune, structure_of

FPGA_GRAIN = 16
CPU_GRAIN = 4
"""Widths are multiples of it: a row of the FPGA's array, a vector of float32 on a CPU."""


@dataclass(frozen=True, slots=True, order=True)
class SubShape:
    """width: residual channels; heads: of each attention; hidden: units of each feed-forward layer."""

    width: int
    heads: int
    hidden: int

    def left(self, kind: str) -> int:
        """Return how many units of a kind each of its groups keeps."""
        return {CHANNEL: self.width, HEAD: self.heads, HIDDEN: self.hidden}[kind]

    def __str__(self) -> str:
        return f"width {self.width}, {self.heads} head{'s' if self.heads > 1 else ''}, {self.hidden} hidden units"


@dataclass(frozen=True, slots=True)
class Footprint:
    """Of one graph. weight_bytes: constants at float32; activation_bytes: the most that is alive at once."""

    parameters: int
    macs: int
    weight_bytes: int
    activation_bytes: int

    @property
    def memory_bytes(self) -> int:
        return self.weight_bytes + self.activation_bytes


def full_shape(structure: Structure) -> SubShape:
    """Return the shape of a graph all of whose blocks are equal. CompileError K006 when they are not, K007 without blocks
    that can be made smaller."""
    graph = structure.graph
    blocks = find_blocks(graph)
    if not blocks or not structure.channels or not structure.heads or not structure.hidden:
        fail(
            "K007",
            "there is nothing to make smaller",
            graph.name,
            "no transformer blocks with attention, a feed-forward network and a residual stream were found",
            "split takes vision transformers; edgewright inspect shows the graph as it was read",
        )
    problems = []
    first = blocks[0]
    for block in blocks:
        sizes, of_first = (block.width, block.heads, block.hidden), (first.width, first.heads, first.hidden)
        if not block.is_plain:
            problems.append((block, "its attention is hashed" if block.hashed else "it has experts"))
        elif sizes != of_first:
            text = "width {}, {} heads, {} hidden units"
            problems.append((block, f"it has {text.format(*sizes)}, the first one {text.format(*of_first)}"))
    if problems:
        help_text = "split before hashing, and use a model of one width: a part is made smaller equally in all blocks"
        raise CompileError(
            Diagnostic("K006", "blocks of unequal shape", block.name, because, help_text) for block, because in problems
        )
    return SubShape(len(structure.channels), len(structure.heads[0]), len(structure.hidden[0]))


def ladder(full: SubShape, grain: int) -> tuple[SubShape, ...]:
    """Shapes from the whole model's down to the smallest, each with fewer parameters than the one before; widths and hidden
    units are multiples of `grain` (the whole model's own if that is less)."""
    shapes = [full]
    for hidden in range((full.hidden - 1) // grain * grain, 0, -grain):
        share = hidden / full.hidden
        width = min(full.width, max(grain, grain * math.floor(full.width * share / grain + 0.5)))
        heads = max(1, math.ceil(full.heads * share - 1e-9))
        shapes.append(SubShape(width, heads, hidden))
    return tuple(shapes)


def shaped(graph: Graph, shape: SubShape) -> Graph:
    """Return the graph cut to a shape, the last units of each group gone without asking what they are for: right for costs,
    useless for answers."""
    structure = structure_of(graph, (FEATURES,))
    groups = [(group, shape.left(kind)) for kind in (CHANNEL, HEAD, HIDDEN) for group in structure.groups(kind)]
    return prune(structure, [unit for group, left in groups for unit in group[left:]])


def footprint(graph: Graph) -> Footprint:
    """Return what a float graph costs."""
    nodes = graph.nodes()
    constants = [n for n in nodes if isinstance(n.op, ops.Constant)]
    weights = sum(4 * n.type.size if n.type.is_float else n.type.size_bytes for n in constants)
    parameters = sum(n.type.size for n in constants if n.type.is_float)
    most = max(total for _, total in alive(graph, lambda node: node.type.size_bytes))  # views count as copies
    return Footprint(parameters, sum(n.work.macs for n in nodes), weights, most)
