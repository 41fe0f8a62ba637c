"""A graph as one file: an npz archive with its structure as JSON and each constant as an array. No pickles.

The same graph gives the same bytes, so that a checkpoint can be hashed.
"""

from __future__ import annotations

import dataclasses
import json
import math
from functools import cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec
import numpy as np
from edgewright.passes import ops
from edgewright.passes.diagnostics import fail
from edgewright.passes.documents import parse_json
from edgewright.passes.ir.graph import Graph, Node
from edgewright.passes.ir.op import Op
from edgewright.passes.ir.types import F32, Elem, Float32, Int, Level, Quant, TensorType
from edgewright.passes.ir.verify import problems
from edgewright.passes.names import plain

FORMAT = 1


class _Row(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    op: str
    attributes: dict[str, Any]
    inputs: list[int]
    shape: list[int]
    elem: dict[str, Any]
    quant: dict[str, Any] | None
    origin: list[str]


class _Structure(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    format: int
    name: str
    level: Literal[tuple(level.value for level in Level)]  # type: ignore[valid-type]
    notes: list[str]
    inputs: list[int]
    outputs: list[int]
    output_names: list[str]
    nodes: list[_Row]


def save(graph: Graph, path: Path) -> None:
    """Write ``graph`` to ``path``."""
    nodes = graph.nodes()
    position = {node: index for index, node in enumerate(nodes)}
    arrays: dict[str, Any] = {}
    rows = []
    for index, node in enumerate(nodes):
        attributes = {}
        if isinstance(node.op, ops.Constant):
            arrays[f"constant_{index}"] = node.op.value
        else:
            attributes = {f.name: _encode(getattr(node.op, f.name)) for f in dataclasses.fields(node.op)}  # type: ignore[arg-type]
        operands, types = [position[operand] for operand in node.inputs], (_encode(node.elem), _encode(node.quant))
        rows.append(_Row(node.op.kind, attributes, operands, list(node.shape), *types, list(node.origin)))
    inputs, outputs = ([position[node] for node in nodes] for nodes in (graph.inputs, graph.outputs))
    notes, names = list(graph.notes), list(graph.output_names)
    structure = _Structure(FORMAT, graph.name, graph.level.value, notes, inputs, outputs, names, rows)
    text = json.dumps(msgspec.to_builtins(structure), sort_keys=True, separators=(",", ":"), allow_nan=False)
    with path.open("wb") as file:
        np.savez(file, structure=np.frombuffer(text.encode(), dtype=np.uint8), **arrays)


def load(path: Path) -> Graph:
    """Return the graph of a checkpoint. Raise CompileError G090 when it is missing, damaged or of another format."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            structure = parse_json(archive["structure"].tobytes(), _Structure)
            if structure.format != FORMAT:
                raise ValueError(f"format {structure.format}, this version reads {FORMAT}")
            graph = _build(structure, archive)
        for problem in problems(graph):
            raise ValueError(f"{problem.message}, at {problem.at}")
    except Exception as error:  # anything: an operator meets operands that no compiler gave it
        because = plain(error)[:300] or type(error).__name__
        fail("G090", "the checkpoint cannot be read", path.name, because, "compile the model again", cause=error)
    return graph


def _build(structure: _Structure, archive: Any) -> Graph:
    nodes: list[Node] = []
    for index, row in enumerate(structure.nodes):
        kind = getattr(ops, row.op, None)
        if not isinstance(kind, type) or not issubclass(kind, Op) or kind.__name__ != row.op:
            raise ValueError(f"there is no operator {row.op}")
        op = kind(archive[f"constant_{index}"]) if kind is ops.Constant else _operator(kind, row.attributes)
        quant = _decode(row.quant)
        kind_of = TensorType(tuple(row.shape), _decode(row.elem), quant)
        if not _is_quant(quant) or not fits(kind_of.elem, Elem):
            raise ValueError(f"node {index} has no such type")
        nodes.append(Node(op, tuple(_at(nodes, operand) for operand in row.inputs), kind_of, tuple(row.origin)))
    return Graph(
        structure.name,
        tuple(_at(nodes, n) for n in structure.inputs),
        tuple(_at(nodes, n) for n in structure.outputs),
        tuple(structure.output_names),
        Level(structure.level),
        tuple(structure.notes),
    )


def _at(nodes: list[Node], index: int) -> Node:
    if not 0 <= index < len(nodes):
        raise ValueError(f"node {index} is not among the {len(nodes)} before its user")
    return nodes[index]


def _operator(kind: type[Op], attributes: dict[str, Any]) -> Op:
    """Return an operator whose attributes have the types of its fields."""
    decoded = {name: _decode(value) for name, value in attributes.items()}
    types = _hints(kind)
    wrong = [name for name in decoded if name not in types or not fits(decoded[name], types[name])]
    if wrong:
        raise ValueError(f"{kind.__name__} has no such {', '.join(sorted(wrong))}")
    return kind(**decoded)


@cache
def _hints(kind: type[Op]) -> dict[str, Any]:
    hints = get_type_hints(kind)
    return {f.name: hints[f.name] for f in dataclasses.fields(kind)}  # type: ignore[arg-type]  # every op is a dataclass


def fits(value: Any, hint: Any) -> bool:
    """Return whether a value is of an annotated type, its items too."""
    origin, arguments = get_origin(hint), get_args(hint)
    if hint is Any:
        return True
    if origin is Literal:
        return value in arguments
    if origin in (Union, UnionType):
        return any(fits(value, option) for option in arguments)
    if origin is tuple:
        if not isinstance(value, tuple):
            return False
        if arguments[-1:] == (Ellipsis,):
            return all(fits(item, arguments[0]) for item in value)
        return len(value) == len(arguments) and all(map(fits, value, arguments))
    if hint is None or hint is NoneType:
        return value is None
    if hint is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    return isinstance(value, origin or hint) and (hint is bool or not isinstance(value, bool))


def _is_quant(value: Any) -> bool:
    if value is None:
        return True
    if not isinstance(value, Quant):
        return False
    scales = value.scale if isinstance(value.scale, tuple) else (value.scale,)
    positive = all(fits(scale, float) and 0 < scale < math.inf for scale in scales)
    return positive and fits(value.zero_point, int) and fits(value.axis, int)


def _encode(value: Any) -> Any:
    """Return JSON for an attribute: finite numbers and strings as they are, the rest tagged."""
    if isinstance(value, Float32):
        return {"elem": "f32"}
    if isinstance(value, Int):
        return {"elem": [value.bits, value.signed]}
    if isinstance(value, Quant):
        where = [] if value.axis == -1 else [value.axis]
        return {"quant": [_encode(value.scale), value.zero_point, *where]}
    if isinstance(value, TensorType):
        return {"type": [list(value.shape), _encode(value.elem), _encode(value.quant)]}
    if isinstance(value, tuple):
        return {"tuple": [_encode(item) for item in value]}
    if isinstance(value, np.generic):
        return _encode(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": str(value)}
    return value


def _decode(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    if "float" in value:
        return float(value["float"])
    if "elem" in value:
        elem: Elem = F32 if value["elem"] == "f32" else Int(*value["elem"])
        return elem
    if "type" in value:
        shape, element, quant = value["type"]
        return TensorType(tuple(shape), _decode(element), _decode(quant))
    if "quant" in value:
        return Quant(_decode(value["quant"][0]), *value["quant"][1:])
    return tuple(_decode(item) for item in value["tuple"])
