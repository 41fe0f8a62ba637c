"""The printed C++ as text: deterministic, without warnings in both builds, only with constructs that Vitis documents."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from edgewright.hw.blocks.config import EngineConfig
from edgewright.hw.blocks.engine import build
from edgewright.hw.kernel import Block, ProcessTrace, Value, i, reinterpret, sat, u, wrap
from edgewright.hw.kernel.cpp import HLS_FOLDER, SHIM_FOLDER, support_files, to_cpp
from edgewright.hw.kernel.cpp_vitis import vitis_tcl
from edgewright.sim import tools


def engine() -> Block:
    return build(EngineConfig())


def test_deterministic() -> None:
    assert to_cpp(engine()) == to_cpp(engine())


@pytest.mark.parametrize("ap_int", [False, True], ids=["plain", "ap_int"])
def test_engine_compiles_without_warnings(tmp_path: Path, ap_int: bool) -> None:
    for name, text in to_cpp(engine()).items():
        (tmp_path / name).write_text(text)
    flags = ["-DEW_AP_INT", f"-isystem{tools.ap_types()}"] if ap_int else []
    command = [
        str(tools.program("g++")),
        "-std=c++17",
        "-fsyntax-only",
        "-Wall",
        "-Wextra",
        "-Werror",
        "-Wno-unknown-pragmas",
        "-Wno-unused-label",
        f"-I{SHIM_FOLDER}",
        f"-I{HLS_FOLDER}",
        *flags,
        str(tmp_path / "engine.cpp"),
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_one_function_and_task_per_process() -> None:
    block = engine()
    text = to_cpp(block)["engine.cpp"]
    for process in block.program.processes:
        assert re.search(rf"^void {process.name}\(", text, re.MULTILINE)
        assert f"hls::task {process.name}_task(processes::{process.name}, " in text


def test_lines_fit() -> None:
    for text in to_cpp(engine()).values():
        assert max(len(line) for line in text.splitlines()) <= 120


def test_names_of_the_source_and_of_the_language() -> None:
    b = Block("index")
    x, y = b.input("int", u(8)), b.output("double", u(8))

    @b.process(loops=[("k", 1)], name="round")
    def body(p: ProcessTrace, k: Value) -> None:
        template = p.read(x)
        p.write(y, sat(template * 2, u(8)))

    text = to_cpp(b)["index.cpp"]
    assert "const UInt<8> template_2 = int_2.read();" in text
    assert "void index_hls(hls::stream<UInt<8>>& s_axis_int, hls::stream<UInt<8>>& m_axis_double) {" in text
    assert "clamp<UInt<8>>(template_2 * 2, 0, 255)" in text


def test_single_iteration_is_a_pipelined_function() -> None:
    b = Block("copy")
    x, y = b.input("x", i(8)), b.output("y", i(8))

    @b.process(loops=[("k", 1)])
    def copy_one(p: ProcessTrace, k: Value) -> None:
        """Pass each token on."""
        p.write(y, p.read(x))

    text = to_cpp(b)["copy.cpp"]
    function = text[text.index("// Pass each token on.") : text.index("}  // namespace")]
    assert "#pragma HLS PIPELINE II=1 style=frp" in function
    assert "for (" not in function and "while" not in function


def test_numbers_wider_than_a_word_are_refused() -> None:
    wide, array = Block("wide"), Block("array")
    x, y = wide.input("x", u(4100)), wide.output("y", u(1))

    @wide.process()
    def low(p: ProcessTrace, k: Value) -> None:
        p.write(y, wrap(p.read(x), u(1)))

    with pytest.raises(ValueError, match="no number of 4100 bits"):
        to_cpp(wide)
    a, c = array.input("a", u(8)[520]), array.output("c", u(16)[260])

    @array.process()
    def pairs(p: ProcessTrace, k: Value) -> None:
        p.write(c, reinterpret(p.read(a), u(16)[260]))

    with pytest.raises(ValueError, match=r"process pairs, test_cpp\.py:\d+: .* 4160 bits"):
        to_cpp(array)


def test_support_files_are_what_is_included() -> None:
    text = to_cpp(engine())["engine.cpp"] + "".join(support_files().values())
    included = set(re.findall(r'#include "([^"]+)"', text)) - {"engine.hpp"}
    assert included <= set(support_files())


def test_vitis_script() -> None:
    text = vitis_tcl("engine_hls", "xczu7ev-ffvc1156-2-e", 300, ["engine.cpp", "engine.hpp", "ew_int.h"], [("fill_k", "fill")])
    assert "set_top engine_hls\n" in text and "set_part xczu7ev-ffvc1156-2-e\n" in text
    assert "create_clock -period 3.333 -name default\n" in text and "set_clock_uncertainty 0.400\n" in text
    assert "set asked {\n  fill_k fill 1\n}\n" in text
    assert "add_files engine.cpp " in text and "csynth_design\n" in text and "csim_design" not in text
    assert "csim_design" in vitis_tcl("engine_hls", "part", 100, ["engine.cpp", "main.cpp"])
    with pytest.raises(ValueError, match="clock"):
        vitis_tcl("engine_hls", "part", 0, [])
