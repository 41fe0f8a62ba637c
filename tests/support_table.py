"""The support table of the documentation: operators of the graph against the machines that run them.

python -m tests.support_table          # print it
"""

from __future__ import annotations

from edgewright.frontend.onnx_writing.float import FLOAT_WRITERS
from edgewright.frontend.onnx_writing.integer import INTEGER_WRITERS
from edgewright.hw.fuse import IMPLEMENTS
from edgewright.passes import ops
from edgewright.passes.ir.op import Op
from edgewright.passes.ops import Dequantise, Quantise, ReduceMean
from edgewright.passes.ops.groups import ONLY_QUANTISED, OPERATORS, WINDOWS
from edgewright.passes.quantisation.lowering_structure import ACTIVATIONS
from edgewright.passes.quantisation.quantise import EXPRESSIBLE
from edgewright.targets.cpu.lower import LOWERINGS
from edgewright.targets.lowering.formulas import ELEMENTWISE

LOWERED = (*LOWERINGS, *WINDOWS, ops.Concat, ops.BatchNormalization)

BECOMES: dict[type[Op], str] = {
    **{kind: "becomes Table" for kind in ACTIVATIONS},
    ops.Relu: "part of Requantise, or becomes Table",
    ops.Clip: "part of Requantise, or becomes Table",
    ops.Add: "becomes AddRequantised",
    ops.Sub: "becomes AddRequantised",
    **dict.fromkeys((ops.Exp, ops.Reciprocal, ops.Sign, ops.Sqrt), "becomes Table"),
    ops.Pow: "of one value: becomes Table",
    ops.Div: "yes; by constants: becomes Mul",
    ops.BatchNormalization: "becomes Mul and AddRequantised",
    ops.ConvTranspose: "split by the reader",
    ops.Neg: "becomes Mul",
    ops.Cast: "on the host, for masks",
    ReduceMean: "becomes ReduceSum",
}
NOT_ON_THE_ENGINE = (ops.Sub, ops.Div, ops.Neg, ops.Cast, ops.ConvTranspose)  # nor what they become
YES, NO = "yes", "refused by name"


def kinds() -> list[type[Op]]:
    """Every operator, by name."""
    return sorted(OPERATORS, key=lambda kind: kind.__name__)


def row(kind: type[Op]) -> list[str]:
    """One line of the table."""
    boundary = kind in (ops.Constant, ops.Input)
    writes_float = boundary or kind in FLOAT_WRITERS
    quantised = YES if kind in ONLY_QUANTISED else BECOMES.get(kind, YES if kind in EXPRESSIBLE else NO)
    writes_integer = boundary or kind in INTEGER_WRITERS or kind in (Quantise, Dequantise)
    becomes = kind in BECOMES and kind not in NOT_ON_THE_ENGINE
    target = IMPLEMENTS.get(kind, "see what it becomes" if becomes else "boundary" if kind is Dequantise else NO)
    cpu = YES if boundary or kind in LOWERED or kind in ELEMENTWISE else NO
    return [
        f"`{kind.__name__}`",
        "integers only" if kind in ONLY_QUANTISED else YES,
        "integers only" if kind in ONLY_QUANTISED else YES if writes_float else "no",
        quantised,
        YES if writes_integer else "see what it becomes" if kind in BECOMES else "no",
        target,
        "split by the reader" if kind is ops.ConvTranspose else cpu,
    ]


def table() -> str:
    """The whole table in Markdown."""
    head = ["operator", "float", "float ONNX out", "int8", "integer ONNX out", "zcu104, RTL and HLS C++", "CPUs"]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join([*lines, *("| " + " | ".join(row(kind)) + " |" for kind in kinds())])


if __name__ == "__main__":
    print(table())
