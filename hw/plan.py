"""Quantised graph + board -> Plan: the memory image, the program, and what every descriptor is expected to store."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from edgewright.hw import blobs
from edgewright.hw.blocks.activations import RECIPROCAL_BITS
from edgewright.hw.blocks.config import EngineConfig
from edgewright.hw.blocks.operation import FIELDS, WORD_BITS, WORDS, encode
from edgewright.hw.fuse import Operation, View, constant, fuse, rows_columns, sources
from edgewright.hw.memory import ALIGN_BYTES, WORD_BYTES, Allocator, Layout, Region, layout, round_up
from edgewright.passes.diagnostics import CompileError, Diagnostic
from edgewright.passes.ir.graph import Graph, Node
from edgewright.passes.ir.types import Array, Int
from edgewright.passes.ops import Attention, Concat, Constant, LayerNormalization, Requantise, Reshape, Slice

DESCRIPTOR_BYTES = WORDS * WORD_BITS // 8
LOOKAHEAD = 8
"""Descriptors after which a gate takes a completion it does not need, so that completions never pile up."""
IDENTITY = (1 << 15, 15)


@dataclass(frozen=True, slots=True)
class Step:
    """One descriptor: its fields, its blob, and which part of which value it stores.

    ``columns`` are the channels of ``operation.result`` that this descriptor computes, from ``first_column`` on.
    """

    operation: Operation
    fields: dict[str, int]
    blob: bytes
    first_column: int
    columns: int
    macs: int


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that changes with the model. The engine itself depends on ``config`` alone."""

    graph: Graph
    config: EngineConfig
    steps: tuple[Step, ...]
    regions: tuple[Region, ...]
    layouts: dict[Node, Layout]
    addresses: dict[Node, int]
    image: bytes
    program_address: int
    memory_bytes: int

    @property
    def macs(self) -> int:
        """Products of the model itself, without padding."""
        return sum(step.macs for step in self.steps)


def plan(graph: Graph, config: EngineConfig) -> Plan:
    """Raises ``CompileError`` when the graph has something that the engine cannot run or that does not fit it."""
    operations, constants = fuse(graph)
    return Planner(graph, config, operations, constants).plan()


