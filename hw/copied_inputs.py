"""Copy inputs to on-chip memory whose patches would be fetched from external memory a line at a time."""

from __future__ import annotations

from dataclasses import replace

from edgewright.hw.blocks.config import EngineConfig
from edgewright.hw.fused import Fused
from edgewright.hw.memory import WORD_BYTES, layout
from edgewright.hw.operations.copy import ImageProduct
from edgewright.hw.operations.operation import Operation, Place
from edgewright.hw.operations.patches import PatchProduct
from edgewright.hw.operations.product import Scale, largest, whole
from edgewright.passes.ir.graph import Node

ANSWER_CYCLES = 100
"""Cycles in which a board's memory answers."""
OUTSTANDING = 16
"""Requests of a port that it works on at a time."""


def copy_inputs(fused: Fused, config: EngineConfig) -> Fused:
    """Return the operations with copies of the inputs for which they pay."""
    readers: dict[Node, list[PatchProduct]] = {}
    fetches: dict[Node, int] = {}
    for operation in fused.operations:
        if isinstance(product := operation.product, PatchProduct):
            pieces = sum(1 for _ in operation.pieces(config))
            root, (rows, columns) = product.source.root, product.grid
            readers.setdefault(root, []).append(product)
            fetches[root] = fetches.get(root, 0) + pieces * rows * columns * product.channels * product.patch
    paying = [root for root, products in readers.items() if pays(root, products, fetches[root], config)]
    copies = {root: copy_of(root) for root in paying}
    operations = [copy_operation(root, copy, readers[root][0].patch) for root, copy in copies.items()]
    for operation in fused.operations:
        product = operation.product
        if isinstance(product, PatchProduct) and product.source.root in copies:
            source = replace(product.source, root=copies[product.source.root])
            operation = replace(operation, product=replace(product, source=source, copied=True))
        operations.append(operation)
    return replace(fused, operations=operations, copies=list(copies.values()))


def pays(root: Node, readers: list[PatchProduct], fetches: int, config: EngineConfig) -> bool:
    """Return whether an image fits on chip and is copied in fewer cycles than so many requests for its lines take; all patches
    must be of one size."""
    size, patch = layout(root).size_bytes, readers[0].patch
    if size >= config.on_chip_bytes or any(reader.patch != patch for reader in readers):
        return False
    fits = image(root, patch).token_words <= largest("out_tiles")
    return fits and fetches * ANSWER_CYCLES // OUTSTANDING > size // WORD_BYTES + 2 * ANSWER_CYCLES


def copy_of(root: Node) -> Node:
    """Return the on-chip value that holds an input."""
    return replace(root, origin=(f"{root.name} on chip",))


def copy_operation(root: Node, copy: Node, patch: int) -> Operation:
    """Return the operation that copies an input."""
    return Operation(image(root, patch), root, Place(copy))


def image(root: Node, patch: int) -> ImageProduct:
    """Return what copies an input for patches of ``patch`` lines."""
    source = whole(root)
    return ImageProduct(node=root, source=source, scale=Scale.one(root, source.columns), patch=patch)
