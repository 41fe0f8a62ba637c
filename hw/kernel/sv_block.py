"""Print a block as SystemVerilog: one module per process; FIFOs, ping-pong buffers and movers joined in a top module."""

from __future__ import annotations

from pathlib import Path

from edgewright.hw.kernel import axi, ir
from edgewright.hw.kernel.delays import PERIOD_NS, SMALL
from edgewright.hw.kernel.schedule import entries, has_bypass, place_all
from edgewright.hw.kernel.sv_cells import CELLS, cells_of
from edgewright.hw.kernel.sv_expr import dimension
from edgewright.hw.kernel.sv_ports import Ports, banks, clocking, dimensions, end_of, stream_in, stream_off, summary
from edgewright.hw.kernel.sv_process import ProcessPrinter, address_bits, lanes_of, ports_of
from edgewright.hw.kernel.symbols import Symbols
from edgewright.hw.kernel.trace import Block
from edgewright.hw.kernel.types import Data, Request, width

RTL = Path(__file__).resolve().parent.parent / "rtl"
DOT_CELLS = CELLS["dot_cascade"]


def to_systemverilog(block: Block | ir.Program, period_ns: float = PERIOD_NS) -> dict[str, str]:
    """Return files by name: `<block>.sv` (the top module `<block>`), `<block>_<process>.sv`, and the cells that they use."""
    program = block.check() if isinstance(block, Block) else block
    stages = place_all(program, period_ns)
    sizes = {c: entries(c, stages) for c in program.channels}
    files: dict[str, str] = {}
    for process in program.processes:
        module = f"{program.name}_{process.name}"
        printer = ProcessPrinter(process, stages[process.name], module, sizes)
        files[f"{module}.sv"] = printer.text()
    files[f"{program.name}.sv"] = TopPrinter(program, sizes).text()
    cells = {"fifo"} | {"ring" if b.ring else "pingpong" for b in program.buffers}
    cells |= {cell for process in program.processes for cell in cells_of(process)}
    cells |= {"memory_hub", "hub_reader", "hub_writer", "hub_banks"} if program.on_chip is not None else set()
    cells |= {"axi_write_mover" if a.done is not None else "axi_read_mover" for a in program.axi}
    for cell in sorted(cells):
        files[f"{cell}.sv"] = (RTL / f"{cell}.sv").read_text()
    return files


STORE_PINS = {"address": "addr", "mask": "mask", "commit": "commit"}
"""Signals of a store to a bank: as the process names them, and as the memory does."""


def style_of(buffer: ir.Buffer) -> str:
    """Return what a memory is made of; where the description leaves that open, its depth decides."""
    if buffer.style != "auto":
        return buffer.style
    return "distributed" if buffer.banks * buffer.depth <= SMALL else "block"


