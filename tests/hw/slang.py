"""A second SystemVerilog front end over some files, in a process of its own: in one that has loaded other C++ extensions,
pyslang's iterators may fail to end.

    python -m tests.hw.slang FILE ...      prints {"errors": report, "tops": [names]}
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple


class Elaborated(NamedTuple):
    """What pyslang says of some files (empty: no errors), and the modules that nothing else contains."""

    errors: str
    tops: list[str]


def elaborate(files: Iterable[Path]) -> Elaborated:
    """Read and elaborate files together."""
    command = [sys.executable, "-m", "tests.hw.slang", *map(str, files)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2])
    return Elaborated(**json.loads(done.stdout))


def main(paths: list[str]) -> None:
    import pyslang

    compilation = pyslang.Compilation()
    for path in paths:
        compilation.addSyntaxTree(pyslang.SyntaxTree.fromFile(path))
    found = [d for d in compilation.getAllDiagnostics() if d.isError()]
    report = pyslang.DiagnosticEngine.reportAll(compilation.sourceManager, found) if found else ""
    tops = [str(instance.name) for instance in compilation.getRoot().topInstances]
    print(json.dumps({"errors": str(report), "tops": tops}))


if __name__ == "__main__":
    main(sys.argv[1:])
