"""C simulation: compiled once, run with arguments, errors told, ap_int from the installed wheel."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from edgewright.passes.diagnostics import CompileError
from edgewright.sim.csim import build_csim, run_csim

pytestmark = pytest.mark.sim
KERNEL = {"twice.h": "int twice(int x);\n", "twice.cpp": '#include "twice.h"\nint twice(int x) { return 2 * x; }\n'}
MAIN = """
#include <cstdlib>
#include <fstream>
#include "shim.h"
#include "twice.h"
int main(int, char** argv) {
  std::ofstream(argv[1]) << twice(std::atoi(argv[2])) + SHIM << std::endl;
  return 3;
}
"""


def shim(folder: Path, value: int) -> list[Path]:
    folder.mkdir(exist_ok=True)
    (folder / "shim.h").write_text(f"#pragma once\n#define SHIM {value}\n")
    return [folder]


def test_runs_with_arguments_in_a_folder(tmp_path: Path) -> None:
    done = run_csim(KERNEL, shim(tmp_path / "include", 1), MAIN, ["out.txt", "20"], tmp_path)
    assert done.returncode == 3
    assert (tmp_path / "out.txt").read_text() == "41\n"


def test_headers_are_part_of_the_key(tmp_path: Path) -> None:
    first = build_csim(KERNEL, MAIN, shim(tmp_path / "include", 1))
    assert build_csim(KERNEL, MAIN, shim(tmp_path / "include", 1)) == first
    assert build_csim(KERNEL, MAIN, shim(tmp_path / "include", 2)) != first


def test_what_does_not_compile_is_told(tmp_path: Path) -> None:
    with pytest.raises(CompileError, match=r"error\[S005\]: the printed C\+\+ does not compile\n.*twice"):
        build_csim({}, MAIN, shim(tmp_path / "include", 1))


def test_a_hanging_program_is_stopped() -> None:
    with pytest.raises(CompileError, match="stopped after 1 s"):
        run_csim({}, [], "int main() { volatile int x = 0; for (;;) x = x + 1; }\n", timeout_s=1)


@pytest.mark.skipif(importlib.util.find_spec("hls4ml") is None, reason="hls4ml, which has ap_int.h, is missing")
def test_ap_int_is_found() -> None:
    main = "#include <ap_int.h>\nint main() { ap_int<5> x = 15; x += 1; return x == -16 ? 0 : 1; }\n"
    assert run_csim({}, [], main, ap_int=True).returncode == 0
