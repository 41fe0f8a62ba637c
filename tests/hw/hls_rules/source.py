"""Read printed HLS C++ into functions, declarations and statements: no compiler, only the constructs that the printer has."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

QUALIFIERS = r"(?:(?:static|const|hls_thread_local|inline)\s+)*"
FUNCTION = re.compile(r"(?:template\s*<[^{}]*?>\s*)?(?:static\s+|inline\s+)*void\s+(\w+)\s*\((.*)\)$", re.DOTALL)
STRUCT = re.compile(r"struct\s+(\w+)$")
LABEL = re.compile(r"\w+\s*:$")


@dataclass(slots=True)
class Node:
    """A statement, a pragma (its text starts with #) or, with a body, what stands in front of its braces."""

    text: str
    line: int
    body: list[Node] | None = None

    def walk(self) -> Iterator[Node]:
        """Yield this node and all below, in order."""
        yield self
        for child in self.body or ():
            yield from child.walk()


@dataclass(frozen=True, slots=True)
class Variable:
    """A declared name: its type, the extents behind the name, and the words in front of the type."""

    name: str
    type: str
    extents: tuple[int, ...]
    line: int
    qualifiers: frozenset[str] = frozenset()
    made: str = ""  # what its constructor or initialiser gets


@dataclass(slots=True)
class Function:
    name: str
    line: int
    parameters: list[Variable]
    body: list[Node]

    def nodes(self) -> Iterator[Node]:
        for node in self.body:
            yield from node.walk()

    def pragmas(self) -> Iterator[Pragma]:
        for node in self.nodes():
            if found := pragma_of(node):
                yield found

    def variables(self) -> Iterator[Variable]:
        """Yield the variables that are declared inside."""
        for node in self.nodes():
            if node.body is None and (found := variable_of(node)):
                yield found


@dataclass(frozen=True, slots=True)
class Pragma:
    """An HLS pragma: its first word and its settings; a setting without a value is its own name."""

    kind: str
    settings: Mapping[str, str]
    line: int


@dataclass(slots=True)
class Design:
    """All that one or more files define. `lines` maps names of structs to where they are."""

    functions: dict[str, Function] = field(default_factory=dict)
    structs: dict[str, list[Variable]] = field(default_factory=dict)
    globals: list[Variable] = field(default_factory=list)
    directives: list[Node] = field(default_factory=list)  # lines of the preprocessor

    @property
    def tasks(self) -> dict[str, tuple[str, list[str], int]]:
        """Return by name of a task its function, its arguments, and its line."""
        found = {}
        for function in self.functions.values():
            for v in function.variables():
                if v.type == "hls::task":
                    called, *arguments = split(v.made)
                    found[v.name] = (called.split("::")[-1], arguments, v.line)
        return found

    @property
    def tops(self) -> list[Function]:
        """Return the functions that hold tasks, or name interfaces."""
        return [f for f in self.functions.values() if any(p.kind == "INTERFACE" for p in f.pragmas())]

    def width(self, type_: str) -> int:
        """Return the bits of a type. ValueError: it is not known."""
        text = type_.strip()
        if found := re.fullmatch(r"(?:ew::)?(?:Int|UInt|ap_int|ap_uint)\s*<\s*(\d+)\s*>", text):
            return int(found[1])
        if found := re.fullmatch(r"(?:ew::)?Vec\s*<(.*)>", text):
            element, count = split(found[1])
            return self.width(element) * int(count)
        if text in self.structs:
            return sum(self.width(v.type) * size(v.extents) for v in self.structs[text])
        if text in PLAIN:
            return PLAIN[text]
        raise ValueError(f"no width of {type_!r} is known")

    def is_struct(self, type_: str) -> bool:
        return type_ in self.structs or type_.startswith("Vec<")


PLAIN = {"bool": 1, "char": 8, "int8_t": 8, "uint8_t": 8, "short": 16, "int": 32, "unsigned": 32, "float": 32, "double": 64}


def size(extents: tuple[int, ...]) -> int:
    n = 1
    for extent in extents:
        n *= extent
    return n


def split(text: str) -> list[str]:
    """Split at commas outside of brackets."""
    parts, depth, start = [], 0, 0
    for at, letter in enumerate(text):
        depth += (letter in "<([{") - (letter in ">)]}")
        if letter == "," and depth == 0:
            parts.append(text[start:at].strip())
            start = at + 1
    return [*parts, text[start:].strip()] if text.strip() else []


def pragma_of(node: Node) -> Pragma | None:
    if not (found := re.match(r"#pragma\s+HLS\s+(\w+)\s*(.*)", node.text)):
        return None
    settings = {name: value if equals else name for name, equals, value in (part.partition("=") for part in found[2].split())}
    return Pragma(found[1].upper(), settings, node.line)


def type_at(text: str) -> int:
    """Return where a type at the start of a text ends, 0 if there is none."""
    found = re.match(r"(?:\w+::)*\w+", text)
    if not found or found[0] in ("return", "if", "while", "for", "else", "using", "typedef"):
        return 0
    end = found.end()
    if end < len(text) and text[end] == "<":
        depth = 0
        for at in range(end, len(text)):
            depth += (text[at] == "<") - (text[at] == ">")
            if depth == 0:
                return at + 1
        return 0
    return end


def variable_of(node: Node) -> Variable | None:
    """Return what a statement declares, if it is a declaration."""
    text = node.text.rstrip(";").strip()
    front = re.match(QUALIFIERS, text)
    assert front is not None
    rest = text[front.end() :]
    end = type_at(rest)
    if not end:
        return None
    found = re.match(r"\s*[&*]?\s*(\w+)\s*((?:\[[^\]]*\])*)\s*(?:\((.*)\)|=\s*(.*))?$", rest[end:], re.DOTALL)
    if not found or (rest[end : end + 1].isalnum()) or rest[end:].lstrip() == rest[end:]:
        return None
    extents = tuple(int(eval_size(e)) for e in re.findall(r"\[([^\]]*)\]", found[2]))
    return Variable(found[1], rest[:end], extents, node.line, frozenset(front[0].split()), found[3] or found[4] or "")


def eval_size(text: str) -> int:
    """Return a product of numbers."""
    n = 1
    for factor in text.split("*"):
        n *= int(factor)
    return n


def parameter_of(text: str, line: int) -> Variable:
    front = re.match(QUALIFIERS, text)
    assert front is not None
    rest = text[front.end() :]
    end = type_at(rest)
    kind = "pointer" if "*" in rest[end:] else "reference" if "&" in rest[end:] else "value"
    name = re.search(r"(\w+)\s*(?:\)?\s*(?:\[[^\]]*\])*)$", rest)
    return Variable(name[1] if name else "", rest[:end], (), line, frozenset({*front[0].split(), kind}))


def parse(*texts: str) -> Design:
    """Read files into one design. ValueError: braces that do not match."""
    design = Design()
    for text in texts:
        for node in nodes_of(text):
            collect(node, design)
    return design


def collect(node: Node, design: Design) -> None:
    if node.body is None:
        if node.text.startswith("#"):
            design.directives.append(node)
        elif variable := variable_of(node):
            design.globals.append(variable)
        return
    if found := FUNCTION.match(node.text):
        parameters = [parameter_of(p, node.line) for p in split(found[2])]
        design.functions[found[1]] = Function(found[1], node.line, parameters, node.body)
    elif found := STRUCT.match(node.text):
        design.structs[found[1]] = [v for child in node.body if (v := variable_of(child))]
    elif node.text.startswith(("namespace", "extern")):
        for child in node.body:
            collect(child, design)


def nodes_of(text: str) -> list[Node]:
    """Return the statements of a file; a statement may span lines."""
    roots: list[Node] = []
    stack = [roots]
    held, began, round_, list_ = "", 0, 0, 0  # text so far, its line, open parentheses, open braces of an initialiser
    for number, raw in enumerate(text.splitlines(), 1):
        line = re.sub(r"//.*", "", raw)
        if line.lstrip().startswith("#") and not held.strip():
            stack[-1].append(Node(line.strip(), number))
            continue
        for letter in line + "\n":
            if not held.strip():
                held, began = "", number
            if list_ or (letter == "{" and held.rstrip().endswith("=")):
                list_ += (letter == "{") - (letter == "}")
                held += letter
                continue
            round_ += (letter == "(") - (letter == ")")
            if letter == ";" and not round_:
                if held.strip():
                    stack[-1].append(Node(flat(held) + ";", began))
                held = ""
            elif letter == "{" and not round_:
                node = Node(flat(held), began, [])
                stack[-1].append(node)
                assert node.body is not None
                stack.append(node.body)
                held = ""
            elif letter == "}" and not round_:
                if len(stack) == 1 or held.strip():
                    raise ValueError(f"line {number}: a brace that closes nothing")
                stack.pop()
                held = ""
            elif letter == "\n" and LABEL.match(held.strip()):
                stack[-1].append(Node(held.strip(), began))
                held = ""
            else:
                held += " " if letter == "\n" else letter
    if len(stack) != 1 or held.strip():
        raise ValueError("a brace is not closed")
    return roots


def flat(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()
