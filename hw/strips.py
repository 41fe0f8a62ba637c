"""A large value that one operation stores and the next one reads row by row, strip by strip: only a strip of it is in
memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

from edgewright.hw.blocks.config import EngineConfig
from edgewright.hw.fused import Fused
from edgewright.hw.memory import layout
from edgewright.hw.operations.attention import AttentionProduct
from edgewright.hw.operations.operation import Operation, Place, StoredPart, operands
from edgewright.hw.operations.product import ONE_ROW
from edgewright.hw.operations.rows import RowProduct
from edgewright.hw.padding import Strip
from edgewright.hw.views import StoredView, rows_columns
from edgewright.passes.ir.graph import Node, make

LARGE = 8
"""A value of more than this part of the on-chip memory is worth strips."""
STRIP = 10
"""A strip takes at most this part of it."""


def in_strips(fused: Fused, config: EngineConfig, spilled: set[Node]) -> Fused:
    """Return the operations with large values strip by strip, if there are any that do not fit on chip."""
    if not spilled:
        return fused
    readers = Counter(view.root for operation in fused.operations for view in set(operands(operation)))
    by_target: dict[Node, list[int]] = {}
    for position, operation in enumerate(fused.operations):
        by_target.setdefault(operation.target, []).append(position)
    outputs = {output.root for output in fused.outputs}
    crowded = crowded_positions(fused, spilled)
    ordered: list[Operation] = []
    position = 0
    while position < len(fused.operations):
        operation = fused.operations[position]
        following = fused.operations[position + 1] if position + 1 < len(fused.operations) else None
        target = operation.target
        whole = operation.place == Place(target) and operation.part is None and len(by_target[target]) == 1
        large = layout(target).size_bytes > config.on_chip_bytes // LARGE
        worth = whole and large and position in crowded and target not in outputs
        if following is not None and worth and isinstance(operation.product, RowProduct):
            unit = unit_of(target, following, config)
            if unit is not None and readers[target] == len({v for v in operands(following) if v.root is target}):
                ordered += strips(operation, following, unit, config)
                position += 2
                continue
        ordered.append(operation)
        position += 1
    return replace(fused, operations=ordered)


def crowded_positions(fused: Fused, spilled: set[Node]) -> set[int]:
    """Return the positions of operations while which a value is in use that does not fit on chip: elsewhere strips would only
    read weights more than once."""
    first: dict[Node, int] = {}
    last: dict[Node, int] = {}
    for position, operation in enumerate(fused.operations):
        first.setdefault(operation.target, position)
        last |= {view.root: position for view in operands(operation)}
    return {at for node in spilled for at in range(first[node], last.get(node, first[node]) + 1)}


def unit_of(target: Node, reader: Operation, config: EngineConfig) -> int | None:
    """Return the rows that a strip has a multiple of, if ``reader`` reads ``target`` row by row and nothing else does; else
    None."""
    product = reader.product
    rows = rows_columns(target)[0]

    def in_order(view: StoredView) -> bool:
        return view.root is target and view.order is None and view.row == 0 and view.row_step == 1 and view.rows == rows

    if reader.part is not None or (reader.residual is not None and reader.residual.source.root is target):
        return None
    if isinstance(product, RowProduct):
        return config.tokens if in_order(product.source) and product.taps == ONE_ROW else None
    if isinstance(product, AttentionProduct) and product.windows > 1 and product.queries == product.keys:
        return product.queries if all(map(in_order, (product.source, product.key, product.value))) else None
    return None


def strips(writer: Operation, reader: Operation, unit: int, config: EngineConfig) -> Iterator[Operation]:
    """Yield the operations of each strip: what stores it, and what reads it."""
    whole = writer.target
    rows, pitch = rows_columns(whole)[0], layout(whole).pitch_bytes
    size = max(1, config.on_chip_bytes // STRIP // (pitch * unit)) * unit
    for first in range(0, rows, size):
        count = min(size, rows - first)
        strip = make(Strip(first, count), whole, origin=whole.origin)
        residual = writer.residual
        if residual is not None:
            residual = replace(residual, source=residual.source.part(first, count))
        assert isinstance(writer.product, RowProduct)
        source = replace(writer.product, source=writer.product.source.part(first, count))
        yield replace(writer, product=source, result=strip, place=Place(strip), residual=residual)
        yield reader_of(reader, strip, first, count, keeps_to_strips(writer, reader))


def keeps_to_strips(writer: Operation, reader: Operation) -> bool:
    """Return whether all that reads the second operand of ``reader`` reads the rows of a strip while that is stored."""
    if reader.residual is None or reader.place != Place(reader.target):
        return False
    root = reader.residual.source.root
    views = [view for view in operands(writer) if view.root is root]
    taps = isinstance(writer.product, RowProduct) and writer.product.taps == ONE_ROW
    return taps and all(view.order is None and view.row == 0 and view.row_step == 1 for view in views)


def reader_of(reader: Operation, strip: Node, first: int, count: int, alone: bool) -> Operation:
    """Return the part of ``reader`` that reads a strip; ``alone``: see `keeps_to_strips`."""
    product, place, residual = reader.product, reader.place, reader.residual

    def of_strip(view: StoredView) -> StoredView:
        return replace(view, root=strip, rows=count)

    if isinstance(product, AttentionProduct):
        begin, windows = first // product.queries, count // product.queries
        kinds = product.kind_of[begin : begin + windows]
        query, key, value = (of_strip(view) for view in (product.source, product.key, product.value))
        product = replace(product, source=query, key=key, value=value, windows=windows, kind_of=kinds)
    else:
        product = replace(product, source=of_strip(product.source))
    if residual is not None:
        residual = replace(residual, source=residual.source.part(first, count))
    part = StoredPart(tuple(range(first, first + count)), 0, reader.shape[1])
    begin_row = place.first_row + first * place.row_step
    place = replace(place, first_row=begin_row)
    return replace(reader, product=product, residual=residual, part=part, place=place, in_strips=alone)
