"""Emit the design of a plan: RTL, HLS C++, memory image, program. Equal plans give equal bytes."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from edgewright.hw.blocks.config import EngineConfig
from edgewright.hw.blocks.operation import FIELDS
from edgewright.hw.cost import Cycles, program_of, rtl_files
from edgewright.hw.hls_vectors import hls_vectors
from edgewright.hw.kernel.cpp import Printer, support_files
from edgewright.hw.kernel.cpp_bench import BENCH, hls_bench
from edgewright.hw.kernel.cpp_vitis import vitis_tcl
from edgewright.hw.kernel.cpp_wrapper import hls_wrapper
from edgewright.hw.operations.product import whole
from edgewright.hw.plan import Plan
from edgewright.hw.registers import c_header
from edgewright.hw.views import StoredView
from edgewright.passes.documents import to_json
from edgewright.passes.ir.graph import Node
from edgewright.passes.ir.types import Int, Quant
from edgewright.passes.ops.arith import limit

IMAGE = "memory/image.bin"


@cache
def hls_files(config: EngineConfig, part: str) -> Mapping[str, str]:
    """Return the engine's Vitis HLS C++, its test bench, the Tcl script that builds the IP, and the module around that."""
    program = program_of(config)
    printer = Printer(program)
    files = printer.files() | {BENCH: hls_bench(program)}
    asked = [(label, nest.name) for nest in printer.nests for label in nest.pipelines]
    script = vitis_tcl(printer.top, part, config.clock_mhz, files, asked)
    return files | support_files() | {"vitis.tcl": script, f"{program.name}.sv": hls_wrapper(program)}


def emit(plan: Plan, cycles: Cycles, part: str) -> dict[str, bytes]:
    """Return the files of a design by relative path."""
    files: dict[str, bytes] = {}
    for name, text in rtl_files(plan.config).items():
        files[f"rtl/{name}"] = text.encode()
    files["rtl/engine_registers.h"] = c_header().encode()
    for name, text in hls_files(plan.config, part).items():
        files[f"hls/{name}"] = text.encode()
    for name, content in hls_vectors(plan).items():
        files[f"hls/vectors/{name}"] = content
    files[IMAGE] = plan.external_image
    files["memory/map.json"] = to_json(memory_map(plan))
    files["memory/program.json"] = to_json(program(plan, cycles))
    return files


def memory_map(plan: Plan) -> list[dict[str, Any]]:
    """List every region with its address, size and kind; inputs and outputs also with the layout that a host needs.

    Inputs say what a host writes: ``integer`` of a real, clamped to ``lowest`` and ``highest``. The engine multiplies two int8
    products in one DSP, which is right within these only: -128 is not among them. ``made``: how a host makes those that it
    writes in another form; biases are bytes of int32, which nothing clamps.
    An output that is a part of a stored value has its own row after the regions: ``region`` and ``offset_bytes`` locate it,
    ``address`` is that of its first element, ``pitch_bytes`` the distance of its rows.
    """
    rows: list[dict[str, Any]] = []
    by_address = {address: node for node, address in plan.addresses.items()}
    written = {region.address for region in plan.regions if region.kind == "output"}
    names = {plan.addresses[view.root]: name for name, view in named_outputs(plan) if view.is_whole}
    names = {address: name for address, name in names.items() if address in written}
    for region in plan.regions:
        row: dict[str, Any] = {
            "name": names.get(region.address, region.name),
            "kind": region.kind,
            "address": region.address,
            "bytes": region.size_bytes,
        }
        node = by_address.get(region.address)
        if node is not None and region.kind in ("input", "output"):
            row |= host_layout(plan, whole(node), node.quant)
        if node is not None and region.kind == "input":
            made = plan.windows.get(node)
            if made is None or node.quant is not None:
                row |= host_range(node)
            if made is not None:
                row["made"] = made.recipe()
        rows.append(row)
    listed = {row["name"] for row in rows if row["address"] in names}
    starts = {region.address: region for region in plan.regions}
    for output, (name, view) in zip(plan.graph.outputs, named_outputs(plan), strict=True):
        if name in listed and view.is_whole:
            continue
        region = starts[plan.addresses[view.root]]
        address, where = plan.address(view), host_layout(plan, view, output.quant)
        size = (view.rows - 1) * where["pitch_bytes"] + view.columns * where["element_bytes"]
        rows.append(
            {
                "name": name,
                "kind": "output",
                "address": address,
                "bytes": size,
                **where,
                "region": names.get(region.address, region.name),
                "offset_bytes": address - region.address,
            }
        )
    return rows


def named_outputs(plan: Plan) -> list[tuple[str, StoredView]]:
    """Return the graph's outputs by name."""
    return list(zip(plan.graph.output_names, plan.outputs, strict=True))


def host_layout(plan: Plan, view: StoredView, quant: Quant | None) -> dict[str, Any]:
    """Return how a host writes or reads some rows and columns, and the quantisation of their integers."""
    where = plan.layouts[view.root]
    return {
        "rows": view.rows,
        "columns": view.columns,
        "element_bytes": where.element_bytes,
        "pitch_bytes": plan.storage.pitch(view),
        "scale": None if quant is None else quant.scale,
        "zero_point": None if quant is None else quant.zero_point,
    }


def host_range(node: Node) -> dict[str, Any]:
    """Return how a host makes the integers of an input, and the range that it clamps them to, as ``arith.saturate`` does."""
    assert isinstance(node.elem, Int)
    lowest, highest = (-limit(node.elem), limit(node.elem)) if node.elem.signed else (0, node.elem.highest)
    made = {} if node.quant is None else {"integer": "floor(real / scale + 0.5) + zero_point"}
    return {**made, "lowest": lowest, "highest": highest}


def program(plan: Plan, cycles: Cycles) -> list[dict[str, Any]]:
    """List the descriptors: operation, columns stored, predicted cycles, and every field that is not zero."""
    return [
        {
            "operation": step.operation.name,
            "kind": step.operation.kind,
            "first_column": step.first_column,
            "columns": step.columns,
            "macs": step.macs,
            "predicted_cycles": predicted,
            "fields": {name: step.fields[name] for name in FIELDS if step.fields[name]},
        }
        for step, predicted in zip(plan.steps, cycles.steps, strict=True)
    ]
