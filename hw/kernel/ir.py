"""The intermediate representation of a block: what the interpreter, the scheduler and the printers read.

A `Block` is a set of `Process`es joined by `Channel`s (streams), `Buffer`s (ping-pong memories) and `Rom`s. A `Process`
is one nest of counted loops around one straight-line body, one iteration per clock; its nodes form a DAG of `Node(op,
args, type)`, identity-hashed and immutable. The type of a node is `Int` or `Array` (any rank), except Command, Read and
Load, whose type is the type of the token or element and may be a `Struct`; only `Part` takes a struct.

Conventions: elementwise ops broadcast like numpy (shapes aligned at the last axis). Every result type is exact: no op loses
bits, except Cast and stateful ops with a declared type. Flattening is row-major; packing puts element 0 (first field) in
the low bits. Shift amounts are unsigned.

Sources
  Const(values)       flat row-major tuple of Python ints, shape from the type
  Counter(loop)       loop variable of loops[loop] (0 = outermost), unsigned scalar
  First(loop) Last(loop) u1: counter == 0; counter == bound - 1
  Command()           the command token of this execution of the nest (struct or scalar)
  Part(path)          (struct-valued Command/Read/Load) -> the leaf at `path`, names from the outside in; on a Load with
                      a vector of n addresses the leaf's shape has a leading n
  Read(channel, guarded) ([when]) one token if `when` (or unguarded), else the last value read. `when` is control: it depends on
                      Const, Counter, First, Last, Command only. One Read per channel and process
  Load(buffer)        (address) element; address () -> element, address (n,) -> n elements (leading axis n)
  Lookup(rom)         (index) like Load, from a constant table
Elementwise
  Add Sub Mul And Or Xor (a, b)                        Sub, Neg are always signed; Add/Mul/logic signed if either is. Mul(luts)
                      is made of LUTs where a DSP would do
  Neg Not             (a)                           Not keeps the type (two's complement of the same width)
  Compare(kind)       (a, b) -> u1; kind in eq ne lt le gt ge, on the mathematical values
  Min Max             (a, b)                        type = narrowest that holds the range
  Abs                 (a) -> unsigned
  Select              (c, a, b) -> a where c else b
  Shl(amount) Shr(amount) (a) constant amounts; Shr is arithmetic (floor) and drops the bits from the type
  ShlBy               (a, n) -> exact unless the type is narrower than growth asks for, then it must fit (asserted, wraps)
  ShrBy               (a, n) floor(a / 2^n), type of a
  BitLength           (a) a unsigned -> number of significant bits (0 for 0)
  Bits(high, low)     (a) the bit field as unsigned
  CatBits             (a, b, ...) concatenation of the two's complement patterns, FIRST argument least significant
  Cast(mode)          (a) to the node's type. wrap: keep the low bits (also the exact widening); sat: clamp to the type's range;
                      fit: asserted to be in range, then wrap
Structure
  Strided(offset, strides) (a) result[i0, i1, ..] = flat(a)[offset + sum(strides[d] * i_d)]: slices, transposes, constant
                      indices, broadcasts (stride 0), reshapes, all at once. Element type unchanged. len(strides) == rank
  Concat(axis)        (a, b, ...) along an existing axis, same element type
  Index               (a, i) -> a[i] along axis 0, i scalar -> shape[1:], i (n,) -> (n, *shape[1:]); i must be in range
  Reinterpret         (a) the same packed bits as another Int/Array type of the same total width
  Reduce(kind, axes)  (a) kind in add max min and or; `axes` removed; type = narrowest that holds the range
  Dot                 (a [T, K], w [O, K]) -> [T, O] sum over K of a*w; operands i8 within [-127, 127] (asserted)
State (each executes once per iteration, in order of iterations)
  Accumulate(kind)    (x, clear) running value including x, restarted with x where clear; kind in add max min or; the result
                      type holds the running value (asserted); clear must be true in the first iteration
  ShiftIn(count, guarded) (x, [when]) -> [count, *shape]; index count-1 is the newest x; shifts only where when. Initially zeros
  Hold                (x, when) x where when, else the last such x (must exist)
  Delay(count, most, guarded) (x, n, clear, [when]) -> [count, *shape]; at index k the x of (k + 1) * n shifts ago, of those
                      since the last one with clear; any value where there are not as many. It shifts where when, and clear
                      must be true in the first shift. n depends on the command only, `least` <= n <= most
Effects (type is u1 and never read)
  Write(channel, guarded) (leaf values in order of `leaves(type)`.., [when]); when may depend on data. One per channel, process
  Store(buffer, guarded, masked)   (address, leaf values..., [mask], [when]); mask u1[n] over the first axis of the element
  A Load of a ring has three more arguments, all control: (address, fresh, free, last). fresh: it takes the next element, whose
                      address is the number of those that its window took before; free: it gives the oldest element back;
                      last: its window ends, the next one begins behind what it took
One Store per buffer; any number of Loads, one of a ring. `Process.locks` gives the loop for which a bank is held: one bank per
iteration of loop `level` (-1: one per execution of the nest). The writer's bank passes to the reader when its scope ends.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal

from edgewright.hw.kernel.source import Statement
from edgewright.hw.kernel.types import Leaf, Type, leaves

CompareKind = Literal["eq", "ne", "lt", "le", "gt", "ge"]
ReduceKind = Literal["add", "max", "min", "and", "or"]
CastMode = Literal["wrap", "sat", "fit"]
LUTRAM_VALUES = 64
"""Values up to which a delay line is in LUTs, one of which holds 64 bits of memory."""


def is_process(end: str | None) -> bool:
    """Return whether a reader or writer is a process: ports and movers are named by two words."""
    return end is not None and " " not in end


@dataclass(slots=True, eq=False)
class Channel:
    """A stream. It holds `depth` tokens besides those in flight in its writer's pipeline: the FIFO has `depth + slack`
    entries, where slack None means enough for one token per clock (writer latency + 2, or + 3 in a FIFO without a bypass)."""

    name: str
    type: Type
    depth: int
    slack: int | None = None
    writer: str | None = None  # process, "input <port>" or mover
    reader: str | None = None

    @property
    def by_process(self) -> bool:
        """Whether a process writes it, which counts credits."""
        return is_process(self.writer)

    @property
    def between_processes(self) -> bool:
        """Whether a process writes it and another one reads it."""
        return self.by_process and is_process(self.reader)


@dataclass(slots=True, eq=False)
class Buffer:
    """`banks` memories of `depth` elements that pass from one writer process to one reader process and back.

    `ring`: one memory of `depth` elements that pass one by one, in order. The reader takes them into a window of at most
    `window` elements, reads that as often as it likes, and gives them back one by one."""

    name: str
    type: Type
    depth: int
    banks: int
    style: str
    ring: bool = False
    window: int = 0
    writer: str | None = None
    reader: str | None = None

    @property
    def places(self) -> int:
        """What its writer can be ahead by: banks, of a ring elements."""
        return self.depth if self.ring else self.banks

    @property
    def addresses(self) -> int:
        """The number of addresses that a reader or writer may give."""
        return self.window if self.ring else self.depth


@dataclass(slots=True, eq=False)
class Rom:
    """A constant table; `values[i]` is the flat row-major tuple of element i (struct elements are not supported)."""

    name: str
    type: Leaf
    values: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True)
class Op:
    """Base of all node kinds."""


@dataclass(frozen=True, slots=True)
class Const(Op):
    values: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Counter(Op):
    loop: int


@dataclass(frozen=True, slots=True)
class First(Op):
    loop: int


@dataclass(frozen=True, slots=True)
class Last(Op):
    loop: int


@dataclass(frozen=True, slots=True)
class Following(Op):
    """A counter or loop flag of the outermost loop in its next iteration. Only the scheduler makes it."""

    of: Counter | First | Last


@dataclass(frozen=True, slots=True)
class Command(Op):
    pass


@dataclass(frozen=True, slots=True)
class Part(Op):
    path: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Read(Op):
    """`absent`: holding before any read gives zeros (the hold register is reset to zero) instead of an error."""

    channel: Channel
    guarded: bool
    absent: bool = False


@dataclass(frozen=True, slots=True)
class Load(Op):
    buffer: Buffer


@dataclass(frozen=True, slots=True)
class Lookup(Op):
    rom: Rom


@dataclass(frozen=True, slots=True)
class Add(Op):
    pass


@dataclass(frozen=True, slots=True)
class Sub(Op):
    pass


@dataclass(frozen=True, slots=True)
class Mul(Op):
    """`luts`: in LUTs, whatever its operands are (i8 at most); for where DSPs are scarce."""

    luts: bool = False


@dataclass(frozen=True, slots=True)
class And(Op):
    pass


@dataclass(frozen=True, slots=True)
class Or(Op):
    pass


@dataclass(frozen=True, slots=True)
class Xor(Op):
    pass


@dataclass(frozen=True, slots=True)
class Neg(Op):
    pass


@dataclass(frozen=True, slots=True)
class Not(Op):
    pass


@dataclass(frozen=True, slots=True)
class Compare(Op):
    kind: CompareKind


@dataclass(frozen=True, slots=True)
class Min(Op):
    pass


@dataclass(frozen=True, slots=True)
class Max(Op):
    pass


@dataclass(frozen=True, slots=True)
class Abs(Op):
    pass


@dataclass(frozen=True, slots=True)
class Select(Op):
    pass


@dataclass(frozen=True, slots=True)
class Shl(Op):
    amount: int


@dataclass(frozen=True, slots=True)
class Shr(Op):
    amount: int


@dataclass(frozen=True, slots=True)
class ShlBy(Op):
    pass


@dataclass(frozen=True, slots=True)
class ShrBy(Op):
    pass


@dataclass(frozen=True, slots=True)
class BitLength(Op):
    pass


@dataclass(frozen=True, slots=True)
class Bits(Op):
    high: int
    low: int


@dataclass(frozen=True, slots=True)
class CatBits(Op):
    pass


@dataclass(frozen=True, slots=True)
class Cast(Op):
    mode: CastMode


@dataclass(frozen=True, slots=True)
class Strided(Op):
    offset: int
    strides: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Concat(Op):
    axis: int


@dataclass(frozen=True, slots=True)
class Index(Op):
    pass


@dataclass(frozen=True, slots=True)
class Reinterpret(Op):
    pass


@dataclass(frozen=True, slots=True)
class Reduce(Op):
    kind: ReduceKind
    axes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Dot(Op):
    pass


@dataclass(frozen=True, slots=True)
class Cascade(Op):
    """(even [P, K], odd [P, K], w [O, K]) -> [P, O] sum over k of ((odd << shift) + even) * w, all i8, in the cell dot_cascade.
    Only the expander makes it."""

    shift: int


@dataclass(frozen=True, slots=True)
class Accumulate(Op):
    kind: ReduceKind


@dataclass(frozen=True, slots=True)
class ShiftIn(Op):
    count: int
    guarded: bool


@dataclass(frozen=True, slots=True)
class Hold(Op):
    pass


@dataclass(frozen=True, slots=True)
class Delay(Op):
    """A delay line with `count` taps, one after each n values; in block RAM where `most` values are too many for LUTs."""

    count: int
    most: int
    guarded: bool

    @property
    def block(self) -> bool:
        return self.most > LUTRAM_VALUES

    @property
    def least(self) -> int:
        """The smallest n: a block RAM gives back what was written three shifts ago."""
        return 3 if self.block else 1


@dataclass(frozen=True, slots=True)
class Write(Op):
    channel: Channel
    guarded: bool


@dataclass(frozen=True, slots=True)
class Store(Op):
    buffer: Buffer
    guarded: bool
    masked: bool


STATE = (Accumulate, ShiftIn, Hold, Delay)
SYMBOLS: dict[type[Op], str] = {Add: "+", Sub: "-", Mul: "*", And: "&", Or: "|", Xor: "^"}
RELATIONS = {"eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}
"""As SystemVerilog and C++ write them."""
EFFECTS = (Read, Write, Store)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Node:
    """One value (or effect) of a body. `where` is the source line that made it, as `source.origin` gives it."""

    op: Op
    args: tuple[Node, ...]
    type: Type
    where: str = ""

    def __repr__(self) -> str:
        return f"<{type(self.op).__name__} {self.type} at {self.where}>"  # its operands would be told many times over


@dataclass(frozen=True, slots=True)
class WriteParts:
    values: tuple[Node, ...]
    when: Node | None


@dataclass(frozen=True, slots=True)
class StoreParts:
    address: Node
    values: tuple[Node, ...]
    mask: Node | None
    when: Node | None


def write_parts(node: Node) -> WriteParts:
    """Name the arguments of a Write."""
    op = node.op
    assert isinstance(op, Write)
    n = len(list(leaves(op.channel.type)))
    return WriteParts(node.args[:n], node.args[n] if op.guarded else None)


def store_parts(node: Node) -> StoreParts:
    """Name the arguments of a Store."""
    op = node.op
    assert isinstance(op, Store)
    n = 1 + len(list(leaves(op.buffer.type)))
    rest = list(node.args[n:])
    mask = rest.pop(0) if op.masked else None
    when = rest.pop(0) if op.guarded else None
    return StoreParts(node.args[0], node.args[1:n], mask, when)


@dataclass(frozen=True, slots=True)
class Loop:
    """`bound` is an int >= 0 or an unsigned scalar control node over Command and outer Counters."""

    name: str
    bound: int | Node
    counter: Node


@dataclass(frozen=True, slots=True)
class Lock:
    buffer: Buffer
    level: int  # index of the loop, -1: the whole nest
    role: Literal["store", "load"]


@dataclass(slots=True, eq=False)
class Process:
    """One loop nest. `effects` holds every Read, State, Load, Write and Store in program order; `names` maps nodes to the names
    of their values in the Python source (where there is one; unique in the process).

    `inner`: of the names that come from functions that the process calls, the variable there, "" for a parameter, which says
    what the function takes and not what the value is. `place`: where the process's own function stands; `statements`: what
    stands in each of its lines."""

    name: str
    command: Channel | None
    loops: tuple[Loop, ...]
    effects: tuple[Node, ...]
    locks: tuple[Lock, ...]
    names: dict[Node, str] = field(default_factory=dict)
    doc: str = ""
    inner: dict[str, str] = field(default_factory=dict)
    place: str = ""
    statements: dict[str, Statement] = field(default_factory=dict)

    def of(self, kind: type[Op]) -> list[Node]:
        """Return the effect nodes of one kind, in program order."""
        return [n for n in self.effects if isinstance(n.op, kind)]

    def nodes(self) -> list[Node]:
        """Return all nodes of the body, arguments first, effects in program order."""
        return topological(self.effects)


def topological(roots: Iterable[Node]) -> list[Node]:
    """Return `roots` and all that they depend on, arguments first, otherwise in the order of `roots`."""
    order: list[Node] = []
    seen: set[Node] = set()
    for root in roots:
        stack: list[tuple[Node, Iterator[Node]]] = [(root, iter(root.args))]
        if root in seen:
            continue
        seen.add(root)
        while stack:
            node, rest = stack[-1]
            for arg in rest:
                if arg not in seen:
                    seen.add(arg)
                    stack.append((arg, iter(arg.args)))
                    break
            else:
                order.append(node)
                stack.pop()
    return order


def element_flag(node: Node) -> Node | None:
    """Return whether an iteration takes an element of a ring, of its Load, or appends one, of its Store; None: each does."""
    return node.args[1] if isinstance(node.op, Load) else store_parts(node).when


def is_control(node: Node) -> bool:
    """Return whether the value is known at issue: it depends on constants, counters, loop flags and the command only."""
    return not any(isinstance(n.op, (*STATE, Read, Load, Lookup, Dot)) for n in topological([node]))


@dataclass(frozen=True, slots=True)
class AxiPort:
    """An AXI4 master port and its mover. Only writers have `done`. `hub`: whether the program's on-chip memory is between the
    streams and the mover. `ahead`: words that a reader asks for before they are taken, a power of two."""

    name: str
    requests: Channel
    data: Channel
    done: Channel | None
    hub: bool = False
    ahead: int = 64


@dataclass(frozen=True, slots=True)
class OnChipMemory:
    """Memory at the first `words` words of the address space, in banks that are interleaved by word."""

    words: int
    banks: int


@dataclass(slots=True, eq=False)
class Program:
    """A traced Block; all lists in order of declaration."""

    name: str
    inputs: list[Channel] = field(default_factory=list)
    outputs: list[Channel] = field(default_factory=list)
    channels: list[Channel] = field(default_factory=list)  # inputs and outputs included
    buffers: list[Buffer] = field(default_factory=list)
    roms: list[Rom] = field(default_factory=list)
    axi: list[AxiPort] = field(default_factory=list)
    on_chip: OnChipMemory | None = None
    processes: list[Process] = field(default_factory=list)
