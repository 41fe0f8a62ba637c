"""How the printed C++ carries tokens and elements: words of at most 4,096 bits, the widest that Vitis HLS gives a FIFO, a
memory or a port.

A number, and a struct of numbers between two processes, is carried as it is. What has an array in it, every port and every
memory is carried as unsigned words of packed bits, laid out as everywhere else (`kernel.types`): no array of structs and no
array of several axes is then left to the tool. What is wider than a word is cut between two elements into several words, each
with a stream or memory of its own, and so are the lanes of a masked store, and a memory that several loads of one iteration
read has a copy for each."""

from __future__ import annotations

from dataclasses import dataclass, field

from edgewright.hw.kernel import ir
from edgewright.hw.kernel.cpp_types import TypeNames
from edgewright.hw.kernel.types import Int, Struct, Type, elem_of, leaves, shape_of, size_of, width

WORD_BITS = 4096
URAM_DEPTH = 4096
LARGE_BITS = 18_432
"""Bits of half a block RAM: larger memories and FIFOs are bound, smaller ones the tool may place."""
LUTRAM_DEPTH = 64
"""Words up to which a memory without a style of its own is made of LUTs, 64 of which are one SLICEM's RAM."""
IMPLEMENTATIONS = {"block": "bram", "ultra": "uram", "distributed": "lutram"}


@dataclass(frozen=True, slots=True)
class Run:
    """Successive elements of one leaf in a word: which leaf, its first element and their number, and their lowest bit."""

    path: tuple[str, ...]
    elem: Int
    first: int
    count: int
    low: int


@dataclass(frozen=True, slots=True)
class Word:
    bits: int
    runs: tuple[Run, ...]

    @property
    def type(self) -> str:
        return f"UInt<{self.bits}>"

    @property
    def used(self) -> int:
        """Return the bits without the padding of a port."""
        return sum(run.count * run.elem.bits for run in self.runs)


