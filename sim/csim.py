"""C simulation of printed HLS C++: compiled by g++, cached, run on vectors in files."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgewright.passes import cache
from edgewright.passes.diagnostics import Exit, fail
from edgewright.sim import tools
from edgewright.sim.children import run_child

FLAGS = ("-std=c++17", "-O2", "-Wall", "-Wno-unknown-pragmas", "-Wno-unused-label")


@dataclass(frozen=True, slots=True)
class Completed:
    """Result of a C simulation. `seconds` is its wall clock, without the compilation."""

    returncode: int
    stdout: str
    stderr: str
    seconds: float


def build_csim(
    files: Mapping[str, str],
    main: str,
    include_dirs: Sequence[Path] = (),
    *,
    ap_int: bool = False,
    flags: Sequence[str] = (),
) -> Path:
    """Build the executable of `files` (name -> text) and `main`, the text of main.cpp, or take it from the cache.

    Headers of `include_dirs` are part of the cache's key. `ap_int` adds Xilinx's ap_int.h, from hls4ml, to the include path.
    S005 if g++ refuses a source.
    """
    texts = {**files, "main.cpp": main}
    units = [name for name in texts if Path(name).suffix in (".cpp", ".cc")]
    system = [tools.ap_types()] if ap_int else []
    headers = {
        f"include:{file.relative_to(folder)}": file.read_text()
        for folder in include_dirs
        for file in sorted(folder.rglob("*"))
        if file.suffix in (".h", ".hpp", ".tcc")
    }
    command = ["g++", *FLAGS, *flags, "-I."]
    command += [f"-I{Path(folder).resolve()}" for folder in include_dirs]
    command += [f"-isystem{folder}" for folder in system]
    versions = (tools.compiler_version(), "".join(map(str, system)), *FLAGS, *flags)

    def make(folder: Path) -> None:
        source = folder / "src"
        for name, text in texts.items():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_text(text)
        compile_and_link = [*command, *units, "-o", "../csim"]
        done = run_child(compile_and_link, cwd=source, stderr=subprocess.PIPE)
        if done.returncode:
            wrong = [line for line in done.stderr.splitlines() if "error" in line] or done.stderr.splitlines()
            because = "\n    ".join(wrong[:12])
            message = "the printed C++ does not compile"
            fail("S005", message, because=because, exit=Exit.BUG)
        (folder / "build.log").write_text(done.stderr)

    return cache.entry("csim", cache.key({**texts, **headers}, versions), make) / "csim"


def run_csim(
    files: Mapping[str, str],
    include_dirs: Sequence[Path],
    main_cpp: str,
    args: Sequence[str] = (),
    cwd: Path | None = None,
    *,
    ap_int: bool = False,
    flags: Sequence[str] = (),
    timeout_s: float = 600,
) -> Completed:
    """Build as build_csim and run the program in `cwd` with `args`; the caller judges its exit code.

    S004 if the program takes longer than `timeout_s`, as a deadlocked one may.
    """
    program = build_csim(files, main_cpp, include_dirs, ap_int=ap_int, flags=flags)
    started = time.perf_counter()
    try:
        done = run_child([program, *args], cwd=cwd, stderr=subprocess.PIPE, timeout_s=timeout_s)
    except subprocess.TimeoutExpired:
        fail("S004", f"the C simulation was stopped after {timeout_s:g} s", exit=Exit.MISMATCH)
    return Completed(done.returncode, done.stdout, done.stderr, time.perf_counter() - started)
