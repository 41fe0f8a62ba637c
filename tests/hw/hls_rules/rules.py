"""What Vitis HLS asks of a design of tasks, as its documentation says for versions 2023.2 to 2025.2, as rules for a text.

Sources: UG1399 ("Vitis High-Level Synthesis User Guide") and UG1448 ("guidance"), both of these versions; issues of
Xilinx/Vitis-HLS-Introductory-Examples and spcl/gemm_hls for messages that the guide does not list. The rules judge a text;
they are no replacement for the tool."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tests.hw.hls_rules.intervals import block_of, intervals
from tests.hw.hls_rules.source import Design, Function, Node, Pragma, Variable, pragma_of, size, split, variable_of

VERSIONS = ("2023.2", "2024.1", "2024.2", "2025.1", "2025.2")
WORD_BITS = 4096
"""Bits of the widest port, and of the widest word of a FIFO or a memory that a struct is aggregated to."""
LARGE_BITS = 18_432
"""Bits of half a block RAM: what is larger has to be bound to a kind of memory."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A place that breaks a rule."""

    rule: str
    line: int
    message: str


@dataclass(frozen=True, slots=True)
class Rule:
    name: str
    source: str
    check: Callable[[Design], Iterator[tuple[int, str]]]


def check(design: Design) -> list[Finding]:
    """Return all places that break a rule, by rule and line."""
    return [Finding(rule.name, line, message) for rule in RULES for line, message in rule.check(design)]


def everything(design: Design) -> Iterator[tuple[Function, Variable]]:
    for function in design.functions.values():
        for v in [*function.parameters, *function.variables()]:
            yield function, v


def channels(design: Design) -> Iterator[tuple[Function, Variable, list[str]]]:
    """Yield the declared streams, with their template arguments."""
    for function, v in everything(design):
        if v.type.startswith(("hls::stream<", "hls::stream_of_blocks<")) and function in design.tops:
            yield function, v, split(v.type[v.type.index("<") + 1 : -1])


def word_width(design: Design) -> Iterator[tuple[int, str]]:
    for _, v, (element, *_) in channels(design):
        word = block_of(element)[0] if v.type.startswith("hls::stream_of_blocks") else element
        if (bits := design.width(word)) > WORD_BITS:
            yield v.line, f"a word of {v.name} has {bits} bits"
    for function in design.functions.values():
        packed = {p.settings.get("variable") for p in function.pragmas() if p.kind == "AGGREGATE"}
        for v in function.variables():
            if v.extents and v.name in packed and design.width(v.type) > WORD_BITS:
                yield v.line, f"an element of {v.name} has {design.width(v.type)} bits"


def reshaped_blocks(design: Design) -> Iterator[tuple[int, str]]:
    blocks = {v.name for _, v, _ in channels(design) if v.type.startswith("hls::stream_of_blocks")}
    for function in design.functions.values():
        for p in function.pragmas():
            if p.kind in ("ARRAY_RESHAPE", "ARRAY_PARTITION") and p.settings.get("variable") in blocks:
                yield p.line, f"{p.kind} of the blocks {p.settings['variable']}"


def block_elements(design: Design) -> Iterator[tuple[int, str]]:
    for _, v, (element, *_) in channels(design):
        if v.type.startswith("hls::stream_of_blocks"):
            word, extents = block_of(element)
            if design.is_struct(word):
                yield v.line, f"the blocks {v.name} are arrays of the struct {word}"
            elif len(extents) > 1:
                yield v.line, f"the blocks {v.name} have {len(extents)} axes"
    for function in design.functions.values():
        for v in function.variables():
            if v.extents and design.is_struct(v.type):
                yield v.line, f"{v.name} is an array of the struct {v.type}"


def asked_interval(design: Design) -> Iterator[tuple[int, str]]:
    for found in intervals(design):
        if found.derived > found.asked:
            yield found.line, f"{found.loop}: II {found.derived}, not {found.asked}, {found.because}"


