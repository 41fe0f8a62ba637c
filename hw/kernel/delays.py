"""What a piece of printed hardware takes, in nanoseconds and in registers: the table that schedules and chains are made by.

The delays are a rule of thumb for UltraScale+ in speed grade -2 with average routing; no tool here verifies them."""

from __future__ import annotations

from edgewright.hw.kernel import ir
from edgewright.hw.kernel.types import Struct, elem_of, shape_of, width

PERIOD_NS = 3.33
MARGIN_NS = 0.4  # setup and clock uncertainty
REGISTER_NS = 0.25  # clock to output
MEMORY_NS = 0.5  # the same of a memory's output register, which stands where its column is
GATE_NS = 0.25  # one look-up table and its net
EFFECT_NS = 0.4  # into a FIFO or memory
DSP_NS = 2.2  # from the registers before a multiplier to the one behind it
CASCADE_STAGES = 3
"""Registers of a DSP before its sum: operands, pre-adder, product; a sum of n products has n more."""
LUT_PRODUCT_STAGES = 2
READ_LATENCY = 3  # address register, the memory's own, its output register
SMALL = 64
"""Words that a look-up table holds as memory, one bit of each; where nothing else is asked for, larger memories are blocks."""
FAN_OUT = 256
"""Flip-flops that one copy of a control signal drives; the printer asks for more copies where there are more."""


def bits_of(node: ir.Node) -> int:
    return width(node.type)


def adder(bits: int) -> float:
    return 0.3 + 0.02 * bits


def equality(bits: int) -> float:
    return 0.3 + 0.01 * bits


def choice(bits: int) -> float:
    """Return what it takes to choose one of 2^bits values."""
    return 0.2 + 0.2 * bits


