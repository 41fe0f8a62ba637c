"""Structure of the sources: five layers, frontend -> sim -> hw -> targets -> passes, imports to the right only; no circles."""

from __future__ import annotations

import ast
from collections import defaultdict
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LAYERS = ("frontend", "sim", "hw", "targets", "passes")
ONNX = ("frontend/onnx_*/*.py",)
TVM = ("targets/lowering/", "targets/cpu/", "targets/gpu/")
# a third-party package and the only files that may import it
FENCED = {
    "onnx": ONNX,
    "onnx_ir": ONNX,
    "onnxscript": ONNX,
    "onnxruntime": ONNX,
    "tvm": TVM,
    "tvm_ffi": TVM,
    "torch": ("passes/learn/",),
    "cocotb": ("sim/*.py",),
    "cocotbext": ("sim/*.py",),
}


@cache
def sources() -> tuple[Path, ...]:
    return tuple(sorted(path for layer in LAYERS for path in (ROOT / layer).rglob("*.py")))


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def imported(path: Path) -> tuple[tuple[str, int], ...]:
    """Return (absolute name, line) of each import of a file, also of those inside functions.

    `from a.b import c` is `a.b.c` where c is a source file or folder, else `a.b`.
    """
    names = []
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            names += [(alias.name, node.lineno) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: write `from edgewright.…`, not a relative import"
            assert node.module is not None
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                names.append((full if node.module == "edgewright" or full in modules() else node.module, node.lineno))
    return tuple(names)


@cache
def modules() -> dict[str, Path]:
    """Return the source files by the name under which they are imported."""
    named = {}
    for path in sources():
        parts = path.relative_to(ROOT).with_suffix("").parts
        named[".".join(("edgewright", *(parts[:-1] if parts[-1] == "__init__" else parts)))] = path
    return named


def in_layer(layer: str) -> list[Path]:
    return [path for path in sources() if path.is_relative_to(ROOT / layer)]


@pytest.mark.parametrize("layer", LAYERS)
def test_imports_point_to_the_right(layer: str) -> None:
    wrong = []
    for path in in_layer(layer):
        for name, line in imported(path):
            top, _, rest = name.partition(".")
            other = rest.split(".")[0]
            if top == "edgewright" and other in LAYERS and LAYERS.index(other) < LAYERS.index(layer):
                wrong.append(f"{path.relative_to(ROOT)}:{line} imports {name}")
    assert not wrong, "\n".join(wrong)


def _inside(path: Path, fences: tuple[str, ...]) -> bool:
    return any(path.is_relative_to(fence) if fence.endswith("/") else path.match(fence) for fence in fences)


def test_the_cpu_and_the_gpu_share_only_what_lies_in_lowering() -> None:
    """`targets/lowering/` imports neither of the two, and `targets/gpu/` nothing of `targets/cpu/`."""
    others = {"lowering": ("cpu", "gpu"), "gpu": ("cpu",), "cpu": ("gpu",)}
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for folder, forbidden in others.items()
        for path in sorted((ROOT / "targets" / folder).rglob("*.py"))
        for name, line in imported(path)
        if name.split(".")[:2] == ["edgewright", "targets"] and name.split(".")[2] in forbidden
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("package", FENCED)
def test_third_party_packages_stay_in_their_layer(package: str) -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for layer in LAYERS
        for path in in_layer(layer)
        for name, line in imported(path)
        if name.split(".")[0] == package and not _inside(path.relative_to(ROOT), FENCED[package])
    ]
    assert not wrong, "\n".join(wrong)


def test_the_language_does_not_import_passes() -> None:
    """`passes/ir/` and `passes/ops/` import each other and single files of `passes/`, but none of the folders of passes."""
    folders = {path.name for path in (ROOT / "passes").iterdir() if path.is_dir()} - {"ir", "ops"}
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for folder in ("ir", "ops")
        for path in sorted((ROOT / "passes" / folder).glob("*.py"))
        for name, line in imported(path)
        if name.startswith("edgewright.passes.") and name.split(".")[2] in folders
    ]
    assert not wrong, "\n".join(wrong)


def test_no_module_or_folder_is_named_after_nothing() -> None:
    vague = {"utils", "util", "helpers", "helper", "common", "base", "manager", "misc"}
    assert not [p for layer in LAYERS for p in (ROOT / layer).rglob("*.py") if vague & {p.stem, p.parent.name}]