class TopPrinter:
    def __init__(self, program: ir.Program, sizes: dict[ir.Channel, int]) -> None:
        self.program, self.sizes = program, sizes
        self.ports = Ports()
        self.wires: list[str] = []
        self.cells: list[str] = []
        self.symbols = Symbols()

    def text(self) -> str:
        p = self.program
        clocking(self.ports)
        for c in p.inputs:
            stream_in(self.ports, c, whence="outside")
        for c in p.outputs:
            stream_off(self.ports, c)
        for a in p.axi:
            self.axi(a)
        if p.on_chip is not None:
            self.memory_hub(p.on_chip)
        for c in p.channels:
            self.channel(c)
        for b in p.buffers:
            self.buffer(b)
        for process in p.processes:
            self.process(process)
        head = [f"/// Block {p.name}: {len(p.processes)} processes.", f"module {p.name} (", *self.ports.text(), ");"]
        wires = "\n".join(f"  {w}" for w in self.wires)
        return "\n".join(head) + f"\n{wires}\n\n" + "\n\n".join(self.cells) + "\nendmodule\n"

    def instance(
        self, module: str, parameters: dict[str, object], name: str, pins: list[tuple[str, str]], says: str = ""
    ) -> None:
        """Print an instance under a comment that says what it is for."""
        values = ", ".join(f".{k}({v})" for k, v in parameters.items())
        head = f"  {module} #({values}) {name} (" if parameters else f"  {module} {name} ("
        pins = [("clk_i", "clk_i"), ("rst_ni", "rst_ni"), *pins]
        self.cells.append(
            (f"  // {says}\n" if says else "") + head + "\n" + ",\n".join(f"    .{a}({b})" for a, b in pins) + "\n  );"
        )

    def channel(self, c: ir.Channel) -> None:
        n, bits = c.name, width(c.type)
        port = c in self.program.inputs
        counts = not port and c.by_process  # its writer, credits
        pins = [
            ("in_valid_i", f"{n}_valid_i" if port else f"{n}_in_valid"),
            ("in_ready_o", f"{n}_ready_o" if port else f"{n}_in_ready"),
            ("in_data_i", f"{n}_data_i" if port else f"{n}_in_data"),
        ]
        out = c in self.program.outputs
        pins += [
            ("out_valid_o", f"{n}_valid_o" if out else f"{n}_out_valid"),
            ("out_ready_i", f"{n}_ready_i" if out else f"{n}_out_ready"),
            ("out_data_o", f"{n}_data_o" if out else f"{n}_out_data"),
            ("credit_o", f"{n}_credit" if counts else f"unused_{n}_credit"),
        ]
        self.wires.append(f"logic {n}_credit;" if counts else f"logic unused_{n}_credit;  // its writer observes ready instead")
        if not port:
            self.wires += [f"logic {n}_in_valid, {n}_in_ready;", f"logic {dimension(bits)}{n}_in_data;"]
        if not out:
            self.wires += [f"logic {n}_out_valid, {n}_out_ready;", f"logic {dimension(bits)}{n}_out_data;"]
        says = f"{n}: {end_of(c.writer)} to {end_of(c.reader)}; a token is {summary(c.type)}"
        style = '"distributed"' if self.sizes[c] > 2 else '"registers"'
        parameters: dict[str, object] = {"Width": bits, "Depth": self.sizes[c]}
        parameters |= {} if has_bypass(c) else {"Bypass": "1'b0"}
        self.instance("fifo", parameters | {"Style": style}, f"i_{n}_fifo", pins, says)
        if counts:
            self.cells.append(
                f"`ifndef SYNTHESIS\n  always_ff @(posedge clk_i) begin\n"
                f"    if (rst_ni) assert (!{n}_in_valid || {n}_in_ready) "
                f'else $error("{n}: a token without room");\n  end\n`endif'
            )

    def buffer(self, b: ir.Buffer) -> None:
        writer = next(p for p in self.program.processes if p.name == b.writer)
        reader = next(p for p in self.program.processes if p.name == b.reader)
        masked = any(isinstance(s.op, ir.Store) and s.op.buffer is b and s.op.masked for s in writer.effects)
        lanes, bits = lanes_of(b, masked), width(b.type)
        count, address, n = ports_of(reader.effects, b).count, address_bits(b), b.name
        self.wires += [
            f"logic {n}_wr_ready, {n}_wr_acquire, {n}_wr_valid{'' if b.ring else f', {n}_wr_commit'};",
            f"logic {dimension(bits)}{n}_wr_data;",
            f"logic {n}_rd_ready, {n}_rd_acquire, {n}_rd_release{f', {n}_rd_fresh' if b.ring else ''};",
            f"logic {dimensions(address, count)}{n}_rd_addr;",
            f"logic {dimension(count)}{n}_rd_last;",
            f"logic {dimensions(bits, count)}{n}_rd_data;",
        ]
        pins = [(f"wr_{k}_o" if k == "ready" else f"wr_{k}_i", f"{n}_wr_{k}") for k in ("ready", "acquire", "valid", "data")]
        pins += [
            (f"rd_{k}_o" if k in ("ready", "data") else f"rd_{k}_i", f"{n}_rd_{k}")
            for k in ("ready", "acquire", "addr", "last", "data", "release")
        ]
        style = f'"{style_of(b)}"'
        says = f"{n}: {end_of(b.writer)} to {end_of(b.reader)}; {banks(b)}, an element is {summary(b.type)}"
        if b.ring:
            parameters: dict[str, object] = {"Depth": b.depth, "Window": b.window, "Width": bits, "Style": style}
            self.instance("ring", parameters, f"i_{n}", [*pins, ("rd_fresh_i", f"{n}_rd_fresh")], says)
            return
        self.wires += [f"logic {dimension(address)}{n}_wr_addr;", f"logic {dimension(lanes)}{n}_wr_mask;"]
        pins += [(f"wr_{k}_i", f"{n}_wr_{k}") for k in ("addr", "mask", "commit")]
        parameters = {"Depth": b.depth, "Banks": b.banks, "Lanes": lanes, "LaneWidth": bits // lanes, "Ports": count}
        self.instance("pingpong", parameters | {"Style": style}, f"i_{n}_banks", pins, says)

    def process(self, p: ir.Process) -> None:
        pins: list[tuple[str, str]] = []
        reads = [p.command] if p.command is not None else []
        reads += [n.op.channel for n in p.effects if isinstance(n.op, ir.Read)]
        for c in reads:
            pins += [(f"{c.name}_valid_i", f"{c.name}_out_valid"), (f"{c.name}_ready_o", f"{c.name}_out_ready")]
            pins += [(f"{c.name}_data_i", f"{c.name}_out_data")]
        for node in p.effects:
            if isinstance(node.op, ir.Write):
                n = node.op.channel.name
                pins += [(f"{n}_valid_o", f"{n}_in_valid"), (f"{n}_data_o", f"{n}_in_data"), (f"{n}_credit_i", f"{n}_credit")]
        for lock in p.locks:
            n = lock.buffer.name
            if lock.role == "store":
                pins += [(f"{n}_ready_i", f"{n}_wr_ready"), (f"{n}_acquire_o", f"{n}_wr_acquire")]
                pins += [(f"{n}_store_o", f"{n}_wr_valid"), (f"{n}_data_o", f"{n}_wr_data")]
                if not lock.buffer.ring:
                    pins += [(f"{n}_{long}_o", f"{n}_wr_{short}") for long, short in STORE_PINS.items()]
            else:
                pins += [(f"{n}_ready_i", f"{n}_rd_ready"), (f"{n}_acquire_o", f"{n}_rd_acquire")]
                pins += [(f"{n}_address_o", f"{n}_rd_addr"), (f"{n}_last_o", f"{n}_rd_last")]
                pins += [(f"{n}_data_i", f"{n}_rd_data"), (f"{n}_release_o", f"{n}_rd_release")]
                pins += [(f"{n}_fresh_o", f"{n}_rd_fresh")] if lock.buffer.ring else []
        self.instance(f"{self.program.name}_{p.name}", {}, f"i_{p.name}", pins)

    def axi(self, a: ir.AxiPort) -> None:
        signals = axi.WRITE if a.done is not None else axi.READ
        pins: list[tuple[str, str]] = []
        self.ports.group(f"m_axi_{a.name}: AXI4 master that {'writes' if a.done is not None else 'reads'}, words of 16 bytes")
        for direction, name, bits in signals:
            self.ports.add(direction, f"m_axi_{a.name}_{name}", bits, axi.MEANINGS[name])
            pins.append((f"m_axi_{name}", f"m_axi_{a.name}_{name}"))
        r, d = (f"{a.name}_ext_req", f"{a.name}_ext_data") if a.hub else (a.requests.name, a.data.name)
        pins += [("req_valid_i", f"{r}_out_valid"), ("req_ready_o", f"{r}_out_ready"), ("req_data_i", f"{r}_out_data")]
        if a.done is None:
            pins += [("data_valid_o", f"{d}_in_valid"), ("data_ready_i", f"{d}_in_ready"), ("data_data_o", f"{d}_in_data")]
        else:
            t = a.done.name
            pins += [("data_valid_i", f"{d}_out_valid"), ("data_ready_o", f"{d}_out_ready"), ("data_data_i", f"{d}_out_data")]
            pins += [("done_valid_o", f"{t}_in_valid"), ("done_ready_i", f"{t}_in_ready"), ("done_data_o", f"{t}_in_data")]
        pins.append(("error_o", f"unused_{a.name}_error"))
        self.wires.append(f"logic unused_{a.name}_error;  // who sees the AXI port sees its responses too")
        module = "axi_write_mover" if a.done is not None else "axi_read_mover"
        parameters: dict[str, object] = {"AddrWidth": axi.ADDRESS_BITS, "DataWidth": axi.DATA_BITS}
        parameters |= {"Depth": a.ahead} if a.done is None else {}
        says = f"{a.name}: from requests of {a.requests.name} to bursts of its AXI port"
        self.instance(module, parameters, f"i_{a.name}", pins, says)

    def memory_hub(self, memory: ir.OnChipMemory) -> None:
        """Print the on-chip memory between the streams of its ports and their movers."""
        reads = [a for a in reversed(self.program.axi) if a.hub and a.done is None]  # the first in the lowest bits
        (write,) = (a for a in self.program.axi if a.hub and a.done is not None)
        for a in (*reads, write):
            for wire, bits in (("req_out", width(Request)), ("data_in" if a.done is None else "data_out", width(Data))):
                self.wires.append(f"logic {a.name}_ext_{wire}_valid, {a.name}_ext_{wire}_ready;")
                self.wires.append(f"logic {dimension(bits)}{a.name}_ext_{wire}_data;")

        def each(text: str) -> str:
            return "{" + ", ".join(text.format(r=a.requests.name, d=a.data.name, x=f"{a.name}_ext") for a in reads) + "}"

        pins = [
            ("req_valid_i", each("{r}_out_valid")),
            ("req_ready_o", each("{r}_out_ready")),
            ("req_data_i", each("{r}_out_data")),
            ("data_valid_o", each("{d}_in_valid")),
            ("data_ready_i", each("{d}_in_ready")),
            ("data_data_o", each("{d}_in_data")),
            ("ext_req_valid_o", each("{x}_req_out_valid")),
            ("ext_req_ready_i", each("{x}_req_out_ready")),
            ("ext_req_data_o", each("{x}_req_out_data")),
            ("ext_data_valid_i", each("{x}_data_in_valid")),
            ("ext_data_ready_o", each("{x}_data_in_ready")),
            ("ext_data_data_i", each("{x}_data_in_data")),
        ]
        r, d, x = write.requests.name, write.data.name, f"{write.name}_ext"
        for inner, outer, kind in ((r, f"{x}_req", "req"), (d, f"{x}_data", "data")):
            pins += [(f"write_{kind}_valid_i", f"{inner}_out_valid"), (f"write_{kind}_ready_o", f"{inner}_out_ready")]
            pins += [(f"write_{kind}_data_i", f"{inner}_out_data"), (f"ext_write_{kind}_valid_o", f"{outer}_out_valid")]
            pins += [(f"ext_write_{kind}_ready_i", f"{outer}_out_ready"), (f"ext_write_{kind}_data_o", f"{outer}_out_data")]
        parameters: dict[str, object] = {"NumRead": len(reads), "Banks": memory.banks, "Words": memory.words}
        self.instance("memory_hub", parameters, "i_memory_hub", pins, f"on-chip memory: the first {memory.words} words")
