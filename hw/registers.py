"""The engine's AXI4-Lite registers, from which the table and the offsets in `rtl/axil_control.sv` and the C header of a
bundle are printed.

    python -m edgewright.hw.registers      # update the marked lines of axil_control.sv
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from edgewright.hw.blocks.engine import READERS
from edgewright.hw.top import RTL

PORTS = (*READERS, "results")
"""AXI masters, in the order of their error bits."""


@dataclass(frozen=True, slots=True)
class Field:
    """Bits ``high`` to ``low`` of a register; ``access``: rw, ro, wo (reads 0) or w1c (a 1 written clears it)."""

    name: str
    high: int
    low: int
    access: str
    text: str

    @property
    def bits(self) -> str:
        """The range as a table shows it."""
        return str(self.low) if self.high == self.low else f"{self.high}..{self.low}"


@dataclass(frozen=True, slots=True)
class Register:
    """A 32-bit register at a byte ``offset``, with its value after reset."""

    name: str
    offset: int
    reset: int
    fields: tuple[Field, ...]


REGISTERS = (
    Register(
        "control",
        0x00,
        0,
        (
            Field("start", 0, 0, "wo", "run the program; refused if count is 0, ignored while busy"),
            Field("clear", 1, 1, "wo", "clear done and all of errors"),
            Field("interrupt", 2, 2, "rw", "interrupt while done or failed; every write sets it"),
            Field("abort", 3, 3, "wo", "stop the program, complete its AXI transactions, reset the engine; errors stay"),
            Field("forget", 4, 4, "wo", "abort, and forget AXI transactions: the memory was reset and has lost them"),
        ),
    ),
    Register(
        "status",
        0x04,
        0,
        (
            Field("busy", 0, 0, "ro", "a program was started and has neither finished nor been aborted"),
            Field("done", 1, 1, "ro", "a program has finished since the last start"),
            Field("failed", 2, 2, "ro", "one of errors 18..0 is set"),
            Field("draining", 3, 3, "ro", "no program runs, but AXI transactions are outstanding; a start waits for them"),
        ),
    ),
    Register("address_low", 0x08, 0, (Field("address", 31, 0, "rw", "of the program, a multiple of 16"),)),
    Register("address_high", 0x0C, 0, (Field("address", 7, 0, "rw", "bits 39..32"),)),
    Register("count", 0x10, 0, (Field("count", 15, 0, "rw", "descriptors of the program"),)),
    Register("cycles_low", 0x14, 0, (Field("cycles", 31, 0, "ro", "of the last program, or of the running one so far"),)),
    Register("cycles_high", 0x18, 0, (Field("cycles", 31, 0, "ro", "bits 63..32"),)),
    Register("id", 0x1C, 0x45574754, (Field("id", 31, 0, "ro", '"EWGT"'),)),
    Register("version", 0x20, 0x00010000, (Field("version", 31, 0, "ro", "parameter of engine_top"),)),
    Register(
        "errors",
        0x24,
        0,
        (
            *(Field(f"slverr_{port}", bit, bit, "w1c", f"the {port} port received SLVERR") for bit, port in enumerate(PORTS)),
            *(
                Field(f"decerr_{port}", bit, bit, "w1c", f"the {port} port received DECERR")
                for bit, port in enumerate(PORTS, 8)
            ),
            Field("no_progress", 16, 16, "w1c", "no AXI port moved data for `watchdog` cycles; busy stays until an abort"),
            Field("over_limit", 17, 17, "w1c", "the program has run for `cycle_limit` cycles; busy stays until an abort"),
            Field("no_descriptors", 18, 18, "w1c", "a start was refused: count is 0"),
            Field("busy_start", 19, 19, "w1c", "a start was ignored: a program was running. Not counted as failed"),
            Field("forgot", 20, 20, "w1c", "AXI transactions were forgotten. Not counted as failed"),
        ),
    ),
    Register("watchdog", 0x28, 1 << 20, (Field("cycles", 31, 0, "rw", "without progress until no_progress; 0: never"),)),
    Register(
        "cycle_limit", 0x2C, 0, (Field("cycles", 31, 0, "rw", "of a program until over_limit; 0: none; set it before start"),)
    ),
)


def table() -> str:
    """Return the registers as lines of a SystemVerilog comment."""
    lines = []
    for register in REGISTERS:
        lines.append(f"///   0x{register.offset:02x} {register.name}, after reset 0x{register.reset:x}")
        lines += [f"///     {field.bits:>6} {field.access:3} {field.name}: {field.text}" for field in register.fields]
    return "\n".join(lines)


def offsets() -> str:
    """Return the word offsets as SystemVerilog parameters."""
    return "\n".join(f"  localparam logic [3:0] {_camel(register.name)} = {register.offset // 4};" for register in REGISTERS)


def c_header() -> str:
    """Return offsets, values after reset and masks as C macros."""
    lines = ["/* Registers of the engine behind its AXI4-Lite port; rtl/axil_control.sv says what they do. */"]
    lines += ["#ifndef EDGEWRIGHT_REGISTERS_H", "#define EDGEWRIGHT_REGISTERS_H", ""]
    for register in REGISTERS:
        name = f"EW_{register.name.upper()}"
        lines += [f"#define {name} 0x{register.offset:02x}u", f"#define {name}_RESET 0x{register.reset:08x}u"]
        for field in register.fields:
            mask = ((2 << field.high) - 1) & ~((1 << field.low) - 1)
            lines.append(f"#define {name}_{field.name.upper()}_MASK 0x{mask:08x}u /* {field.access}: {field.text} */")
        lines.append("")
    return "\n".join([*lines, "#endif", ""])


def renewed(text: str) -> str:
    """Return ``axil_control.sv`` with its marked lines updated."""
    for name, lines in (("registers", table()), ("offsets", offsets())):
        mark = re.compile(rf"(^ *//+ {name} \(hw/registers\.py\)\n).*?(^ *//+ end of {name}$)", re.M | re.S)
        text, count = mark.subn(lambda match, lines=lines: f"{match[1]}{lines}\n{match[2]}", text)  # type: ignore[misc]
        if count != 1:
            raise ValueError(f"axil_control.sv has {count} places for the {name}")
    return text


def _camel(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_"))


def main() -> None:
    """Update the marked lines of axil_control.sv."""
    file = RTL / "axil_control.sv"
    file.write_text(renewed(file.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
