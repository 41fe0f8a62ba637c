"""Where every stored value lies: on chip as long as it is in use, in external memory where there is no room."""

from __future__ import annotations

from edgewright.hw.blocks.config import EngineConfig
from edgewright.hw.fused import Fused
from edgewright.hw.memory import WORD_BYTES, Allocator, Region, Storage, layout
from edgewright.hw.operations.operation import operands
from edgewright.passes.ir.graph import Graph, Node


class ValuePlacing:
    """The addresses of all stored values of a program, and the regions that they take."""

    def __init__(self, graph: Graph, config: EngineConfig, fused: Fused) -> None:
        self.graph, self.config, self.fused = graph, config, fused
        self.operations, self.constants = fused.operations, fused.constants
        self.storage = Storage()
        self.regions: list[Region] = []

    def place_values(self, base: int) -> int:
        """Give every stored value an address; return the end of memory."""
        last_use: dict[Node, int] = {}
        for position, operation in enumerate(self.operations):
            for view in operands(operation):
                last_use[view.root] = position
        forever = {output.root for output in self.fused.outputs}
        allocator, on_chip = Allocator(base), Allocator(0, self.config.on_chip_bytes)
        last_write = {operation.target: position for position, operation in enumerate(self.operations)}
        targets = set(last_write)
        stored = dict.fromkeys([*self.graph.nodes(), *self.constants, *self.fused.windows])
        for node in stored:  # what is in memory before the program starts
            if node in targets or not (node in last_use or node in forever):
                continue
            kind = "constant" if node in self.constants else "input"
            # an unaligned last line of an image touches one word more than the image has
            self.place(allocator, node, kind, WORD_BYTES)
        for position, operation in enumerate(self.operations):
            target = operation.target
            root = operation.replaces(last_use, last_write)
            if root in targets - forever and target not in forever | set(self.storage.addresses):
                self.share(root, target, last_use, on_chip)
            if target not in self.storage.addresses:
                padding = WORD_BYTES if target in self.fused.copies else 0  # as after the input itself
                chip = target not in forever and on_chip.fits(layout(target).size_bytes + padding)
                kind = "output" if target in forever else "activation"
                self.place(on_chip if chip else allocator, target, kind, padding)
            for node, use in last_use.items():
                temporary = node in targets and node not in forever
                if use == position and temporary and node in self.storage.addresses:
                    for memory in (allocator, on_chip):
                        memory.free(self.storage.addresses[node])
        return allocator.top

    def share(self, root: Node, target: Node, last_use: dict[Node, int], on_chip: Allocator) -> None:
        """Store a value where ``root`` is, whose rows are read for the last time just before, unless that would keep it in
        external memory although there is room on chip."""
        address, size = self.storage.addresses[root], layout(target).size_bytes
        outside = address >= self.config.on_chip_bytes
        if outside and on_chip.fits(size):
            return
        last_use[root] = -1  # its place stays in use
        self.storage.layouts[target] = layout(target)
        self.storage.addresses[target] = address
        self.regions.append(Region(target.name, "activation" if outside else "on-chip", address, size))

    def place(self, allocator: Allocator, node: Node, kind: str, padding_bytes: int = 0) -> None:
        """Allocate a stored value."""
        size = layout(node).size_bytes
        self.storage.layouts[node] = layout(node)
        self.storage.addresses[node] = allocator.allocate(size + padding_bytes)
        address = self.storage.addresses[node]
        self.regions.append(Region(node.name, "on-chip" if address < self.config.on_chip_bytes else kind, address, size))

    def spilled(self) -> set[Node]:
        """Return the values that no host reads and that are in external memory for want of room on chip."""
        forever = {output.root for output in self.fused.outputs}
        targets = {operation.target for operation in self.operations} - forever
        return {node for node in targets if self.storage.addresses[node] >= self.config.on_chip_bytes}
