"""Rules shown on two short texts, before and after: `tests/passes/rules/*.txt`.

A case is a line `== Pass: what it shows`, the graph before, a line `--`, and the graph after; a case without the second
graph says that the pass keeps it. Graphs are written as `tests/graph_text.py` reads them, without the first line. `#name`
is a random constant that the name decides. After the pass, constants of more than 6 elements show their type alone.

`python -m tests.passes.rule_cases` writes the graphs after anew: read what changed before you commit it.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from edgewright.frontend import canonical
from edgewright.passes import exact
from edgewright.passes.ir.graph import Graph
from edgewright.passes.ir.text import to_text
from edgewright.passes.ir.types import Array
from edgewright.passes.ops import Input
from edgewright.passes.quantisation.calibrate import calibrate
from edgewright.passes.transform import Pass

from tests.graph_text import parse

FOLDER = Path(__file__).with_name("rules")
_NUMBER = re.compile(r"-?\d+\.\d{4,}(e[+-]?\d+)?")
_CONSTANT = re.compile(r"f32\[([\d,]*)\]#(\w+)")


@dataclass(frozen=True)
class Case:
    """A pass by name, what the case shows, and the two texts."""

    rule: str
    title: str
    before: str
    after: str


def read(path: Path) -> Iterator[Case]:
    for block in re.split(r"^== ", path.read_text(), flags=re.MULTILINE)[1:]:
        head, _, body = block.partition("\n")
        rule, _, title = head.partition(": ")
        before, _, after = body.partition("\n--\n")
        yield Case(rule, title, before.strip(), after.strip() or before.strip())


def graph_of(text: str) -> Graph:
    constants = {name: _random(name, shape) for shape, name in _CONSTANT.findall(text)}
    return parse(f"graph case (float)\n{text}\n", constants)


def _random(name: str, shape: str) -> Array:
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    value = rng.normal(size=tuple(int(n) for n in shape.split(","))).astype(np.float32)
    if name == "outlying":
        value[:16] *= 50
    return value


def text_of(graph: Graph) -> str:
    """The graph as the second text of a case: numbers to four digits, since the last ones depend on the machine."""
    _, *lines = to_text(graph, literals=6).splitlines()
    return "\n".join(_NUMBER.sub(_rounded, re.sub(r"#[0-9a-f]{16}", "", line.strip())) for line in lines)


def _rounded(number: re.Match[str]) -> str:
    return f"{float(number[0]):.4g}" if abs(float(number[0])) > 1e-5 else "0.0"


def inputs_of(graph: Graph, count: int = 1, seed: int = 0) -> dict[str, Array]:
    """So many random samples of each input, by name; integers are masks."""
    rng = np.random.default_rng(seed)
    values = {}
    for node in graph.inputs:
        assert isinstance(node.op, Input)
        shape = node.shape if count == 1 else (count, *node.shape[1:])
        values[node.op.name] = rng.normal(size=shape).astype(np.float32) if node.type.is_float else rng.integers(0, 2, shape)
    return values


def applied(step: type[Pass], graph: Graph) -> Graph:
    """The graph after the pass, which is calibrated on random samples if it looks at ranges."""
    ranges = any(option.name == "calibration" for option in fields(step))  # type: ignore[arg-type]
    options = {"calibration": calibrate(graph, inputs_of(graph, 8, seed=1))} if ranges else {}
    return step(**options)(graph)[0]


def passes() -> dict[str, type[Pass]]:
    """Every pass of the folders that keep a float graph's function, by name."""
    found: dict[str, type[Pass]] = {}
    for package in (canonical, exact):
        for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            for value in vars(importlib.import_module(module.name)).values():
                if isinstance(value, type) and issubclass(value, Pass) and value.__module__ == module.name:
                    found[value.__name__] = value
    return found


def renew(path: Path) -> None:
    """Write the graph after of every case of a file as the pass makes it today."""
    known, blocks = passes(), []
    for case in read(path):
        graph = graph_of(case.before)
        after = applied(known[case.rule], graph)
        kept = text_of(after) == text_of(graph)
        blocks.append(f"== {case.rule}: {case.title}\n{case.before}\n" + ("" if kept else f"--\n{text_of(after)}\n"))
    path.write_text("\n".join(blocks))


if __name__ == "__main__":
    for file in sorted(FOLDER.glob("*.txt")):
        renew(file)
