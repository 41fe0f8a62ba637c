"""The kernel language: a block is described once, in Python, and interpreted, printed as SystemVerilog and as HLS C++.

b = Block("scale")
x = b.input("x", i(8)[4])
y = b.output("y", i(8)[4])

@b.process(loops=[("k", 1)])
def scale(p, k):
    v = p.read(x)
    p.write(y, sat(round_shift(v * 3, 1), i(8)))
"""

from edgewright.hw.kernel.evaluate import KernelError
from edgewright.hw.kernel.interp import Deadlock, interpret
from edgewright.hw.kernel.narrowing import sat_shift, wrap_shift
from edgewright.hw.kernel.schedule import ProcessSchedule, latency, schedule
from edgewright.hw.kernel.sv_block import to_systemverilog
from edgewright.hw.kernel.trace import Block, ProcessTrace
from edgewright.hw.kernel.types import Array, Data, Done, Int, Request, Struct, i, u, width
from edgewright.hw.kernel.value import (
    StructValue,
    Value,
    absolute,
    bit_length,
    bits,
    cat_bits,
    clamp,
    concat,
    const,
    dot,
    first,
    fit,
    index,
    last,
    maximum,
    minimum,
    multiply,
    reinterpret,
    round_shift,
    sat,
    select,
    shl,
    shr,
    stack,
    struct,
    wrap,
)

__all__ = [
    "Array",
    "Block",
    "Data",
    "Deadlock",
    "Done",
    "Int",
    "KernelError",
    "ProcessSchedule",
    "ProcessTrace",
    "Request",
    "Struct",
    "StructValue",
    "Value",
    "absolute",
    "bit_length",
    "bits",
    "cat_bits",
    "clamp",
    "concat",
    "const",
    "dot",
    "first",
    "fit",
    "i",
    "index",
    "interpret",
    "last",
    "latency",
    "maximum",
    "minimum",
    "multiply",
    "reinterpret",
    "round_shift",
    "sat",
    "sat_shift",
    "schedule",
    "select",
    "shl",
    "shr",
    "stack",
    "struct",
    "to_systemverilog",
    "u",
    "width",
    "wrap",
    "wrap_shift",
]