def bound_storage(design: Design) -> Iterator[tuple[int, str]]:
    for function in design.functions.values():
        bound = {p.settings.get("variable") for p in function.pragmas() if p.kind == "BIND_STORAGE"}
        registers = {p.settings.get("variable") for p in function.pragmas() if p.kind == "ARRAY_PARTITION"}
        for v in function.variables():
            if v.name not in bound | registers and (bits := storage(design, v)) > LARGE_BITS:
                yield v.line, f"{v.name} holds {bits} bits and is not bound"


def storage(design: Design, v: Variable) -> int:
    """Return the bits that a variable holds, of each bank if there are several."""
    if v.type.startswith("hls::stream<"):
        element, depth = [*split(v.type[12:-1]), "2"][:2]
        return design.width(element) * int(depth)
    if v.type.startswith("hls::stream_of_blocks<"):
        word, extents = block_of(split(v.type[v.type.index("<") + 1 : -1])[0])
        return design.width(word) * size(extents)
    return design.width(v.type) * size(v.extents) if v.extents else 0


def defined_before(design: Design, name: str, header: str) -> str | None:
    """Return the value of a macro if it is defined before a header is included, else None."""
    value = None
    for node in design.directives:
        if found := re.match(rf"#\s*define\s+{name}\b\s*(\S*)", node.text):
            value = found[1]
        if header in node.text and node.text.startswith("#include"):
            return value
    return value


def task_arguments(design: Design) -> Iterator[tuple[int, str]]:
    allowed = defined_before(design, "HLS_TASK_ALLOW_NON_STREAM_ARGS", "hls_task.h") is not None
    for name, (called, _, line) in design.tasks.items():
        function = design.functions.get(called)
        streams = ("hls::stream<", "hls::stream_of_blocks<")
        wrong = [] if function is None else [p for p in function.parameters if not p.type.startswith(streams)]
        if wrong and not allowed:
            yield line, f"{name} has the argument {wrong[0].name}, no stream, without HLS_TASK_ALLOW_NON_STREAM_ARGS"


def task_header(design: Design) -> Iterator[tuple[int, str]]:
    included = [(node.line, found[1]) for node in design.directives if (found := re.match(r"#\s*include\s*<(\w+)", node.text))]
    names = [name for _, name in included]
    for line, name in included:
        if (
            name in ("hls_stream", "hls_streamofblocks")
            and "hls_task" in names
            and "hls_task" not in names[: names.index(name)]
        ):
            yield line, f"{name}.h is included before hls_task.h"


def integer_width(design: Design) -> Iterator[tuple[int, str]]:
    value = defined_before(design, "AP_INT_MAX_W", "ap_int.h")
    limit = int(value) if value else 1024
    for function in design.functions.values():
        places = [(v.line, v.type) for v in function.parameters] + [(node.line, node.text) for node in function.nodes()]
        for line, text in places:
            widest = max((int(bits) for bits in re.findall(r"\bU?Int<(\d+)>", text)), default=0)
            if widest > limit:
                yield line, f"a number of {widest} bits in {function.name}, AP_INT_MAX_W is {limit}"


def memory_ports(design: Design) -> Iterator[tuple[int, str]]:
    tasks = design.tasks
    for top in design.tops:
        pointers = {v.name for v in top.parameters if "pointer" in v.qualifiers}
        for name, (_, arguments, line) in tasks.items():
            if shared := pointers & set(arguments):
                yield line, f"{name} reads or writes the memory port {min(shared)}"
        for p in top.pragmas():
            if p.kind == "INTERFACE" and p.settings.get("mode") == "m_axi" and tasks:
                yield p.line, f"port {p.settings.get('port')} is m_axi in a design of tasks"


def port_words(design: Design) -> Iterator[tuple[int, str]]:
    for top in design.tops:
        axis = {p.settings.get("port") for p in top.pragmas() if p.kind == "INTERFACE" and p.settings.get("mode") == "axis"}
        for v in top.parameters:
            if v.name not in axis or not v.type.startswith("hls::stream<"):
                continue
            (element, *_) = split(v.type[12:-1])
            if design.is_struct(element):
                yield v.line, f"the AXI-Stream port {v.name} has the struct {element}, whose fields the tool aligns"
            elif design.width(element) % 8:
                yield v.line, f"the AXI-Stream port {v.name} has {design.width(element)} bits, no whole bytes"


