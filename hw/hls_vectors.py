"""Make the vectors of the HLS test bench: inputs drawn at random, and what the integer model makes of them.

`vectors/program.txt` describes the memory line by line, as hw/hls/ew_bench.h reads it: the size, the program, files (relative
to its folder) that are loaded, and where the rows of the outputs are, which follow each other in `outputs.bin`."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from edgewright.hw.memory import WORD_BYTES, round_up
from edgewright.hw.plan import Plan, pack_rows
from edgewright.hw.views import StoredView, matrix
from edgewright.passes.input_ranges import MASK, input_ranges
from edgewright.passes.ir.graph import Graph, Node
from edgewright.passes.ir.interp import visit
from edgewright.passes.ir.types import Array
from edgewright.passes.ops import Quantise

IMAGE_FROM_VECTORS = "../../memory/image.bin"
LARGEST = 127
SEED = 1


def hls_vectors(plan: Plan) -> dict[str, bytes]:
    """Return program.txt and the files that it names, but for the memory image. Equal plans give equal bytes."""
    values = values_of(plan)
    lines = [f"memory {round_up(plan.memory_bytes, WORD_BYTES)}", f"start {plan.program_address} {len(plan.steps)}"]
    lines.append(f"load {plan.config.on_chip_bytes} {IMAGE_FROM_VECTORS}")
    files: dict[str, bytes] = {}
    layouts = {address: plan.layouts[node] for node, address in plan.addresses.items()}
    for number, (address, rows) in enumerate(plan.host_values(values).items()):
        files[f"input_{number}.bin"] = pack_rows(rows, layouts[address])
        lines.append(f"load {address} input_{number}.bin")
    expected = b""
    for node, view in zip(plan.graph.outputs, plan.outputs, strict=True):
        for row, content in enumerate(rows_of(plan, view, matrix(node, values[node]))):
            lines.append(f"expect {plan.address(view) + row * plan.storage.pitch(view)} {len(content)}")
            expected += content
    return {"program.txt": ("\n".join(lines) + "\n").encode(), "outputs.bin": expected} | files


def values_of(plan: Plan) -> Mapping[Node, Array]:
    """Return the outputs and all that a host writes or makes it of, of inputs that take all their integers from -127 to 127."""
    regions = {region.address for region in plan.regions if region.kind == "input"}
    written = (node for node, address in plan.addresses.items() if address in regions)
    wanted = {*plan.graph.outputs, *written, *(window.source for window in plan.windows.values())}
    found: dict[Node, Array] = {}

    def see(node: Node, value: Array) -> None:
        if node in wanted:
            found[node] = value

    visit(plan.graph, random_inputs(plan.graph), see)
    return found


def random_inputs(graph: Graph) -> dict[str, Array]:
    """Return a value for each input, drawn with the same seed for every graph: ids within their range, masks all 1."""
    rng = np.random.default_rng(SEED)
    ranges = input_ranges(graph)
    drawn: dict[str, Array] = {}
    for node in graph.inputs:
        if (found := ranges.get(node.name)) is not None:
            drawn[node.name] = (
                np.ones(node.shape, np.int64) if found == MASK else rng.integers(*found, node.shape, endpoint=True)
            )
            continue
        (scale, zero) = next(
            ((n.op.scale, n.op.zero_point) for n in graph.nodes() if isinstance(n.op, Quantise) and n.inputs[0] is node),
            (1 / LARGEST, 0),
        )
        integers = rng.integers(-LARGEST, LARGEST + 1, node.shape)
        drawn[node.name] = ((integers - zero) * scale).astype(np.float32)
    return drawn


def rows_of(plan: Plan, view: StoredView, value: Array) -> list[bytes]:
    """Return the rows of an output, (rows, columns) as stored, as memory holds them, without padding."""
    kind = {1: "<i1", 2: "<i2", 4: "<i4"}[plan.layouts[view.root].element_bytes]
    return [row.tobytes() for row in np.asarray(value).reshape(view.rows, view.columns).astype(kind)]