def fan_out(loads: int) -> float:
    """Return what a net with this many loads takes beyond an average one: a copy drives `FAN_OUT` of them, and the net before
    the copies drives those."""
    copies = -(-loads // FAN_OUT)
    return 0.08 * (max(0, min(loads, FAN_OUT).bit_length() - 4) + max(0, copies.bit_length() - 1))


def is_multiplier(node: ir.Node) -> bool:
    """Return whether a Mul uses a DSP (registered on both sides) rather than a few LUTs."""
    if not isinstance(node.op, ir.Mul) or node.op.luts:
        return False
    a, b = (elem_of(x.type).bits for x in node.args)
    for x in node.args:
        if isinstance(x.op, ir.Const) and max(abs(v).bit_count() for v in x.op.values) <= 2:
            return False
    return a > 1 and b > 1 and a + b > 6


def uses_dsp(node: ir.Node) -> bool:
    """Return whether a node's operands go to registers of a DSP."""
    return is_multiplier(node) or isinstance(node.op, ir.Cascade)


def in_luts(node: ir.Node) -> bool:
    """Return whether a node is a product in the cell lut_products."""
    return isinstance(node.op, ir.Mul) and node.op.luts


def registers_operands(node: ir.Node) -> bool:
    """Return whether a node takes its operands from registers."""
    return uses_dsp(node) or in_luts(node)


def lut_rows_ns() -> float:
    """Return what the two rows of a product take that are between two registers of lut_products, of 11 bits each."""
    return 2 * (GATE_NS + adder(11)) + fan_out(2 * 11)


def line_bits(node: ir.Node) -> int:
    """Return the bits of an address of a delay line."""
    assert isinstance(node.op, ir.Delay)
    return max(1, (node.op.most - 1).bit_length())


def multiplier_latency(node: ir.Node) -> int:
    """Return the registers after a product: one for 27 x 18 bits, more where several DSPs are joined."""
    a, b = sorted((elem_of(x.type).bits + (not elem_of(x.type).signed) for x in node.args), reverse=True)
    if a <= 27 and b <= 18:
        return 1
    tiles = -(-a // 26) * -(-b // 17)
    return 2 if tiles <= 2 else 3 if tiles <= 4 else 4


WIRES = (ir.Const, ir.Strided, ir.Part, ir.Shl, ir.Shr, ir.Bits, ir.CatBits, ir.Concat, ir.Reinterpret)


def delay_ns(node: ir.Node) -> float:
    """Return the combinational delay of a node; for clocked nodes that of the logic before the register. An operand that has
    fewer bits than the result, such as a select, drives several of it."""
    if isinstance(node.op, (*WIRES, ir.Counter, ir.First, ir.Last, ir.Following, ir.Cascade)):
        return 0.0
    if isinstance(node.op, (ir.Command, ir.Read)):
        return REGISTER_NS
    if isinstance(node.op, ir.Load):
        return bank_ns(node.op.buffer)
    if isinstance(node.op, ir.Store):
        return EFFECT_NS if node.op.buffer.ring else bank_ns(node.op.buffer) + EFFECT_NS
    if isinstance(node.op, (ir.Lookup, ir.Write)):
        return EFFECT_NS
    if isinstance(node.op, ir.Delay):
        return GATE_NS + adder(line_bits(node)) + equality(line_bits(node)) + GATE_NS  # the place after this one
    loads = max((bits_of(node) // bits_of(a) for a in node.args if not isinstance(a.op, ir.Const)), default=1)
    return logic_ns(node) + fan_out(loads)


def logic_ns(node: ir.Node) -> float:
    """Return the delay of the look-up tables of a node."""
    op = node.op
    bits = max((elem_of(n.type).bits for n in (*node.args, node) if not isinstance(n.type, Struct)), default=1)
    if isinstance(op, (ir.Add, ir.Sub, ir.Neg)):
        return adder(bits)
    if isinstance(op, (ir.Min, ir.Max, ir.Abs)):
        return adder(bits) + 0.25
    if isinstance(op, ir.Compare):
        return adder(bits) if op.kind not in ("eq", "ne") else 0.3 + 0.01 * bits
    if isinstance(op, (ir.And, ir.Or, ir.Xor, ir.Select)):
        return 0.25
    if isinstance(op, ir.Not):
        return 0.1
    if in_luts(node):
        return lut_rows_ns()
    if isinstance(op, ir.Mul):
        return 0.3 if min(elem_of(a.type).bits for a in node.args) == 1 else adder(bits) + 0.3
    if isinstance(op, (ir.ShlBy, ir.ShrBy)):
        return 0.2 + 0.2 * min(elem_of(node.args[1].type).bits, bits.bit_length())
    if isinstance(op, ir.BitLength):
        return 0.3 + 0.25 * bits.bit_length()
    if isinstance(op, ir.Cast):
        return 0.5 + 0.01 * bits if op.mode == "sat" else 0.0
    if isinstance(op, ir.Index):
        return choice((shape_of(node.args[0].type)[0] - 1).bit_length())
    if isinstance(op, ir.Accumulate):
        return adder(bits) + 0.25
    if isinstance(op, (ir.ShiftIn, ir.Hold)):
        return 0.2
    raise AssertionError(op)


def bank_ns(buffer: ir.Buffer) -> float:
    """Return what it takes to add the place of a bank to an address; in a ring, which wraps anywhere, it takes two sums."""
    if buffer.ring:
        return 2 * adder((buffer.depth - 1).bit_length() + 1) + GATE_NS
    return adder(max(1, (buffer.banks * buffer.depth - 1).bit_length()))


def guard_of(node: ir.Node) -> ir.Node | None:
    """Return the predicate of a running value, None where each iteration changes it."""
    op = node.op
    if isinstance(op, ir.Hold) or (isinstance(op, ir.ShiftIn) and op.guarded):
        return node.args[1]
    return node.args[3] if isinstance(op, ir.Delay) and op.guarded else None


def enabled_bits(node: ir.Node) -> int:
    """Return the flip-flops that an iteration enables in a running value; a delay line enables the others itself."""
    return bits_of(node.args[0]) if isinstance(node.op, ir.Delay) else bits_of(node)


def output_ns(node: ir.Node) -> float:
    """Return when the last register of a clocked node gives its value."""
    block = isinstance(node.op, ir.Load) or (isinstance(node.op, ir.Lookup) and len(node.op.rom.values) > SMALL)
    return MEMORY_NS if block else REGISTER_NS


def clocked_latency(node: ir.Node) -> int:
    """Return the number of registers inside a node, 0 for combinational ones."""
    if isinstance(node.op, ir.Delay):
        return 3 if node.op.block else 2
    if isinstance(node.op, ir.STATE):
        return 1
    if isinstance(node.op, (ir.Load, ir.Lookup)):
        return READ_LATENCY
    if isinstance(node.op, ir.Read):
        return 1 if node.op.guarded else 0
    if isinstance(node.op, ir.Cascade):
        return CASCADE_STAGES + shape_of(node.args[0].type)[1]
    return multiplier_latency(node) if is_multiplier(node) else LUT_PRODUCT_STAGES if in_luts(node) else 0
