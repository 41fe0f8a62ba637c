"""Print the SystemVerilog around a block under test: a source per input, a sink per output, one memory for its AXI
masters. Nothing in it needs Python while the clock runs."""

from __future__ import annotations

from edgewright.hw.kernel import axi
from edgewright.sim.ports import ModulePorts

TOP = "block_bench"
# Everything starts at random, rst_ni and the clock too: an edge before the first reset must count as a reset.
RESET = [
    "  logic was_reset, reset_n;",
    "  initial was_reset = 1'b0;",
    "  always @(posedge clk_i) if (!rst_ni) was_reset <= 1'b1;",
    "  assign reset_n = rst_ni && was_reset;",
]


def harness(top: str, ports: ModulePorts, words: int) -> str:
    """Return module `block_bench` around `top`, with a memory of `words` 16-byte words if it has AXI masters."""
    lines = [
        f"/// Test bench of {top}.",
        f"module {TOP} (",
        "  input  logic        clk_i,",
        "  input  logic        rst_ni,",
        "  output logic        done_o,",
        "  output logic [31:0] first_o,",
        "  output logic [31:0] last_o",
        ");",
        "  int unsigned seed, idle, stall, quiet, settle;",
        "  initial begin",
        *(
            f'    if (!$value$plusargs("{name}=%d", {name})) {name} = {default};'
            for name, default in (("seed", 1), ("idle", 0), ("stall", 0), ("quiet", 5000), ("settle", 200))
        ),
        "  end",
    ]
    lines += RESET
    connections = [".clk_i", ".rst_ni(reset_n)"]
    activity: list[str] = []
    for index, (name, width) in enumerate([*ports.inputs.items(), *ports.outputs.items()]):
        is_input = name in ports.inputs
        lines += _stream(name, width, index, is_input)
        wires = ("valid_i", "ready_o", "data_i") if is_input else ("valid_o", "ready_i", "data_o")
        connections += [f".{name}_{wire}({name}_{wire[:-2]})" for wire in wires]
        activity.append(f"{name}_valid && {name}_ready")
    if ports.reads or ports.writes:
        lines += _memory(ports, words, connections, activity)
    for name in ports.outputs:
        lines += [
            f"  int unsigned {name}_expected;",
            f'  initial if (!$value$plusargs("expect_{name}=%d", {name}_expected)) {name}_expected = 0;',
        ]
    taken = " || ".join(f"{name}_valid && {name}_ready" for name in ports.inputs) or "1'b1"
    moved_out = " || ".join(f"{name}_valid && {name}_ready" for name in ports.outputs) or "active"
    complete = " && ".join(f"{name}_received >= {name}_expected" for name in ports.outputs) or "1'b0"
    lines += [
        f"  {top} i_block (",
        ",\n".join(f"    {connection}" for connection in connections),
        "  );",
        "  logic active, complete, started_q, done_q;",
        "  logic [31:0] now_q, quiet_q, complete_q;",
        f"  assign active = {' || '.join(activity) or chr(48)};",
        f"  assign complete = {complete};",
        "  assign done_o = done_q;",
        "  always_ff @(posedge clk_i) begin",
        "    if (!reset_n) begin",
        "      now_q <= 0; quiet_q <= 0; complete_q <= 0; started_q <= 0; done_q <= 0; first_o <= 0; last_o <= 0;",
        "    end else begin",
        "      now_q <= now_q + 1;",
        "      quiet_q <= active ? 0 : quiet_q + 1;",
        "      complete_q <= complete ? complete_q + 1 : 0;",
        f"      if (!started_q && ({taken})) begin started_q <= 1; first_o <= now_q; end",
        f"      if ({moved_out}) last_o <= now_q;",
        "      done_q <= done_q || quiet_q >= quiet || (complete && quiet_q >= settle)",
        "                || complete_q >= 8 * settle + quiet;",
        "    end",
        "  end",
        "endmodule",
    ]
    return "\n".join(lines) + "\n"


def _stream(name: str, width: int, index: int, is_input: bool) -> list[str]:
    cell, file, count = ("source", f"{name}.in.bin", "sent") if is_input else ("sink", f"{name}.out.hex", "received")
    ends = (".valid_o", ".ready_i", ".data_o") if is_input else (".valid_i", ".ready_o", ".data_i")
    rate = ".idle_i(9'(idle))" if is_input else ".stall_i(9'(stall)), .close_i(done_o)"
    valid, ready, data = ends
    return [
        f"  logic {name}_valid, {name}_ready;",
        f"  logic [{width - 1}:0] {name}_data;",
        f"  logic [31:0] {name}_{count} /* verilator public_flat_rd */;",
        f'  stream_{cell} #(.Width({width}), .Index({index}), .File("{file}")) i_{name} (',
        f"    .clk_i, .rst_ni(reset_n), .seed_i(seed), {rate},",
        f"    {valid}({name}_valid), {ready}({name}_ready), {data}({name}_data), .{count}_o({name}_{count})",
        "  );",
    ]


def _memory(ports: ModulePorts, words: int, connections: list[str], activity: list[str]) -> list[str]:
    lines: list[str] = []
    links: list[str] = []
    for names, signals in ((ports.reads, axi.READ), (ports.writes, axi.WRITE)):
        count = max(1, len(names))
        for direction, signal, width in signals:
            end = "i" if direction == "output" else "o"  # of the memory
            lines.append(f"  logic [{count - 1}:0][{(width or 1) - 1}:0] {signal};")
            links.append(f".{signal}_{end}({signal})")
            for index, name in enumerate(names):
                if f"m_axi_{name}_{signal}" in ports.widths:
                    connections.append(f".m_axi_{name}_{signal}({signal}[{index}])")
                elif end == "i":
                    lines.append(f"  assign {signal}[{index}] = '0;")
            if not names and end == "i":
                lines.append(f"  assign {signal} = '0;")
    activity += [f"|({channel}valid & {channel}ready)" for channel in ("ar", "r", "aw", "w", "b")]
    sizes = f".NumRead({max(1, len(ports.reads))}), .NumWrite({max(1, len(ports.writes))}), .Words({words})"
    return [
        *lines,
        f"  axi_ram #({sizes}) i_ram (",
        "    .clk_i, .rst_ni(reset_n),",
        ",\n".join(f"    {link}" for link in links),
        "  );",
    ]
