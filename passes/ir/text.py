"""A graph as text (for people, dumps, snapshots) and as a digest (for caches and determinism)."""

from __future__ import annotations

import dataclasses
import hashlib

from edgewright.passes.ir.graph import Graph, Node
from edgewright.passes.ir.op import Op
from edgewright.passes.ir.types import Array, Float32, Int
from edgewright.passes.names import plain
from edgewright.passes.ops import Constant, Input


def to_text(graph: Graph, literals: int = 0) -> str:
    """Print one line per value that is not a constant: number, op and attributes, operands, type, meaning, origin.

    literals: constants of at most so many elements are written out, and so are scales per channel; others are named by
    their fingerprint.
    """
    numbers: dict[Node, int] = {}
    lines = [f"graph {plain(graph.name)} ({graph.level.value})"]
    for node in graph.nodes():
        if isinstance(node.op, Constant):
            continue
        numbers[node] = len(numbers)
        operands = ", ".join(_operand(n, numbers, literals) for n in node.inputs)
        lines.append(f"  %{numbers[node]} = {_call(node.op, operands)} : {node.type}{_meaning(node, literals)}{_origin(node)}")
    for name, node in zip(graph.output_names, graph.outputs, strict=True):
        lines.append(f"  return {plain(name)} = {_operand(node, numbers, literals)}")
    return "\n".join(lines) + "\n"


def digest(graph: Graph) -> str:
    """Return the SHA-256 of structure, attributes, meanings and every constant; equal graphs have equal digests."""
    return hashlib.sha256(to_text(graph).encode()).hexdigest()


def _call(op: Op, operands: str) -> str:
    """Print attributes in brackets (those that differ from their defaults), operands in parentheses."""
    if isinstance(op, Input):
        options = [f"{name}={getattr(op, name)!r}" for name in ("unbatched", "allowed") if getattr(op, name)]
        return f"Input[{', '.join((repr(op.name), *options))}]"
    shown = [f for f in dataclasses.fields(op) if getattr(op, f.name) != f.default]  # type: ignore[arg-type]
    attributes = ", ".join(f"{f.name}={_attribute(getattr(op, f.name))}" for f in shown)
    return f"{op.kind}[{attributes}]({operands})" if attributes else f"{op.kind}({operands})"


def _attribute(value: object) -> str:
    return str(value) if isinstance(value, (Int, Float32)) else repr(value)


def _operand(node: Node, numbers: dict[Node, int], literals: int) -> str:
    if not isinstance(node.op, Constant):
        return f"%{numbers[node]}"
    value = node.op.value
    if value.size <= literals and value.dtype.kind in "fiub":
        alike = value.size > 1 and bool((value == value.flat[0]).all())
        values = [value.flat[0]] if alike else value.ravel()
        return f"{node.type}{{{', '.join(repr(v.item()) if value.dtype.kind != 'b' else str(int(v)) for v in values)}}}"
    return f"{node.type}#{fingerprint(value)}"


def fingerprint(value: Array) -> str:
    """Return 64 bits of an array's digest, which a text names the constant by."""
    return hashlib.sha256(f"{value.dtype.str}{value.shape}".encode() + value.tobytes()).hexdigest()[:16]


def _meaning(node: Node, literals: int) -> str:
    if node.quant is None:
        return ""
    scale = node.quant.scale
    if isinstance(scale, tuple):
        scales = repr(scale) if literals else f"per-channel#{hashlib.sha256(repr(scale).encode()).hexdigest()[:8]}"
        along = "" if node.quant.axis == -1 else f" along {node.quant.axis}"
        return f" = {scales}{along} * (q - {node.quant.zero_point})"
    return f" = {scale!r} * (q - {node.quant.zero_point})"


def _origin(node: Node) -> str:
    return f"  # {', '.join(map(plain, node.origin))}" if node.origin else ""
