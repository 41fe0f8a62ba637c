"""The ports of a printed module, with comments: what each carries, from where, and by which handshake."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass, field
from itertools import groupby

from edgewright.hw.kernel import ir
from edgewright.hw.kernel.sv_expr import COLUMNS, bit_range, dimension, filled
from edgewright.hw.kernel.types import Struct, Type, leaves, shape_of, width

KEPT = "~"
"""Stands for a space at which no line is broken."""


def dimensions(bits: int, count: int) -> str:
    """Return the dimensions of `count` values of `bits` each, with the space behind them."""
    return f"[{count - 1}:0]{dimension(bits) or ' '}" if count > 1 else dimension(bits)


@dataclass(slots=True)
class Ports:
    """Ports in groups, each under a comment of one or more lines."""

    lines: list[tuple[str, str]] = field(default_factory=list)  # declaration and comment; no declaration: a line of its own

    def group(self, *comment: str) -> None:
        """Begin a group."""
        for line in comment:
            parts = [line] if len(line) <= COLUMNS else filled(line, "  ").splitlines()
            self.lines += [("", part) for part in parts]

    def add(self, direction: str, name: str, bits: int, comment: str, count: int = 1, attribute: str = "") -> None:
        """Add a port of `count` values of `bits` each."""
        self.lines.append((f"{attribute}{direction:6} logic {dimensions(bits, count)}{name}", comment))

    @property
    def names(self) -> list[str]:
        """The names of the ports."""
        return [port.rpartition(" ")[2] for port, _ in self.lines if port]

    def text(self) -> list[str]:
        """Return the lines of the port list, without the parentheses; the comments of a group stand below each other."""
        last = max(at for at, (port, _) in enumerate(self.lines) if port)
        out: list[str] = []
        for has_port, group in groupby(enumerate(self.lines), key=lambda item: bool(item[1][0])):
            lines = [(f"{port}{',' if at != last else ''}", comment) for at, (port, comment) in group]
            column = max(len(port) for port, _ in lines)
            out += [f"  {port:{column}}  // {comment}" if has_port else f"  // {comment}" for port, comment in lines]
        return out


def clocking(ports: Ports) -> None:
    """Add clock and reset."""
    ports.add("input", "clk_i", 1, "the only clock")
    ports.add("input", "rst_ni", 1, "reset of the control, synchronous, active low")


# what they carry -----------------------------------------------------------------------------------------------------


def described(type_: Type, what: str) -> list[str]:
    """Return the end of a sentence that says how a token or element is packed, and lines for its fields."""
    bits = width(type_)
    if not isinstance(type_, Struct):
        packed = f", {bits} bits, the first element in the lowest" if shape_of(type_) else ""
        return [f"{what} is {type_}{packed}"]
    parts = (f"{'_'.join(path)} {t} {bit_range(at + width(t) - 1, at)}" for path, t, at in leaves(type_))
    lines = textwrap.wrap(", ".join(part.replace(" ", KEPT) for part in parts), COLUMNS - 8)
    return [f"{what} is {type_.name}, {bits} bits:", *(f"  {line.replace(KEPT, ' ')}" for line in lines)]


def summary(type_: Type) -> str:
    """Return a type in a few words."""
    return f"{type_.name}, {width(type_)} bits" if isinstance(type_, Struct) else str(type_)


def end_of(who: str | None) -> str:
    """Return a reader or writer as a comment names it."""
    kind, _, name = (who or "nothing").partition(" ")
    words = {"input": "input", "output": "output", "axi_read": "AXI master", "axi_write": "AXI master"}
    return f"{words[kind]} {name}" if name else f"process {kind}"


def banks(buffer: ir.Buffer) -> str:
    """Return the size of a memory."""
    if buffer.ring:
        window = f", read in windows of up to {buffer.window}" if buffer.window > 1 else ""
        return f"ring of {buffer.depth} elements{window}"
    return f"buffer of {buffer.banks} banks, {buffer.depth} elements each"


def stream_in(ports: Ports, channel: ir.Channel, attribute: str = "", kind: str = "stream", whence: str | None = None) -> None:
    """Add a stream that is read."""
    first, *fields = described(channel.type, "a token")
    ports.group(f"{channel.name}: {kind} from {whence or end_of(channel.writer)}; {first}", *fields)
    ports.add("input", f"{channel.name}_valid_i", 1, "there is a token")
    ports.add("output", f"{channel.name}_ready_o", 1, "it is taken, if there is one", attribute=attribute)
    ports.add("input", f"{channel.name}_data_i", width(channel.type), "the token")


def stream_out(ports: Ports, channel: ir.Channel) -> None:
    """Add a stream that is written by credits."""
    first, *fields = described(channel.type, "a token")
    ports.group(f"{channel.name}: stream to {end_of(channel.reader)}, by credits; {first}", *fields)
    ports.add("output", f"{channel.name}_valid_o", 1, "a token for the FIFO, which has room for it")
    ports.add("output", f"{channel.name}_data_o", width(channel.type), "the token")
    ports.add("input", f"{channel.name}_credit_i", 1, "a token has left the FIFO: room for one more")


def stream_off(ports: Ports, channel: ir.Channel) -> None:
    """Add a stream that leaves the block."""
    first, *fields = described(channel.type, "a token")
    ports.group(f"{channel.name}: stream out of the block; {first}", *fields)
    ports.add("output", f"{channel.name}_valid_o", 1, "there is a token")
    ports.add("input", f"{channel.name}_ready_i", 1, "it is taken, if there is one")
    ports.add("output", f"{channel.name}_data_o", width(channel.type), "the token")


def store_port(ports: Ports, buffer: ir.Buffer, address_bits: int, lanes: int) -> None:
    """Add what a process needs to write a memory."""
    b, ring = buffer.name, buffer.ring
    first, *fields = described(buffer.type, "an element")
    ports.group(f"{b}: {banks(buffer)}, written here for {end_of(buffer.reader)}; {first}", *fields)
    ports.add("input", f"{b}_ready_i", 1, "a place is free" if ring else "a bank is free")
    ports.add("output", f"{b}_acquire_o", 1, "it is taken, at issue")
    ports.add("output", f"{b}_store_o", 1, "the element is appended" if ring else "the element is written")
    ports.add("output", f"{b}_data_o", width(buffer.type), "the element")
    if not ring:
        ports.add("output", f"{b}_address_o", address_bits, "where in the bank")
        ports.add("output", f"{b}_mask_o", lanes, "parts of the element that are written" if lanes > 1 else "always 1")
        ports.add("output", f"{b}_commit_o", 1, "the bank is complete")


def load_port(ports: Ports, buffer: ir.Buffer, address_bits: int, count: int) -> None:
    """Add what a process needs to read a memory at `count` addresses in a cycle."""
    b, ring = buffer.name, buffer.ring
    first, *fields = described(buffer.type, "an element")
    ports.group(f"{b}: {banks(buffer)}, written by {end_of(buffer.writer)}, read here; {first}", *fields)
    ports.add("input", f"{b}_ready_i", 1, "there is an element" if ring else "a bank is complete")
    ports.add("output", f"{b}_acquire_o", 1, "it is taken, at issue")
    ports.add("output", f"{b}_address_o", address_bits, "where in the window" if ring else "where in the bank", count)
    ports.add("output", f"{b}_last_o", 1, "the window ends" if ring else "the last address in this bank", count)
    if ring:
        ports.add("output", f"{b}_fresh_o", 1, "the window takes an element, at this address")
    ports.add("input", f"{b}_data_i", width(buffer.type), "the element, three cycles after its address", count)
    ports.add("output", f"{b}_release_o", 1, "the oldest element is free again" if ring else "the bank is free again")
