"""A graph as one file: an npz archive with its structure as JSON and each constant as an array. No pickles.

The same graph gives the same bytes, so that a checkpoint can be hashed.
"""

from __future__ import annotations

import dataclasses
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from edgewright.passes import ops
from edgewright.passes.diagnostics import CompileError, Diagnostic
from edgewright.passes.ir.graph import Graph, Node
from edgewright.passes.ir.types import F32, Elem, Float32, Int, Level, Quant, TensorType

FORMAT = 1


def save(graph: Graph, path: Path) -> None:
    """Write ``graph`` to ``path``."""
    nodes = graph.nodes()
    position = {node: index for index, node in enumerate(nodes)}
    arrays: dict[str, Any] = {}
    rows = []
    for index, node in enumerate(nodes):
        attributes: dict[str, Any] = {}
        if isinstance(node.op, ops.Constant):
            arrays[f"constant_{index}"] = node.op.value
        else:
            attributes = {f.name: _encode(getattr(node.op, f.name)) for f in dataclasses.fields(node.op)}  # type: ignore[arg-type]
        rows.append(
            {
                "op": node.op.kind, "attributes": attributes, "inputs": [position[operand] for operand in node.inputs],
                "shape": list(node.shape), "elem": _encode(node.elem), "quant": _encode(node.quant),
                "origin": list(node.origin),
            }
        )  # fmt: skip
    structure = {
        "format": FORMAT, "name": graph.name, "level": graph.level.value, "notes": list(graph.notes),
        "inputs": [position[node] for node in graph.inputs], "outputs": [position[node] for node in graph.outputs],
        "output_names": list(graph.output_names), "nodes": rows,
    }  # fmt: skip
    text = json.dumps(structure, sort_keys=True, separators=(",", ":"))
    with path.open("wb") as file:
        np.savez(file, structure=np.frombuffer(text.encode(), dtype=np.uint8), **arrays)


def load(path: Path) -> Graph:
    """The graph of a checkpoint; ``CompileError`` when it is missing, damaged or of another format."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            structure = json.loads(archive["structure"].tobytes().decode())
            if structure["format"] != FORMAT:
                raise ValueError(f"format {structure['format']}, this version reads {FORMAT}")
            return _build(structure, archive)
    except (OSError, ValueError, KeyError, AttributeError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise CompileError(
            [
                Diagnostic(
                    "G090", "the checkpoint cannot be read", path.name, str(error) or type(error).__name__,
                    "compile the model again",
                )
            ]
        ) from error  # fmt: skip


def _build(structure: dict[str, Any], archive: Any) -> Graph:
    nodes: list[Node] = []
    for index, row in enumerate(structure["nodes"]):
        if row["op"] == "Constant":
            op: Any = ops.Constant(archive[f"constant_{index}"])
        else:
            kind = getattr(ops, row["op"])
            op = kind(**{name: _decode(value) for name, value in row["attributes"].items()})
        kind_of = TensorType(tuple(row["shape"]), _decode(row["elem"]), _decode(row["quant"]))
        nodes.append(Node(op, tuple(nodes[operand] for operand in row["inputs"]), kind_of, tuple(row["origin"])))
    return Graph(
        structure["name"],
        tuple(nodes[n] for n in structure["inputs"]),
        tuple(nodes[n] for n in structure["outputs"]),
        tuple(structure["output_names"]),
        Level(structure["level"]),
        tuple(structure["notes"]),
    )


def _encode(value: Any) -> Any:
    """JSON for an attribute: numbers and strings as they are, the rest tagged."""
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
        return value.item()
    return value


def _decode(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    if "elem" in value:
        elem: Elem = F32 if value["elem"] == "f32" else Int(*value["elem"])
        return elem
    if "type" in value:
        shape, element, quant = value["type"]
        return TensorType(tuple(shape), _decode(element), _decode(quant))
    if "quant" in value:
        return Quant(_decode(value["quant"][0]), *value["quant"][1:])
    return tuple(_decode(item) for item in value["tuple"])
