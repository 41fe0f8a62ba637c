"""Derive the initiation interval of each pipeline from what one iteration reads and writes, and from the ports there are.

UG1399, "Managing Pipeline Dependencies" and "Resource Constraints" (UG1448): a memory gives one access per port and cycle, a
stream one token. Accesses on both sides of a condition are counted together, so that the result is an upper bound."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from tests.hw.hls_rules.source import Design, Function, Node, Pragma, Variable, pragma_of, size, split, variable_of

COUNTED = re.compile(r"for \(\s*int (\w+) = 0; \1 < (\d+); \+\+\1\)$")


@dataclass(frozen=True, slots=True)
class Memory:
    """What a name in a function is: bits of an element, elements, and ports; None: as many as are asked for."""

    name: str
    bits: int
    depth: int
    reads: int | None
    writes: int | None
    shared: bool  # reads and writes use the same ports
    arrays: int = 1  # accesses that reading or writing one element takes: of the longest array in a struct


PORTS: Mapping[str, tuple[int | None, int | None, bool]] = {
    "ram_1p": (1, 1, True),
    "ram_2p": (2, 2, True),
    "ram_t2p": (2, 2, True),
    "ram_s2p": (1, 1, False),
    "ram_1wnr": (None, 1, False),
    "rom_1p": (1, 0, False),
    "rom_2p": (2, 0, False),
    "rom_np": (None, 0, False),
}
"""Reads and writes per cycle, and whether they share the ports (UG1399, BIND_STORAGE, table 1)."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A pipeline: what it asks for, what its accesses allow, and because of what."""

    function: str
    loop: str
    line: int
    asked: int
    derived: int
    because: str


@dataclass(slots=True)
class Accesses:
    """Distinct accesses of one iteration by memory or stream."""

    reads: dict[str, dict[str, int]] = field(default_factory=dict)
    writes: dict[str, dict[str, int]] = field(default_factory=dict)


def intervals(design: Design) -> Iterator[Interval]:
    """Yield the pipelines of a design in the order of the text."""
    bound = blocks_of_tasks(design)
    for function in design.functions.values():
        memories = memories_of(design, function, bound.get(function.name, {}))
        for loop, pragma, body in pipelines(function):
            accesses = Accesses()
            gather(body, memories, streams_of(function), {}, {}, accesses)
            derived, because = 1, ""
            for name in [*memories, *streams_of(function)]:
                memory = memories.get(name) or Memory(name, 0, 0, 1, 1, False)
                needed = needs(memory, accesses)
                if needed > derived:
                    reads, writes = (sum(x.get(name, {}).values()) for x in (accesses.reads, accesses.writes))
                    derived, because = needed, f"{name}: {reads} reads and {writes} writes"
            yield Interval(function.name, loop, pragma.line, int(pragma.settings.get("II", "1")), derived, because)


