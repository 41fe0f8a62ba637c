"""Arrange fused operations for an engine: what is copied on chip first, and which constants are stored in order of use."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from edgewright.hw.blocks.config import EngineConfig
from edgewright.hw.blocks.weights import BIAS_ROWS, bias_words
from edgewright.hw.copied_inputs import copy_inputs
from edgewright.hw.fuse import fuse
from edgewright.hw.fused import Fused
from edgewright.hw.host_part import HostBias
from edgewright.hw.memory import WORD_BYTES
from edgewright.hw.operations.attention import AttentionProduct
from edgewright.hw.operations.biases import lowest_bias
from edgewright.hw.operations.operation import Operation, operands
from edgewright.hw.padding import Written
from edgewright.hw.placing import ValuePlacing
from edgewright.hw.strips import in_strips
from edgewright.passes.ir.graph import Graph, Node
from edgewright.passes.ir.types import INT8, INT16, Array, TensorType
from edgewright.passes.ops import constant as make_constant


def arrange(graph: Graph, config: EngineConfig) -> Fused:
    """Return the operations of a graph as an engine runs them. CompileError for what it cannot run."""
    fused = copy_inputs(fuse(graph, config.window_words > 0), config)
    if config.on_chip_bytes:
        placing = ValuePlacing(graph, config, fused)
        placing.place_values(config.on_chip_bytes)
        fused = in_strips(fused, config, placing.spilled())
    fused = with_score_biases(fused, config)
    readers = Counter(view.root for operation in fused.operations for view in operands(operation))
    operations = [with_packed_residual(operation, readers, fused.constants, config) for operation in fused.operations]
    return replace(fused, operations=operations)


def with_score_biases(fused: Fused, config: EngineConfig) -> Fused:
    """Return the operations with their score biases stored as the engine reads them, equal ones once."""
    constants, windows = dict(fused.constants), dict(fused.windows)
    known: dict[bytes | Node, Node] = {}
    operations = []
    for operation in fused.operations:
        product = operation.product
        if isinstance(product, AttentionProduct) and product.bias is not None:
            kinds, heads = product.bias.shape[:2]
            tables = [[product.bias_of_scores(config, kind, head) for head in range(heads)] for kind in range(kinds)]
            for content in (table for row in tables for table in row):
                if (key := content.tobytes()) not in known:
                    known[key] = make_constant(content, origin=(f"{product.node.name} biases",))
                    constants[known[key]] = content
            stored = tuple(tuple(known[table.tobytes()] for table in row) for row in tables)
            operation = replace(operation, product=replace(product, tables=stored))
        elif isinstance(product, AttentionProduct) and (mask := product.mask) is not None:
            if mask not in known:
                lowest = lowest_bias(product.node)
                assert lowest is not None
                entries = product.bias_tiles(config, 0, 0) * bias_words(config) * WORD_BYTES
                known[mask] = Node(Written(), (mask,), TensorType((1, 1, entries), INT8), (f"{mask.name} as biases",))
                windows[known[mask]] = HostBias(mask, lowest, BIAS_ROWS, config.outs)
            operation = replace(operation, product=replace(product, tables=((known[mask],) * product.op.heads,)))
        operations.append(operation)
    return replace(fused, operations=operations, constants=constants, windows=windows)


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