LANGUAGE = "passes/ir and passes/ops"  # one unit: operators need types, the interpreter needs operators
# Circles that still exist, as the folders that each one spans: delete an entry when its circle is mended; add none.
CIRCLES: set[frozenset[str]] = set()
# Class names that are still defined more than once: delete an entry when all but one are renamed; add none.
REPEATED_CLASSES = {
    "Add",
    "Bits",
    "Cast",
    "Concat",
    "Cycles",
    "Int",
    "Lookup",
    "Mark",
    "Max",
    "Min",
    "Mismatch",
    "Mul",
    "Neg",
    "Node",
    "Op",
    "Place",
    "Program",
    "Structure",
    "Sub",
    "Table",
}


def circles(edges: dict[str, set[str]]) -> list[set[str]]:
    """Return the strongly connected components that have more than one member (Tarjan's algorithm)."""
    order: dict[str, int] = {}
    lowest: dict[str, int] = {}
    stack: list[str] = []
    result: list[set[str]] = []

    def visit(name: str) -> None:
        order[name] = lowest[name] = len(order)
        stack.append(name)
        for other in sorted(edges[name]):
            if other not in order:
                visit(other)
            if other in stack:
                lowest[name] = min(lowest[name], lowest[other])
        if lowest[name] == order[name]:
            members = set(stack[stack.index(name) :])
            del stack[stack.index(name) :]
            if len(members) > 1:
                result.append(members)

    for name in sorted(edges):
        if name not in order:
            visit(name)
    return result


def unit_of(path: Path) -> str:
    """Return the unit that a file counts as: its folder, or the file itself where its folder has subfolders.

    The root of a layer holds files that its folders share beside files that use those folders, so as one unit it would be
    in a circle with each of them.
    """
    folder = path.parent.relative_to(ROOT)
    if folder.as_posix() in ("passes/ir", "passes/ops"):
        return LANGUAGE
    has_folders = any(child.is_dir() and any(child.glob("*.py")) for child in path.parent.iterdir())
    return path.relative_to(ROOT).as_posix() if has_folders else folder.as_posix()


def folder_of(unit: str) -> str:
    return unit.rpartition("/")[0] if unit.endswith(".py") else unit


def test_circles_are_found() -> None:
    edges: dict[str, set[str]] = {"a": {"b"}, "b": {"c", "d"}, "c": {"a"}, "d": {"e"}, "e": {"d"}, "f": {"a"}}
    assert sorted(map(sorted, circles(edges))) == [["a", "b", "c"], ["d", "e"]]


def test_files_of_different_folders_import_each_other_in_one_direction() -> None:
    """No circle spans folders: neither between folders as wholes (`unit_of`), nor between single files."""
    files: dict[str, set[str]] = {}
    units: dict[str, set[str]] = defaultdict(set)
    lines: dict[tuple[str, str], str] = {}
    for path in sources():
        file, unit = path.relative_to(ROOT).as_posix(), unit_of(path)
        files[file] = set()
        for name, line in imported(path):
            other = modules().get(name, path)
            if other != path:
                files[file].add(other.relative_to(ROOT).as_posix())
                units[unit].add(unit_of(other))
                lines.setdefault((unit, unit_of(other)), f"{file}:{line} imports {name}")
    spanning: dict[frozenset[str], str] = {}
    for circle in circles(units) + circles(files):
        folders = frozenset(map(folder_of, circle))
        if len(folders) > 1 and not any(folders <= wider for wider in spanning):
            steps = [
                lines.get((a, b), f"{a} imports {b}") for a in sorted(circle) for b in sorted(circle) if b in (units | files)[a]
            ]
            spanning[folders] = "\n  ".join(steps)
    new = [f"{' <-> '.join(sorted(folders))}:\n  {spanning[folders]}" for folders in set(spanning) - CIRCLES]
    assert not new, "import circles between folders:\n" + "\n".join(new)
    mended = [" <-> ".join(sorted(folders)) for folders in CIRCLES - set(spanning)]
    assert not mended, f"delete these circles from CIRCLES, since they are mended: {mended}"


def test_a_class_name_is_defined_once() -> None:
    places = defaultdict(list)
    for path in sources():
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.ClassDef):
                places[node.name].append(f"{path.relative_to(ROOT)}:{node.lineno}")
    repeated = {name: where for name, where in places.items() if len(where) > 1}
    new = [f"{name}: {', '.join(where)}" for name, where in sorted(repeated.items()) if name not in REPEATED_CLASSES]
    assert not new, "give each of these classes a name of its own:\n" + "\n".join(new)
    renamed = REPEATED_CLASSES - set(repeated)
    assert not renamed, f"delete from REPEATED_CLASSES, since each is defined once now: {sorted(renamed)}"