def needs(memory: Memory, accesses: Accesses) -> int:
    """Return the cycles that the accesses of an iteration to one memory take."""
    reads = sum(accesses.reads.get(memory.name, {}).values()) * memory.arrays
    writes = sum(accesses.writes.get(memory.name, {}).values()) * memory.arrays
    if memory.shared and memory.reads is not None:
        return -(-(reads + writes) // memory.reads)
    of_reads = 0 if memory.reads is None else -(-reads // max(1, memory.reads))
    of_writes = 0 if memory.writes is None else -(-writes // max(1, memory.writes))
    return max(of_reads, of_writes)


def pipelines(function: Function) -> Iterator[tuple[str, Pragma, list[Node]]]:
    """Yield (label or name, pragma, statements of an iteration) of each pipeline."""

    def inside(body: list[Node], label: str) -> Iterator[tuple[str, Pragma, list[Node]]]:
        for node in body:
            found = pragma_of(node)
            if found and found.kind == "PIPELINE":
                yield label, found, body
                return
        seen = label
        for node in body:
            if node.text.endswith(":"):
                seen = node.text[:-1].strip()
            if node.body is not None:
                yield from inside(node.body, seen)

    yield from inside(function.body, function.name)


def streams_of(function: Function) -> dict[str, Variable]:
    return {v.name: v for v in [*function.parameters, *function.variables()] if v.type.startswith("hls::stream<")}


def blocks_of_tasks(design: Design) -> dict[str, dict[str, Pragma | None]]:
    """Return by function and parameter how the stream of blocks that a task gives it is bound."""
    found: dict[str, dict[str, Pragma | None]] = {}
    for top in design.tops:
        binds = {p.settings.get("variable", ""): p for p in top.pragmas() if p.kind == "BIND_STORAGE"}
        for called, arguments, _ in design.tasks.values():
            if called in design.functions:
                names = [v.name for v in design.functions[called].parameters]
                found[called] = {name: binds.get(a) for name, a in zip(names, arguments, strict=False)}
    return found


def memories_of(design: Design, function: Function, bound: Mapping[str, Pragma | None]) -> dict[str, Memory]:
    """Return the arrays that a function can see and that are not registers."""
    binds = {p.settings.get("variable", ""): p for p in function.pragmas() if p.kind == "BIND_STORAGE"}
    registers = {
        p.settings.get("variable", "")
        for p in function.pragmas()
        if p.kind == "ARRAY_PARTITION" and p.settings.get("type") == "complete" and "dim" not in p.settings
    }
    packed = {p.settings.get("variable", "") for p in function.pragmas() if p.kind == "AGGREGATE"}
    out: dict[str, Memory] = {}
    for v in [*design.globals, *function.variables()]:
        if v.type in ("hls::read_lock", "hls::write_lock") or v.type.startswith(("hls::read_lock<", "hls::write_lock<")):
            (block,) = split(v.type[v.type.index("<") + 1 : -1])
            element, extents = block_of(block)
            pragma = bound.get(v.made.strip())
            out[v.name] = memory(design, v.name, element, extents, pragma, whole=False)
        elif v.extents and v.name not in registers and v.type != "void":
            out[v.name] = memory(design, v.name, v.type, v.extents, binds.get(v.name), whole=v.name in packed)
    return out


def block_of(text: str) -> tuple[str, tuple[int, ...]]:
    """Return the element and the extents of the type of an array."""
    found = re.fullmatch(r"(.*?)\s*((?:\[\d+\])+)", text.strip())
    if not found:
        raise ValueError(f"a block is an array, not {text!r}")
    return found[1], tuple(int(n) for n in re.findall(r"\d+", found[2]))


def memory(design: Design, name: str, element: str, extents: tuple[int, ...], bind: Pragma | None, whole: bool) -> Memory:
    reads, writes, shared = PORTS["ram_2p"] if bind is None else PORTS[bind.settings["type"].lower()]
    arrays = 1
    if design.is_struct(element) and not whole:
        fields = design.structs.get(element)
        arrays = max(size(f.extents) for f in fields) if fields else int(split(element[4:-1])[1])
    return Memory(name, design.width(element), size(extents), reads, writes, shared, arrays)


def gather(
    body: list[Node],
    memories: Mapping[str, Memory],
    streams: Mapping[str, Variable],
    lanes: Mapping[str, int],
    tied: Mapping[str, frozenset[str]],
    out: Accesses,
) -> None:
    """Add the accesses of some statements. `lanes`: trip counts of the unrolled loops around them; `tied`: the lanes on which
    the value of a name depends."""
    known = dict(tied)
    for node in body:
        if node.body is not None:
            around = dict(lanes)
            if found := COUNTED.match(node.text):
                around[found[1]] = int(found[2])
            note(node, memories, streams, around, known, out)
            gather(node.body, memories, streams, around, known, out)
            continue
        if node.text.startswith("#"):
            continue
        note(node, memories, streams, lanes, known, out)
        if (variable := variable_of(node)) and not variable.extents:
            known[variable.name] = dependence(variable.made, lanes, known)


def dependence(text: str, lanes: Mapping[str, int], known: Mapping[str, frozenset[str]]) -> frozenset[str]:
    words = set(re.findall(r"[A-Za-z_]\w*", text))
    return frozenset(w for w in words if w in lanes).union(*(known[w] for w in words if w in known))


def note(
    node: Node,
    memories: Mapping[str, Memory],
    streams: Mapping[str, Variable],
    lanes: Mapping[str, int],
    known: Mapping[str, frozenset[str]],
    out: Accesses,
) -> None:
    """Add the accesses in one statement."""
    text = node.text
    for found in re.finditer(r"\b(\w+)\.(read|write)(?:_nb)?\(", text):
        if found[1] in streams:
            side = out.reads if found[2] == "read" else out.writes
            times = 1
            for trip in lanes.values():
                times *= trip
            side.setdefault(found[1], {})[f"{node.line}:{found.start()}"] = times
    declared = variable_of(node)
    if declared and declared.extents:
        return
    for found in re.finditer(r"\b(\w+)\[", text):
        if found[1] not in memories:
            continue
        end = closing(text, found.end() - 1)
        index = text[found.end() : end]
        rest = text[end + 1 :].lstrip()
        while rest.startswith("["):  # further axes of a word of several
            inner = closing(rest, 0)
            index += "]" + rest[: inner + 1]
            rest = rest[inner + 1 :].lstrip()
        written = found.start() == 0 or text[: found.start()].endswith(") ")
        side = out.writes if written and rest.startswith("=") and not rest.startswith("==") else out.reads
        times = 1
        for lane in dependence(index, lanes, known):
            times *= lanes.get(lane, 1)
        side.setdefault(found[1], {})[index] = times


def closing(text: str, at: int) -> int:
    """Return where the bracket that opens at `at` closes."""
    depth = 0
    for end in range(at, len(text)):
        depth += (text[end] == "[") - (text[end] == "]")
        if depth == 0:
            return end
    raise ValueError(f"a bracket is not closed: {text}")