def words_of(type_: Type, lanes: int = 1, port: bool = False) -> tuple[Word, ...]:
    """Cut the packed bits of a type into words of at most 4,096 bits, even ones if there are several.

    `lanes`: cut it into as many parts first. `port`: round each word up to 8, 16, 32 ... bits, as an AXI-Stream is.
    ValueError: a number is wider than a word."""
    if lanes > 1:
        inner = size_of(shape_of(type_)[1:])
        one = words_of(elem_of(type_)[inner])
        return tuple(
            Word(w.bits, tuple(Run((), r.elem, lane * inner + r.first, r.count, r.low) for r in w.runs))
            for lane in range(lanes)
            for w in one
        )
    widest = max(elem_of(leaf).bits for _, leaf, _ in leaves(type_))
    if widest > WORD_BITS:
        raise ValueError(f"the C++ has no number of {widest} bits, only of up to {WORD_BITS}")
    total = width(type_)
    room = max(widest, -(-total // -(-total // WORD_BITS)))
    words: list[Word] = []
    runs: list[Run] = []
    bits = 0
    for path, leaf, _ in leaves(type_):
        e, count = elem_of(leaf), size_of(shape_of(leaf))
        at = 0
        while at < count:
            if bits + e.bits > room:
                words.append(Word(bits, tuple(runs)))
                runs, bits = [], 0
            n = min(count - at, (room - bits) // e.bits)
            runs.append(Run(path, e, at, n, bits))
            at, bits = at + n, bits + n * e.bits
    words.append(Word(bits, tuple(runs)))
    return tuple(Word(padded(w.bits), w.runs) for w in words) if port else tuple(words)


def padded(bits: int) -> int:
    """Return the bits of an AXI-Stream for a token: a power of two, of at least one byte."""
    return max(8, 1 << (bits - 1).bit_length())


def plain(type_: Type) -> bool:
    """Return whether a type is a number or a struct of numbers that fits into a word."""
    return width(type_) <= WORD_BITS and not any(shape_of(leaf) for _, leaf, _ in leaves(type_))


@dataclass(frozen=True, slots=True)
class BufferWords:
    """The memories that a buffer is made of: `copies` times its words."""

    words: tuple[Word, ...]
    copies: int


@dataclass(slots=True)
class Carriers:
    """How each channel and buffer of a program is carried. `names` are those of the structs that need a declaration."""

    names: TypeNames
    channels: dict[ir.Channel, tuple[Word, ...]] = field(default_factory=dict)
    memories: dict[ir.Buffer, BufferWords] = field(default_factory=dict)

    def words(self, channel: ir.Channel) -> tuple[Word, ...]:
        """Return the words of a channel; none if it carries its tokens as they are."""
        return self.channels.get(channel, ())

    def tokens(self, channel: ir.Channel) -> list[str]:
        """Return the C++ types of the streams of a channel."""
        return [w.type for w in self.words(channel)] or [self.names.token(channel.type)]

    def streams(self, what: ir.Channel | ir.Buffer) -> list[str]:
        """Return the C++ types of the streams, or streams of blocks, of a channel or buffer, without depths."""
        if isinstance(what, ir.Channel):
            return [f"hls::stream<{t}>" for t in self.tokens(what)]
        memory = self.memories[what]
        if what.ring:
            return [f"hls::stream<{w.type}>" for w in memory.words]
        blocks = [f"hls::stream_of_blocks<{self.block(what, w)}, {what.banks}>" for w in memory.words]
        return blocks * memory.copies

    def block(self, buffer: ir.Buffer, word: Word) -> str:
        return f"{word.type}[{buffer.depth}]"

    def suffixed(self, what: ir.Channel | ir.Buffer) -> list[str]:
        """Return the names of the streams of a channel or buffer: its own, or with the number of a copy and of a word."""
        if isinstance(what, ir.Channel) or what.ring:
            count = len(self.streams(what))
            return [what.name] if count == 1 else [f"{what.name}_{n}" for n in range(count)]
        memory, one = self.memories[what], len(self.memories[what].words) == 1
        copies = [what.name] if memory.copies == 1 else [f"{what.name}_copy_{c}" for c in range(memory.copies)]
        return [copy if one else f"{copy}_{w}" for copy in copies for w in range(len(memory.words))]


def ports_of(program: ir.Program) -> tuple[list[ir.Channel], list[ir.Channel]]:
    """Return the channels that the C++ has as inputs and as outputs: the program's, and those of its AXI ports."""
    inputs, outputs = list(program.inputs), list(program.outputs)
    for axi in program.axi:
        outputs.append(axi.requests)
        (inputs if axi.done is None else outputs).append(axi.data)
        if axi.done is not None:
            inputs.append(axi.done)
    return inputs, outputs


def check_widths(program: ir.Program) -> None:
    """ValueError: a process has a number that is wider than a word, or packs more bits than that into one."""
    for process in program.processes:
        for node in process.nodes():
            if isinstance(node.type, Struct):
                continue
            bits = width(node.type) if isinstance(node.op, ir.Reinterpret) else elem_of(node.type).bits
            if bits > WORD_BITS:
                where = f"process {process.name}, {node.where}"
                raise ValueError(f"{where}: the C++ has no number of {bits} bits, only of up to {WORD_BITS}")


def carriers_of(program: ir.Program, names: TypeNames) -> Carriers:
    """Decide how the channels and buffers of a program are carried. ValueError: a number is wider than a word."""
    check_widths(program)
    inputs, outputs = ports_of(program)
    ports = {*inputs, *outputs}
    out = Carriers(names)
    for channel in program.channels:
        if channel in ports or not plain(channel.type):
            out.channels[channel] = words_of(channel.type, port=channel in ports)
    for buffer in program.buffers:
        stores = [n for p in program.processes for n in p.effects if isinstance(n.op, ir.Store) and n.op.buffer is buffer]
        masked = any(isinstance(n.op, ir.Store) and n.op.masked for n in stores)
        loads = [n for p in program.processes for n in p.effects if isinstance(n.op, ir.Load) and n.op.buffer is buffer]
        readers = 1 if buffer.ring else sum(size_of(shape_of(n.args[0].type)) for n in loads)
        lanes = shape_of(buffer.type)[0] if masked else 1
        out.memories[buffer] = BufferWords(words_of(buffer.type, lanes), max(1, readers))
    return out


def declared(program: ir.Program) -> list[Type]:
    """Return the types of tokens that are carried as structs."""
    inputs, outputs = ports_of(program)
    return [c.type for c in program.channels if c not in (*inputs, *outputs) and isinstance(c.type, Struct) and plain(c.type)]


def ring_fifo(ring: ir.Buffer) -> tuple[int, str]:
    """Return depth and style of the FIFO in front of a ring's window, which has a memory of its own here.

    Together they hold what the ring does. Where that is no more than one UltraRAM deep, which cannot be divided, or hardly more
    than the window, the window has it and the FIFO is short: the writer is then less far ahead than in the RTL."""
    if ring.window == 1:
        return max(2, ring.depth), ring.style
    if ring.window > LUTRAM_DEPTH and ring.depth - ring.window <= LUTRAM_DEPTH:
        return LUTRAM_DEPTH, "distributed"
    depth = max(2, ring.window, ring.depth - ring.window)
    if ring.style != "ultra":
        return depth, ring.style
    if ring.depth <= URAM_DEPTH:
        return LUTRAM_DEPTH, "distributed"
    whole = depth // URAM_DEPTH * URAM_DEPTH
    return (whole if whole >= ring.window else depth), ring.style


def implementation(style: str, bits: int, depth: int) -> str:
    """Return of what a memory of words is made. `style`: that of the buffer, "auto" if it has none."""
    if style in IMPLEMENTATIONS:
        return IMPLEMENTATIONS[style]
    return "lutram" if depth <= LUTRAM_DEPTH or bits * depth <= LARGE_BITS else "bram"


def fifo_implementation(bits: int, depth: int, style: str = "auto") -> str:
    """Return of what a FIFO of words is made, empty where that is left to the tool."""
    if style in IMPLEMENTATIONS:
        return IMPLEMENTATIONS[style]
    if bits * depth <= LARGE_BITS:
        return ""
    return "srl" if depth <= 32 else "bram"


__all__ = [
    "BufferWords",
    "Carriers",
    "Run",
    "Word",
    "carriers_of",
    "declared",
    "fifo_implementation",
    "implementation",
    "ports_of",
    "ring_fifo",
    "words_of",
]
