"""The five rooms: frontend -> sim -> hw -> targets -> passes, imports to the right only."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("frontend", "sim", "hw", "targets", "passes")
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


def imported(path: Path) -> Iterator[tuple[str, int]]:
    """Absolute names of what a file imports, wherever in the file, with the line."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: write `from edgewright.…`, not a relative import"
            assert node.module is not None
            if node.module == "edgewright":
                yield from ((f"edgewright.{alias.name}", node.lineno) for alias in node.names)
            else:
                yield node.module, node.lineno


@pytest.mark.parametrize("room", ROOMS)
def test_imports_point_to_the_right(room: str) -> None:
    wrong = []
    for path in sorted((ROOT / room).rglob("*.py")):
        for name, line in imported(path):
            top, _, rest = name.partition(".")
            other = rest.split(".")[0]
            if top == "edgewright" and other in ROOMS and ROOMS.index(other) < ROOMS.index(room):
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
def test_third_party_packages_stay_in_their_room(package: str) -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for room in ROOMS
        for path in sorted((ROOT / room).rglob("*.py"))
        for name, line in imported(path)
        if name.split(".")[0] == package and not _inside(path.relative_to(ROOT), FENCED[package])
    ]
    assert not wrong, "\n".join(wrong)


def test_the_language_knows_no_pass() -> None:
    """`passes/ir/` and `passes/ops/` import each other and single files of `passes/`, none of its folders of passes."""
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
    assert not [p for room in ROOMS for p in (ROOT / room).rglob("*.py") if vague & {p.stem, p.parent.name}]