def unrolled_trips(design: Design) -> Iterator[tuple[int, str]]:
    for function in design.functions.values():
        for node in function.nodes():
            if node.body is None or not any((p := pragma_of(c)) and p.kind == "UNROLL" for c in node.body):
                continue
            header = re.match(r"for \((.*);(.*);.*\)$", node.text)
            condition = header[2].strip() if header else ""
            known = re.fullmatch(r"\w+ (?:<|<=) (?:\d+|[A-Z]\w*)", condition)
            if not known:
                yield node.line, f"the trip count of {node.text} is not a constant"


def styles(design: Design) -> Iterator[tuple[int, str]]:
    for function in design.functions.values():
        locks = any(v.type.startswith(("hls::read_lock", "hls::write_lock")) for v in function.variables())
        for p in function.pragmas():
            if p.kind == "PIPELINE" and p.settings.get("style") == "frp" and locks:
                yield p.line, f"{function.name} holds a lock in a free-running pipeline"


def nested_locks(design: Design) -> Iterator[tuple[int, str]]:
    def inside(body: list[Node], held: frozenset[str]) -> Iterator[tuple[int, str]]:
        for node in body:
            if node.body is not None:
                yield from inside(node.body, held)
            elif (v := variable_of(node)) and v.type.startswith(("hls::read_lock", "hls::write_lock")):
                if v.made.strip() in held:
                    yield v.line, f"{v.made.strip()} is locked twice at once"
                held |= {v.made.strip()}

    for function in design.functions.values():
        yield from inside(function.body, frozenset())


def stream_ends(design: Design) -> Iterator[tuple[int, str]]:
    uses = Counter(name for _, arguments, _ in design.tasks.values() for name in arguments)
    for function, v, _ in channels(design):
        wanted = 1 if v in function.parameters else 2
        if design.tasks and uses[v.name] != wanted:
            yield v.line, f"{v.name} has {uses[v.name]} tasks, not {wanted}"


def local_arrays(design: Design) -> Iterator[tuple[int, str]]:
    """A memory inside a pipeline, where registers were meant."""
    for function in design.functions.values():
        kinds = ("ARRAY_PARTITION", "BIND_STORAGE", "AGGREGATE")
        placed = {p.settings.get("variable") for p in function.pragmas() if p.kind in kinds}
        for v in function.variables():
            if v.extents and v.name not in placed and "hls_thread_local" not in v.qualifiers:
                yield v.line, f"the array {v.name} is neither registers nor bound to a memory"


def table_readers(design: Design) -> Iterator[tuple[int, str]]:
    """A table that more readers of one iteration look up than it has ports is copied by no promise of the tool."""
    for found in intervals(design):
        name = found.because.split(":")[0]
        seen = [*design.globals, *design.functions[found.function].variables()]
        if found.derived > found.asked and any(v.name == name and "const" in v.qualifiers for v in seen):
            yield found.line, f"{found.loop} looks up {name} more often than it has ports"


KNOWN = {
    "PIPELINE": {"II", "style"},
    "UNROLL": set(),
    "DATAFLOW": set(),
    "INLINE": set(),
    "INTERFACE": {"mode", "port", "register_mode"},
    "ARRAY_PARTITION": {"variable", "type", "dim"},
    "ARRAY_RESHAPE": {"variable", "type", "dim"},
    "AGGREGATE": {"variable", "compact"},
    "BIND_STORAGE": {"variable", "type", "impl", "latency"},
    "BIND_OP": {"variable", "op", "impl", "latency"},
    "DEPENDENCE": {"variable", "class", "type", "direction", "distance", "dependent"},
    "STABLE": {"variable"},
}
VALUES = {
    "BIND_OP": {"op": {"mul", "add", "sub"}, "impl": {"dsp", "fabric"}},
    "DEPENDENCE": {"type": {"inter", "intra"}, "direction": {"RAW", "WAR", "WAW"}, "dependent": {"true", "false"}},
}
TYPES = {"fifo", "ram_1p", "ram_1wnr", "ram_2p", "ram_s2p", "ram_t2p", "rom_1p", "rom_2p", "rom_np"}
IMPLEMENTATIONS = {"bram", "bram_ecc", "lutram", "uram", "uram_ecc", "srl", "memory", "autosrl", "auto"}


