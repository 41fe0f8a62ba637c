"""The inverse of `text.to_text`: graphs written down, so that a test of a rule is two short texts, before and after.

    graph example (float)
      %0 = Input['x'] : f32[1,4,8]
      %1 = Linear(%0, f32[16,8]#w, f32[16]{0})
      %2 = Gelu(%1) : f32[1,4,16]  # fc1
      return y = %2

A constant is its values in braces, flattened (one value fills the shape), or `#name`, looked up in `constants`. Types
after a colon are optional except for inputs; those stated are compared with what the operator infers. The names of a
value's origin follow two spaces and a `#`.
"""

from __future__ import annotations

import ast
import dataclasses
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from edgewright.passes import ops
from edgewright.passes.ir.graph import Graph, Node, make
from edgewright.passes.ir.op import InferError, Op
from edgewright.passes.ir.text import fingerprint
from edgewright.passes.ir.types import F32, Array, Elem, Int, Level, Quant, TensorType

_HEAD = re.compile(r"graph (?P<name>.*) \((?P<level>float|quantised)\)")
_VALUE = re.compile(r"%(?P<number>\w+) = (?P<kind>\w+)(?P<rest>.*)")
_RETURN = re.compile(r"return (?P<name>.*) = (?P<operand>\S.*)")
_TYPE = r"(?P<elem>f32|[iu]\d+)\[(?P<shape>[\d,]*)\]"
_OPERAND = re.compile(rf"%(?P<number>\w+)|{_TYPE}(?:#(?P<key>\w+)|\{{(?P<values>[^}}]*)\}})")
_ANNOTATION = re.compile(rf" : {_TYPE}(?: = (?P<scale>\(.*?\)|\S+)(?: along (?P<axis>-\d+))? \* \(q - (?P<zero>-?\d+)\))?")
_ATTRIBUTES = re.compile(r"\[(?P<text>(?:[^\[\]']|'[^']*')*)\]")
_ELEM = re.compile(r"f32|[iu]\d+")


class TextError(ValueError):
    """A text that is not a graph; the message has the line."""


def parse(text: str, constants: Mapping[str, Array] | None = None) -> Graph:
    """Return the graph that a text describes. TextError names the line that cannot be read, or whose stated type is not the one
    its operator infers."""
    reader = _Reader(dict(constants or {}))
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            try:
                reader.read(line.strip())
            except (TextError, InferError, KeyError, TypeError, ValueError, SyntaxError) as error:
                raise TextError(f"line {number}, {line.strip()!r}: {error}") from error
    return reader.graph()


def constants_of(graph: Graph) -> dict[str, Array]:
    """Return the constants of a graph under the names that `to_text` prints for them."""
    return {fingerprint(node.op.value): node.op.value for node in graph.nodes() if isinstance(node.op, ops.Constant)}


