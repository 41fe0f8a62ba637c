"""Print the SystemVerilog module in which the IP of Vitis HLS takes the place of a block's processes.

It has the name and the ports of the block that `sv_block` prints: the same movers, on-chip memory and FIFOs, with the IP's
AXI-Streams between them, so that what instantiates the block takes either. The write mover gives the token on `done`, after
the write response."""

from __future__ import annotations

from dataclasses import replace

from edgewright.hw.kernel import ir
from edgewright.hw.kernel.cpp import Printer
from edgewright.hw.kernel.cpp_words import Word, ports_of
from edgewright.hw.kernel.sv_block import TopPrinter

INSTANCE = "{}_0"
"""Module of the IP: what Vivado's create_ip calls the first instance of one."""


def hls_wrapper(program: ir.Program) -> str:
    """Return the text of the module `<block>` around the IP of the top function `<block>_hls`."""
    printer = Printer(program)
    names = {c.name: list(zip(found, printer.carriers.words(c), strict=True)) for c, found in printer.port.items()}
    return Wrapper(streams_only(program), names, INSTANCE.format(printer.top)).text()


def streams_only(program: ir.Program) -> ir.Program:
    """Return a program without processes and buffers: its ports, and the FIFOs, movers and memory in front of them."""
    inputs, outputs = ports_of(program)
    made = {c: replace(c, writer=None, reader=None, depth=max(2, c.depth)) for c in (*inputs, *outputs)}
    axi = [
        replace(a, requests=made[a.requests], data=made[a.data], done=None if a.done is None else made[a.done])
        for a in program.axi
    ]
    return ir.Program(
        program.name,
        [made[c] for c in program.inputs],
        [made[c] for c in program.outputs],
        [made[c] for c in program.channels if c in made],
        axi=axi,
        on_chip=program.on_chip,
    )


class Wrapper(TopPrinter):
    """`names`: of each channel at the IP, its AXI-Streams and the words that they carry."""

    def __init__(self, program: ir.Program, names: dict[str, list[tuple[str, Word]]], module: str) -> None:
        super().__init__(program, {c: c.depth for c in program.channels})
        self.names, self.module = names, module

    def process(self, p: ir.Process) -> None:
        raise AssertionError("the processes are in the IP")

    def text(self) -> str:
        self.ip()
        head, _, rest = super().text().partition("\n")
        assert head.startswith("///")
        note = (
            f"/// Block {self.program.name} with the IP of Vitis HLS as its processes: instead of {self.program.name}.sv\n"
            f"/// and the modules of processes. vitis.tcl makes the IP; in Vivado: create_ip -module_name {self.module}.\n"
        )
        return note + rest

    def ip(self) -> None:
        """Print the instance of the IP; its AXI-Streams are whole bytes, the first bits of them a token."""
        inputs, _ = ports_of(self.program)
        pins = [("ap_clk", "clk_i"), ("ap_rst_n", "rst_ni")]
        for c in self.program.channels:
            streams, side = self.names[c.name], "out" if c in inputs else "in"
            if len(streams) > 1:
                raise ValueError(f"a token of the port {c.name} has more bits than an AXI-Stream")
            for name, word in streams:
                data, spare = f"{c.name}_{side}_data", word.bits - word.used
                if side == "in" and spare:
                    self.wires.append(f"logic [{word.bits - 1}:0] {c.name}_tdata;")
                    self.wires.append(f"logic unused_{c.name}_tdata;  // the bits that make it whole bytes")
                    self.cells.append(f"  assign {data} = {c.name}_tdata[{word.used - 1}:0];")
                    self.cells.append(f"  assign unused_{c.name}_tdata = ^{c.name}_tdata[{word.bits - 1}:{word.used}];")
                    data = f"{c.name}_tdata"
                elif spare:
                    data = f"{{{spare}'b0, {data}}}"
                pins += [(f"{name}_TDATA", data), (f"{name}_TVALID", f"{c.name}_{side}_valid")]
                pins += [(f"{name}_TREADY", f"{c.name}_{side}_ready")]
        self.cells.append(f"  {self.module} i_ip (\n" + ",\n".join(f"    .{a}({b})" for a, b in pins) + "\n  );")


__all__ = ["hls_wrapper"]
