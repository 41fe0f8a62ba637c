"""Types, nodes, graphs, and what reads them: verifier, interpreter, printer."""

from edgewright.passes.ir.graph import Graph, Node, make, merge_origins, rebuild, rewrite, topological
from edgewright.passes.ir.op import InferError, Op, Work
from edgewright.passes.ir.types import (
    F32,
    INT8,
    INT16,
    INT32,
    INT64,
    Array,
    Elem,
    Float32,
    Int,
    Level,
    Quant,
    Shape,
    TensorType,
    elem_of,
)

__all__ = [
    "F32",
    "INT8",
    "INT16",
    "INT32",
    "INT64",
    "Array",
    "Elem",
    "Float32",
    "Graph",
    "InferError",
    "Int",
    "Level",
    "Node",
    "Op",
    "Quant",
    "Shape",
    "TensorType",
    "Work",
    "elem_of",
    "make",
    "merge_origins",
    "rebuild",
    "rewrite",
    "topological",
]