@dataclass(slots=True)
class _Reader:
    constants: dict[str, Array]
    head: tuple[str, Level] | None = None
    values: dict[str, Node] = dataclasses.field(default_factory=dict)
    written: dict[str, Node] = dataclasses.field(default_factory=dict)
    inputs: list[Node] = dataclasses.field(default_factory=list)
    outputs: dict[str, Node] = dataclasses.field(default_factory=dict)

    def read(self, line: str) -> None:
        if self.head is None:
            found = _full(_HEAD, line, "the first line is `graph NAME (float)` or `graph NAME (quantised)`")
            self.head = found["name"], Level(found["level"])
        elif line.startswith("return "):
            found = _full(_RETURN, line, "an output is `return NAME = %NUMBER`")
            (node,) = self._operands(found["operand"])
            self.outputs[found["name"]] = node
        else:
            self._value(line)

    def graph(self) -> Graph:
        if self.head is None or not self.outputs:
            raise TextError("a graph has a first line and at least one `return`")
        name, level = self.head
        return Graph(name, tuple(self.inputs), tuple(self.outputs.values()), tuple(self.outputs), level)

    def _value(self, line: str) -> None:
        body, _, names = line.partition("  # ")
        origin = tuple(names.split(", ")) if names else ()
        found = _full(_VALUE, body, "a value is `%NUMBER = OPERATOR[attributes](operands) : type`")
        number, kind, rest = found["number"], found["kind"], found["rest"]
        if number in self.values:
            raise TextError(f"%{number} is defined twice")
        attributes = _ATTRIBUTES.match(rest)
        rest = rest[attributes.end() :] if attributes else rest
        operands, stated, quant = rest, None, None
        if annotation := _ANNOTATION.search(rest):
            operands, stated, quant = rest[: annotation.start()], _type(annotation), _quant(annotation)
        if kind == "Input":
            if attributes is None or stated is None:
                raise TextError("an input is `%0 = Input['name'] : type`")
            call = ast.parse(f"Input({attributes['text']})", mode="eval").body
            if not isinstance(call, ast.Call) or len(call.args) != 1:
                raise TextError("an input is `%0 = Input['name'] : type`")
            told = {str(word.arg): ast.literal_eval(word.value) for word in call.keywords}
            node = make(ops.Input(ast.literal_eval(call.args[0]), stated, **told), origin=origin, quant=quant)
            self.inputs.append(node)
        else:
            operator = getattr(ops, kind, None)
            if not (isinstance(operator, type) and issubclass(operator, Op)):
                raise TextError(f"there is no operator {kind}")
            op = operator(**dict(_attributes(attributes["text"] if attributes else "")))
            inside = _full(re.compile(r"\((.*)\)"), operands, "operands stand in parentheses")
            node = make(op, *self._operands(inside[1]), origin=origin, quant=quant)
        if stated is not None and (node.shape, node.elem) != (stated.shape, stated.elem):
            raise TextError(f"it says {stated}, and {kind} makes {node.type}")
        self.values[number] = node

    def _operands(self, text: str) -> Iterator[Node]:
        position = 0
        while position < len(text):
            found = _OPERAND.match(text, position)
            if found is None:
                raise TextError(f"{text[position:]!r} is neither a value nor a constant")
            yield self.values[found["number"]] if found["number"] else self._constant(found)
            position = found.end()
            if text[position : position + 2] == ", ":
                position += 2
            elif position < len(text):
                raise TextError(f"{text[position:]!r} follows an operand")

    def _constant(self, found: re.Match[str]) -> Node:
        """Return one node for each spelling: what is written twice alike is one value."""
        spelling = found[0]
        if spelling not in self.written:
            type_ = _type(found)
            if found["key"] is not None:
                value = self.constants[found["key"]]
            else:
                dtype = np.dtype(np.float32) if type_.is_float else _dtype(type_.elem)
                number = float if type_.is_float else int
                flat = np.array([number(v) for v in found["values"].split(",") if v.strip()], dtype)
                value = np.full(type_.shape, flat[0], dtype) if flat.size == 1 else flat.reshape(type_.shape)
            node = ops.constant(value)
            if (node.shape, node.elem) != (type_.shape, type_.elem):
                raise TextError(f"the constant is {node.type}, the text says {type_}")
            self.written[spelling] = node
        return self.written[spelling]


def _full(pattern: re.Pattern[str], text: str, message: str) -> re.Match[str]:
    found = pattern.fullmatch(text)
    if found is None:
        raise TextError(message)
    return found


def _type(found: re.Match[str]) -> TensorType:
    shape = tuple(int(extent) for extent in found["shape"].split(",") if extent)
    return TensorType(shape, _elem(found["elem"]))


def _quant(found: re.Match[str]) -> Quant | None:
    if found["scale"] is None:
        return None
    return Quant(ast.literal_eval(found["scale"]), int(found["zero"]), int(found["axis"] or -1))


def _elem(text: str) -> Elem:
    return F32 if text == "f32" else Int(int(text[1:]), text[0] == "i")


def _dtype(elem: Elem) -> np.dtype[Any]:
    if elem == Int(1, False):
        return np.dtype(bool)
    assert isinstance(elem, Int)
    return np.dtype(f"{'i' if elem.signed else 'u'}{elem.bits // 8}")


def _attributes(text: str) -> Iterator[tuple[str, Any]]:
    """Name and value of each attribute: Python literals, elements (`i8`) and non-finite floats."""
    for name, value in re.findall(r"(\w+)=(\([^)]*\)|'[^']*'|[^,]+)", text):
        if _ELEM.fullmatch(value):
            yield name, _elem(value)
        elif value.lstrip("-") in ("inf", "nan"):
            yield name, float(value)
        else:
            yield name, ast.literal_eval(value)
