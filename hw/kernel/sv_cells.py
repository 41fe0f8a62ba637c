"""Print what a process has of hand-written cells: sums of products, products in LUTs, delay lines."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgewright.hw.kernel import ir
from edgewright.hw.kernel.affine import aligned, flat
from edgewright.hw.kernel.sv_expr import filled
from edgewright.hw.kernel.types import Int, Struct, shape_of, size_of, width

if TYPE_CHECKING:
    from edgewright.hw.kernel.sv_nodes import DataPath

CELLS: dict[str, frozenset[str]] = {
    "dot_cascade": frozenset({"dot_cascade", "dsp_product", "delay"}),
    "lut_products": frozenset({"lut_products"}),
    "delay_line": frozenset({"delay_line"}),
}
"""The cells that a process instantiates, each with those that it consists of."""


def cells_of(process: ir.Process) -> set[str]:
    """Return the cells that a process needs."""
    found: set[str] = set()
    for node in process.nodes():
        if isinstance(node.op, ir.Dot):
            found |= CELLS["dot_cascade"]
        elif isinstance(node.op, ir.Mul) and node.op.luts:
            found |= CELLS["lut_products"]
        elif isinstance(node.op, ir.Delay):
            found |= CELLS["delay_line"]
    return found


def cascade(path: DataPath, node: ir.Node, start: int, ready: int) -> None:
    """Print sums of products as an instance of their cell."""
    assert isinstance(node.op, ir.Cascade)
    pins = []
    for pin, source in zip(("even_i", "odd_i", "weights_i"), node.args, strict=True):
        bits = bus(path, node, pin.removesuffix("_i"), width(source.type))
        path.pack(bits, [(0, source)], start)
        pins.append(f".{pin}({bits})")
    (pairs, terms), outs = shape_of(node.args[0].type), shape_of(node.args[2].type)[0]
    sizes = f".Pairs({pairs}), .Outs({outs}), .Terms({terms}), .Shift({node.op.shift})"
    instance(path, node, ready, f"dot_cascade #({sizes})", "cascade", "sums", pins)


def products(path: DataPath, node: ir.Node, start: int, ready: int) -> None:
    """Print elementwise products of i8 as an instance of their cell."""
    assert not isinstance(node.type, Struct)
    shape, pins = shape_of(node.type), []
    for pin, source in zip(("x_i", "w_i"), node.args, strict=True):
        bits = bus(path, node, pin.removesuffix("_i"), 8 * size_of(shape))
        index = path.index_vars(shape)
        at = flat(index, shape) * 8
        part = f"[{at}+:8]" if at.terms else "[7:0]"
        value = path.operand(source, start, aligned(index, shape_of(source.type))).text
        path.printed[start].add(shape, [f"{bits}{part} = unsigned'({value});"])
        pins.append(f".{pin}({bits})")
    instance(path, node, ready, f"lut_products #(.Count({size_of(shape)}))", "cell", "products", pins)


def delay_line(path: DataPath, node: ir.Node, start: int, ready: int) -> None:
    """Print a delay line as an instance of its cell."""
    op = node.op
    assert isinstance(op, ir.Delay)
    x, n, clear = node.args[:3]
    data = bus(path, node, "data", width(x.type))
    path.pack(data, [(0, x)], start)
    when = f" && {path.scalar(node.args[3], start)}" if op.guarded else ""
    length = path.address(n, start, (), op.most.bit_length())
    pins = [
        f".shift_i({path.valid(start)}{when})",
        f".clear_i({path.scalar(clear, start)})",
        f".length_i({length})",
        f".data_i({data})",
    ]
    bits = op.most.bit_length()
    fits = " && ".join([f"{length} >= {bits}'d{op.least}"] * (op.least > 1) + [f"{length} <= {bits}'d{op.most}"])
    shifts = f"!{path.scalar(node.args[3], start)} || " if op.guarded else ""
    wrong = f'$error("{path.base[node]}: a delay of %0d values", {length})'
    path.printed[start].checks.append(((), [f"assert ({shifts}({fits})) else {wrong};"]))
    sizes = f".Width({width(x.type)}), .Taps({op.count}), .Most({op.most}), .Block({int(op.block)})"
    instance(path, node, ready, f"delay_line #({sizes})", "line", "taps", pins)


def bus(path: DataPath, node: ir.Node, what: str, bits: int) -> str:
    """Declare the packed bits that go to a cell or come from it."""
    name = path.symbols.claim(f"{path.base[node]}_{what}")
    path.declare(node, name, type_=Int(bits, False))
    return name


def instance(path: DataPath, node: ir.Node, ready: int, module: str, name: str, result: str, pins: list[str]) -> None:
    """Print the instance, and the node's value from its output ``result``."""
    assert not isinstance(node.type, Struct)
    out = bus(path, node, result, width(node.type))
    path.packed[out] = width(node.type)
    name = path.symbols.claim(f"{path.base[node]}_{name}")
    text = f"{module} {name} (.clk_i, {', '.join(pins)}, .{result}_o({out}));"
    path.declarations.append(filled(text, "  "))
    path.unpack_from(node.type, path.base[node], [out], path.printed[ready])