def spellings(design: Design) -> Iterator[tuple[int, str]]:
    for function in design.functions.values():
        names = {v.name for v in [*function.parameters, *function.variables()]}
        for p in function.pragmas():
            yield from ((p.line, f"pragma {p.kind}: {m}") for m in wrong_settings(p, names))


def wrong_settings(p: Pragma, names: set[str]) -> Iterator[str]:
    if p.kind not in KNOWN:
        yield "is not known"
    elif p.kind == "INTERFACE" and p.settings.get("mode") == "m_axi":
        return  # another rule's
    elif extra := set(p.settings) - KNOWN[p.kind]:
        yield f"has no setting {min(extra)}"
    if p.kind == "BIND_STORAGE":
        if p.settings.get("type", "").lower() not in TYPES:
            yield f"has no type {p.settings.get('type')}"
        if p.settings.get("impl", "auto").lower() not in IMPLEMENTATIONS:
            yield f"has no implementation {p.settings['impl']}"
    for setting, values in VALUES.get(p.kind, {}).items():
        if p.settings.get(setting) not in values:
            yield f"has no {setting} {p.settings.get(setting)}"
    if (named := p.settings.get("variable", "").split(".")[0]) and named not in names:
        yield f"names {named}, which is not in its function"


RULES = (
    Rule("word-width", "UG1399, AXI4-Stream interfaces: at most 4,096 bits; Introductory-Examples issue 19", word_width),
    Rule(
        "reshaped-blocks", "UG1399 2023.1, Stream-of-blocks: ARRAY_RESHAPE and ARRAY_PARTITION not supported", reshaped_blocks
    ),
    Rule("block-elements", "UG1399, Structs: arrays of structs become one array per member", block_elements),
    Rule("asked-interval", "UG1448, Resource Constraints: accesses per port", asked_interval),
    Rule("bound-storage", "UG1399, BIND_STORAGE: the tool decides where nothing is said", bound_storage),
    Rule("task-arguments", "hls_task.h: streams only, unless HLS_TASK_ALLOW_NON_STREAM_ARGS", task_arguments),
    Rule("task-header", "hls_task.h: an error after an hls_stream.h that is not safe for threads", task_header),
    Rule("integer-width", "UG1399, Arbitrary Precision Types: AP_INT_MAX_W, 1,024 by default", integer_width),
    Rule("memory-ports", "UG1399, Tasks and Dataflow: tasks do not read or write M_AXI", memory_ports),
    Rule("port-words", "UG1399, Structs in the Interface: aligned to the largest element", port_words),
    Rule("unrolled-trips", "UG1399, UNROLL: the bound has to be a constant", unrolled_trips),
    Rule("pipeline-style", "messages HLS 200-1966 and 200-1970: no free-running pipeline around locks", styles),
    Rule("nested-locks", "UG1399, Stream-of-blocks, Limitations: no nested locks of one stream", nested_locks),
    Rule("stream-ends", "UG1399, Data-driven Task-level Parallelism: one producer and one consumer", stream_ends),
    Rule("local-arrays", "UG1399, Array Partitioning: other arrays become memories", local_arrays),
    Rule("table-readers", "UG1448, Resource Constraints: a ROM of one or two ports", table_readers),
    Rule("pragmas", "UG1399, HLS Pragmas", spellings),
)
__all__ = ["RULES", "VERSIONS", "Finding", "Node", "Rule", "check"]