class Planner:
    """Builds the plan of one graph."""

    def __init__(
        self, graph: Graph, config: EngineConfig, operations: list[Operation], constants: dict[Node, Array]
    ) -> None:
        self.graph, self.config, self.operations, self.constants = graph, config, operations, constants
        self.layouts: dict[Node, Layout] = {}
        self.addresses: dict[Node, int] = {}
        self.regions: list[Region] = []
        self.problems: list[Diagnostic] = []

    # ---- what does not fit

    def refuse(self, operation: Operation, because: str, help_text: str) -> None:
        """Note that an operation exceeds the engine."""
        self.problems.append(
            Diagnostic("P002", "an operation does not fit the engine", operation.name, because, help_text)
        )

    # ---- memory

    def place_values(self, base: int) -> int:
        """Give every stored value an address; returns the end of memory."""
        last_use: dict[Node, int] = {}
        for position, operation in enumerate(self.operations):
            for view in sources(operation):
                last_use[view.root] = position
        forever = {self.root(output) for output in self.graph.outputs}
        allocator = Allocator(base)
        for node in {view.root for operation in self.operations for view in sources(operation)} | forever:
            self.layouts.setdefault(node, layout(node))
        targets = [operation.target for operation in self.operations]
        inputs = [node for node in self.graph.nodes() if node in self.layouts and node not in targets]
        for node in inputs:
            kind = "constant" if node in self.constants else "input"
            # an unaligned last line of an image touches one word more than the image has
            self.addresses[node] = allocator.take(self.layouts[node].size_bytes + WORD_BYTES)
            self.regions.append(Region(node.name, kind, self.addresses[node], self.layouts[node].size_bytes))
        keeps_rows = [t for t in dict.fromkeys(targets) if isinstance(t.op, Concat)]
        for node in keeps_rows:
            self.place_target(allocator, node, "activation")
        for position, operation in enumerate(self.operations):
            if operation.target not in self.addresses:
                self.place_target(allocator, operation.target, "output" if operation.target in forever else "activation")
            for node, use in last_use.items():
                temporary = node in targets and node not in forever and node not in keeps_rows
                if use == position and temporary and node in self.addresses:
                    allocator.give_back(self.addresses[node])
        return allocator.top

    def place_target(self, allocator: Allocator, node: Node, kind: str) -> None:
        """Allocate a value that the engine writes."""
        self.layouts[node] = layout(node)
        self.addresses[node] = allocator.take(self.layouts[node].size_bytes)
        self.regions.append(Region(node.name, kind, self.addresses[node], self.layouts[node].size_bytes))

    def root(self, node: Node) -> Node:
        """The stored value that ``node`` is a view of."""
        while isinstance(node.op, Slice | Reshape):
            node = node.inputs[0]
        return node

    def address(self, view: View) -> int:
        """Address of a view's first element."""
        where = self.layouts[view.root]
        return self.addresses[view.root] + view.row * where.pitch_bytes + view.column * where.element_bytes

    # ---- the whole

    def plan(self) -> Plan:
        """Place everything, then write the program."""
        program_bytes = round_up(self.descriptor_count() * DESCRIPTOR_BYTES, ALIGN_BYTES)
        if self.problems:
            raise CompileError(self.problems)
        activations_end = self.place_values(program_bytes)
        steps = self.order([step for operation in self.operations for step in self.steps(operation)])
        if self.problems:
            raise CompileError(self.problems)
        return self.assemble(steps, activations_end)

    def assemble(self, steps: list[Step], activations_end: int) -> Plan:
        """Lay the blobs behind the values and fill the memory image."""
        cursor = round_up(activations_end, ALIGN_BYTES)
        placed: list[Step] = []
        image_parts: list[tuple[int, bytes]] = []
        for position, step in enumerate(steps):
            fields = {**step.fields, "blob_address": cursor, "blob_beats": len(step.blob) // WORD_BYTES}
            image_parts += [(cursor, step.blob), (position * DESCRIPTOR_BYTES, encode(fields))]
            placed.append(replace(step, fields=fields))
            self.regions.append(Region(f"{step.operation.name} weights", "weights", cursor, len(step.blob)))
            cursor = round_up(cursor + len(step.blob), ALIGN_BYTES)
        self.regions.append(Region("program", "program", 0, len(steps) * DESCRIPTOR_BYTES))
        image = bytearray(cursor)
        for address, content in image_parts + self.constant_rows():
            image[address : address + len(content)] = content
        return Plan(
            self.graph, self.config, tuple(placed), tuple(sorted(self.regions, key=lambda r: r.address)), self.layouts,
            self.addresses, bytes(image), 0, cursor,
        )  # fmt: skip

    def constant_rows(self) -> list[tuple[int, bytes]]:
        """Constants that live in memory: whole values, and the constant rows of joined ones."""
        parts = [(self.addresses[node], pack_rows(array, self.layouts[node])) for node, array in self.constants.items()]
        for node in dict.fromkeys(operation.target for operation in self.operations):
            if not isinstance(node.op, Concat):
                continue
            row = 0
            for operand in node.inputs:
                where = self.layouts[node]
                if isinstance(operand.op, Constant):
                    parts.append((self.addresses[node] + row * where.pitch_bytes, pack_rows(constant(operand), where)))
                row += rows_columns(operand)[0]
        return parts

    # ---- descriptors

    def descriptor_count(self) -> int:
        """How many descriptors the program will have; also checks sizes that do not depend on addresses."""
        return sum(len(list(self.groups(operation))) for operation in self.operations)

    def groups(self, operation: Operation) -> Iterator[tuple[int, int]]:
        """(first channel, channels) of each descriptor of an operation: heads, or as many outputs as a bank holds."""
        cfg = self.config
        if operation.kind == "attention":
            op = operation.product.op if operation.product else None
            assert isinstance(op, Attention)
            assert operation.value is not None
            width = operation.value.columns // op.heads
            key_tiles = -(-operation.value.rows // 16)
            if key_tiles > cfg.key_tiles:
                self.refuse(
                    operation,
                    f"{operation.value.rows} keys exceed {cfg.key_tiles * 16}",
                    "use fewer tokens, or a board with more `key_tiles`",
                )
            if key_tiles * 2 * -(-width // 16) > cfg.weight_tiles:
                self.refuse(operation, "keys and values of one head exceed a weight bank", "use narrower heads")
            yield from ((head * width, width) for head in range(op.heads))
            return
        columns = rows_columns(operation.result)[1]
        depth = self.depth(operation)
        if depth > cfg.activation_tiles:
            self.refuse(
                operation,
                f"its inputs take {depth} tiles of 16 channels, the activation buffer holds {cfg.activation_tiles}",
                "make the layer narrower, or use a board with more `activation_tiles`",
            )
            return
        group = max(1, min(cfg.weight_tiles // depth, cfg.param_tiles)) * 16
        yield from ((first, min(group, columns - first)) for first in range(0, columns, group))

    def depth(self, operation: Operation) -> int:
        """Tiles of inputs (of keys for pooling) that one output needs."""
        if operation.kind == "patch":
            patch, channels = patch_and_channels(operation)
            if patch > 16:
                self.refuse(operation, f"patches are {patch} wide", "the engine cuts patches of up to 16 x 16")
            return channels * patch
        if operation.kind == "pool":
            return -(-operation.source.rows // 16)
        return -(-operation.source.columns // 16)

    def steps(self, operation: Operation) -> Iterator[Step]:
        """The descriptors of one operation."""
        for first, columns in self.groups(operation):
            fields = dict.fromkeys(FIELDS, 0)
            fields |= self.output_fields(operation, first, columns)
            norm = b""
            tiles = b""
            if operation.kind == "attention":
                fields |= self.attention_fields(operation, first, columns)
                macs = operation.product.work.macs * columns // rows_columns(operation.result)[1] if operation.product else 0
            elif operation.kind == "pool":
                fields |= self.pool_fields(operation, first, columns)
                macs = 0
            else:
                assert operation.weight is not None
                weight = operation.weight
                fields |= self.patch_fields(operation) if operation.kind == "patch" else self.row_fields(operation)
                if operation.kind == "patch":
                    patch, channels = patch_and_channels(operation)
                    weight = blobs.patch_weight(weight, channels, patch)
                packed = blobs.weight_tiles(weight[first : first + columns], 16, 16)
                tiles = packed.tobytes()
                depth = packed.shape[1]
                fields |= {
                    "const_tiles": packed.shape[0] * depth, "tile_words": packed.shape[0] * depth * 16,
                    "n_jobs": fields["n_blocks"], "outs0": packed.shape[0], "depth0": depth,
                }  # fmt: skip
                macs = operation.source.rows * operation.weight.shape[1] * columns
                if operation.kind == "patch":
                    macs = rows_columns(operation.result)[0] * operation.weight.shape[1] * columns
                if operation.norm is operation.product:
                    macs = 0  # an identity product is no work of the model's
                if operation.norm is not None:
                    norm = blobs.norm_params(*(constant(n) for n in operation.norm.inputs[1:]))
            blob = tiles + blobs.table_bytes(operation.table) + norm + self.params(operation, first, columns)
            yield Step(operation, fields, blob, first, columns, macs)

    def params(self, operation: Operation, first: int, columns: int) -> bytes:
        """Channel parameters of some outputs. Attention's bias comes from its values."""
        multiplier, shift = IDENTITY
        full = [np.full(columns, multiplier), np.full(columns, shift)]
        if isinstance(operation.requantise.op, Requantise):
            for position, node in enumerate(operation.requantise.inputs[1:]):
                values = constant(node)
                full[position] = np.full(columns, values[0]) if len(values) == 1 else values[first : first + columns]
        bias = np.zeros(columns, np.int64) if operation.bias is None else operation.bias[first : first + columns]
        return blobs.channel_params(bias, *full)

    def output_fields(self, operation: Operation, first: int, columns: int) -> dict[str, int]:
        """Where results go and how they are made from accumulators."""
        rows = rows_columns(operation.result)[0]
        where = self.layouts[operation.target]
        elem = operation.result.elem
        assert isinstance(elem, Int)
        fields = {
            "n_tokens": rows, "n_blocks": -(-rows // self.config.tokens), "out_tiles": -(-columns // 16),
            "param_entries": -(-columns // 16), "out16": int(elem.bits == 16), "table": int(operation.table is not None),
            "out_address": self.addresses[operation.target]
            + operation.first_row * where.pitch_bytes
            + first * where.element_bytes,
            "out_pitch": where.pitch_bytes,
        }  # fmt: skip
        op = operation.requantise.op
        fields["zero_point"] = (op.zero_point if isinstance(op, Requantise) else 0) & 0xFF
        if operation.residual is not None:
            view = operation.residual.source
            fields |= {
                "residual": 1, "res_multiplier": operation.residual.multiplier, "res_shift": operation.residual.shift,
                "res_address": self.address(replace(view, column=view.column + first)),
                "res_pitch": self.layouts[view.root].pitch_bytes,
            }  # fmt: skip
        return fields

    def row_fields(self, operation: Operation) -> dict[str, int]:
        """Activations that are rows of a stored value, normalised or not."""
        view = operation.source
        where = self.layouts[view.root]
        words = -(-view.columns * where.element_bytes // WORD_BYTES)
        fields = {
            "act_address": self.address(view), "act_planes": 1, "act_rows": 1, "act_beats": words,
            "grid_recip": 1 << RECIPROCAL_BITS, "grid_width": 1, "stride_row": where.pitch_bytes,
            "act_words": view.rows * words,
        }  # fmt: skip
        if operation.norm is not None:
            op = operation.norm.op
            assert isinstance(op, LayerNormalization)
            if view.columns % 16 or view.columns > self.config.norm_width:
                self.refuse(
                    operation,
                    f"LayerNorm over {view.columns} channels",
                    f"widths are multiples of 16 up to {self.config.norm_width}",
                )
            fields |= {
                "norm": 1, "norm_row_words": words, "norm_n": view.columns, "norm_eps": op.eps_term,
                "norm_shift": op.shift, "norm_entries": view.columns // 8,
            }  # fmt: skip
        return fields

    def patch_fields(self, operation: Operation) -> dict[str, int]:
        """Activations that are patches of an image."""
        patch, channels = patch_and_channels(operation)
        _, _, height, width = operation.source.root.shape
        where = self.layouts[operation.source.root]
        grid = width // patch
        straddle = any((column * patch) % WORD_BYTES + patch > WORD_BYTES for column in range(grid))
        tokens = (height // patch) * grid
        reciprocal = -(-(1 << RECIPROCAL_BITS) // grid)
        assert all((t * reciprocal) >> RECIPROCAL_BITS == t // grid for t in range(tokens + self.config.tokens))
        return {
            "patch": 1, "straddle": int(straddle), "act_address": self.addresses[operation.source.root],
            "act_planes": channels, "act_rows": patch, "act_beats": 1 + straddle, "grid_recip": reciprocal,
            "grid_width": grid, "stride_row": patch * where.pitch_bytes, "stride_col": patch,
            "stride_plane": height * where.pitch_bytes, "stride_line": where.pitch_bytes,
            "act_words": tokens * channels * patch * (1 + straddle),
        }  # fmt: skip

    def attention_fields(self, operation: Operation, first: int, columns: int) -> dict[str, int]:
        """One head."""
        query, key, value = operation.source, operation.key, operation.value
        assert key is not None and value is not None and operation.product is not None
        op = operation.product.op
        assert isinstance(op, Attention)
        head = first // columns
        depth = query.columns // op.heads
        query = replace(query, column=query.column + head * depth, columns=depth)
        rows = self.row_fields(replace(operation, source=query))
        blocks = -(-key.rows // 16)
        depth_tiles, value_tiles = depth // 16, columns // 16
        n_blocks = -(-query.rows // self.config.tokens)
        if self.layouts[key.root].pitch_bytes != self.layouts[value.root].pitch_bytes:
            self.refuse(operation, "keys and values have rows of different length", "store them in one tensor")
        return rows | {
            "attention": 1, "n_keys": key.rows, "key_pitch": self.layouts[key.root].pitch_bytes,
            "key_address": self.address(replace(key, column=key.column + head * depth)),
            "value_address": self.address(replace(value, column=value.column + first)),
            "key_blocks": blocks, "key_depth": depth_tiles, "value_blocks": blocks, "value_depth": value_tiles,
            "tile_words": key.rows * (depth_tiles + value_tiles), "n_jobs": 2 * n_blocks,
            "outs0": blocks, "depth0": depth_tiles, "outs1": value_tiles, "depth1": blocks,
            "base1": blocks * depth_tiles, "score_multiplier": op.score_multiplier, "score_shift": op.score_shift,
        }  # fmt: skip

    def pool_fields(self, operation: Operation, first: int, columns: int) -> dict[str, int]:
        """A sum over tokens: a row of ones times the transposed rows."""
        view = operation.source
        blocks, tiles = -(-view.rows // 16), -(-columns // 16)
        return {
            "ones": 1, "n_keys": view.rows, "key_pitch": self.layouts[view.root].pitch_bytes,
            "value_address": self.address(replace(view, column=view.column + first)),
            "value_blocks": blocks, "value_depth": tiles, "tile_words": view.rows * tiles,
            "n_jobs": 1, "outs0": tiles, "depth0": blocks,
        }  # fmt: skip

    # ---- order

    def order(self, steps: list[Step]) -> list[Step]:
        """Add the completions each gate waits for: a value is read only after all that write it have finished."""
        writers: dict[Node, int] = {}
        taken = {"load": 0, "run": 0}
        ordered: list[Step] = []
        for position, step in enumerate(steps):
            operation = step.operation
            loads = [v.root for v in (operation.key, operation.value) if v is not None]
            runs = [operation.source.root] if operation.kind != "pool" else []
            if operation.kind == "pool":
                loads.append(operation.source.root)
            if operation.residual is not None:
                runs.append(operation.residual.source.root)
            fields = dict(step.fields)
            for side, roots in (("load", loads), ("run", runs)):
                needed = max([writers.get(root, -1) + 1 for root in roots] + [position - LOOKAHEAD, taken[side]])
                fields[f"waits_{side}"] = needed - taken[side]
                taken[side] = needed
                if position == len(steps) - 1:
                    fields[f"drain_{side}"] = len(steps) - needed
            fields["final"] = int(position == len(steps) - 1)
            writers[operation.target] = position
            ordered.append(replace(step, fields=fields))
        return ordered


def patch_and_channels(operation: Operation) -> tuple[int, int]:
    """(patch size, image channels) of a patch embedding."""
    assert operation.product is not None
    return operation.product.op.patch, operation.source.root.shape[1]  # type: ignore[attr-defined]


def pack_rows(array: Array, where: Layout) -> bytes:
    """A value as its region holds it: little endian, rows padded to ``where.pitch_bytes``."""
    flat = np.asarray(array).reshape(-1, where.columns)
    kind = {1: "<i1", 2: "<i2", 4: "<i4"}[where.element_bytes]
    padded = np.zeros((flat.shape[0], where.pitch_bytes // where.element_bytes), dtype=kind)
    padded[:, : where.columns] = flat
    return padded.tobytes()


def unpack_rows(content: bytes, where: Layout, rows: int) -> Array:
    """The inverse of ``pack_rows``: (rows, columns)."""
    kind = {1: "<i1", 2: "<i2", 4: "<i4"}[where.element_bytes]
    padded = np.frombuffer(content[: rows * where.pitch_bytes], dtype=kind).reshape(rows, -1)
    return padded[:, : where.columns].astype(np.int64)
