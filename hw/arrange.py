"""Arrange fused operations for an engine: what is copied on chip first, and which constants are stored in order of use."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from edgewright.hw.blocks.config import EngineConfig
from edgewright.hw.copied_inputs import copy_inputs
from edgewright.hw.fuse import fuse
from edgewright.hw.fused import Fused
from edgewright.hw.operations.operation import Operation, operands
from edgewright.passes.ir.graph import Graph, Node
from edgewright.passes.ir.types import INT16, Array


def arrange(graph: Graph, config: EngineConfig) -> Fused:
    """Return the operations of a graph as an engine runs them. CompileError for what it cannot run."""
    fused = copy_inputs(fuse(graph), config)
    readers = Counter(view.root for operation in fused.operations for view in operands(operation))
    operations = [with_packed_residual(operation, readers, fused.constants, config) for operation in fused.operations]
    return replace(fused, operations=operations)


def with_packed_residual(
    operation: Operation, readers: Mapping[Node, int], constants: Mapping[Node, Array], config: EngineConfig
) -> Operation:
    """Return an operation whose residual is stored in the order in which it is added, where nothing else reads it: external
    memory then gives runs of words instead of two at a time."""
    residual = operation.residual
    if residual is None or residual.source.root not in constants or readers[residual.source.root] != 1:
        return operation
    alone = residual.source.is_whole and sum(1 for _ in operation.pieces(config)) == 1
    if not alone or residual.multiplies or operation.product.passes or residual.source.root.elem != INT16:
        return operation
    return replace(operation, residual=replace(residual, packed=True))


def packed(rows: bytes, height: int, tokens: int, tile_bytes: int) -> bytes:
    """Return stored rows in the order in which they are added; ``tile_bytes``: of one row and tile of outputs."""
    tiled = np.frombuffer(rows, np.uint8).reshape(height, -1, tile_bytes)
    blocks = [tiled[begin : begin + tokens].transpose(1, 0, 2) for begin in range(0, height, tokens)]
    return b"".join(block.tobytes() for block in blocks)
