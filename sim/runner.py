"""Run cocotb tests on a compiled model."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from edgewright.passes.diagnostics import Exit, fail
from edgewright.sim import tools
from edgewright.sim.build import Build, Sources, build
from edgewright.sim.children import run_child

VALUES_FILE = "values.json"  # the values that a test reports, by cocotb_bench.report()
EXCERPT_LINES = 40


@dataclass(frozen=True, slots=True)
class Result:
    """Outcome of one simulator run. `failure`: empty if passed, else the relevant part of the log.

    seconds: wall clock of the simulator process. values: those that the test module reported, `cycles` among them.
    """

    passed: bool
    failure: str
    seconds: float
    log: str
    values: Mapping[str, Any] = field(default_factory=dict)

    @property
    def cycles(self) -> int:
        return int(self.values["cycles"])

    def require(self, what: str) -> Result:
        """Return the result if passed. S004 with the failure's text otherwise."""
        if not self.passed:
            message = f"the simulation of {what} failed"
            fail("S004", message, because=self.failure, exit=Exit.MISMATCH)
        return self


def run(
    model: Build,
    module: str | Path,
    *,
    plusargs: Mapping[str, object] | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    timeout_s: float = 600,
    seed: int = 1,
    randomise: bool = False,
    assertions: bool = True,
    wave: Path | None = None,
    coverage: Path | None = None,
) -> Result:
    """Run the cocotb tests of `module`: a dotted name, or the path of a Python file.

    `seed` sets Python's random module and, with `randomise`, the state of everything before reset (zeros otherwise), inputs of
    the top included: it must tolerate a clock edge before its reset. The test reads and writes files in `cwd`, a temporary
    folder by default. Without `assertions`, those of the sources are not checked, as in hardware. `wave` needs a model
    built with trace=True, `coverage` (the file that Verilator writes) one built with coverage=True.
    """
    if wave is not None and not model.waves:
        raise ValueError("this model was built without trace=True")
    command = [str(model.executable), f"+verilator+rand+reset+{2 * randomise}", f"+verilator+seed+{seed}"]
    command += [] if assertions else ["+verilator+noassert"]
    command += [] if wave is None else ["--trace", "--trace-file", str(wave.absolute())]
    command += [] if coverage is None else [f"+verilator+coverage+file+{coverage.absolute()}"]
    command += [f"+{name}={value}" for name, value in (plusargs or {}).items()]
    environment = {**_environment(model.top, module), "COCOTB_RANDOM_SEED": str(seed), **(env or {})}
    with nullcontext(cwd) if cwd is not None else tempfile.TemporaryDirectory(prefix="edgewright-") as scratch:
        folder = Path(scratch)
        for stale in (VALUES_FILE, "results.xml"):
            (folder / stale).unlink(missing_ok=True)
        started = time.perf_counter()
        log, ending = _execute(command, folder, environment, timeout_s)
        seconds = time.perf_counter() - started
        values = json.loads((folder / VALUES_FILE).read_text()) if (folder / VALUES_FILE).exists() else {}
        failure = ending or _failures(folder / "results.xml")
    if failure:
        failure = f"{failure}\n{_excerpt(log)}".rstrip()
    return Result(not failure, failure, seconds, log, values)


def run_cocotb(
    top: str,
    sources: Sources,
    module: str | Path,
    *,
    parameters: Mapping[str, int] | None = None,
    unroll_stmts: int | None = None,
    plusargs: Mapping[str, object] | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    timeout_s: float = 600,
    seed: int = 1,
    wave: Path | None = None,
) -> Result:
    """`build` and `run` in one; with `wave`, the model is built with tracing, cached separately."""
    model = build(top, sources, parameters=parameters, unroll_stmts=unroll_stmts, trace=wave is not None)
    return run(model, module, plusargs=plusargs, env=env, cwd=cwd, timeout_s=timeout_s, seed=seed, wave=wave)


def _environment(top: str, module: str | Path) -> dict[str, str]:
    """Return the environment that cocotb's library reads at start, as cocotb_tools.runner sets it (which would also build)."""
    tools.cocotb()
    import find_libpython
    from cocotb_tools import config

    library = find_libpython.find_libpython()
    if library is None:
        tools.missing(
            "libpython",
            "cocotb loads Python into the simulator as a shared library, and this Python was built without one",
            "use a Python built with --enable-shared, such as Debian's python3 or uv's",
        )
    path = list(sys.path)
    if isinstance(module, Path):
        path.insert(0, str(module.absolute().parent))
        module = module.stem
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("COCOTB_", "GPI_"))}
    return {
        **inherited,
        "COCOTB_TOPLEVEL": top,
        "COCOTB_TEST_MODULES": module,
        "COCOTB_TRUST_INERTIAL_WRITES": "1",
        "COCOTB_RESULTS_FILE": "results.xml",
        "COCOTB_ANSI_OUTPUT": "0",
        "TOPLEVEL_LANG": "verilog",
        "GPI_USERS": f"{library};{config.pygpi_entry_point()}",
        "PYGPI_PYTHON_BIN": sys.executable,
        "PYTHONPATH": os.pathsep.join(path),
    }


def _execute(command: Sequence[str], cwd: Path, env: Mapping[str, str], timeout_s: float) -> tuple[str, str]:
    """Return (log, failure or ""); the simulator and its children are killed at the time limit."""
    with open(cwd / "sim.log", "w+", errors="replace") as log:
        try:
            code = run_child(command, cwd=cwd, env=env, stdout=log, timeout_s=timeout_s).returncode
            ending = f"the simulator ended with exit code {code}" if code else ""
        except subprocess.TimeoutExpired:
            ending = f"the simulation was stopped after {timeout_s:g} s"
        log.seek(0)
        return log.read(), ending


def _failures(results: Path) -> str:
    """Return the names of failed tests in cocotb's JUnit file, or why there are no results."""
    try:
        cases = list(ElementTree.parse(results).getroot().iter("testcase"))
    except (OSError, ElementTree.ParseError):
        return "the simulator left no results: it ended before its tests"
    if not cases:
        return "no test was run"
    failed = [case.get("name", "?") for case in cases if {child.tag for child in case} & {"failure", "error"}]
    return f"failed: {', '.join(failed)}" if failed else ""


def _excerpt(log: str) -> str:
    """Return the log from its first error on, without cocotb's table at the end."""
    lines = [line for line in log.splitlines() if " ** " not in line and " ****" not in line]
    signs = ("%Error", "%Fatal", "Traceback", "Error:", "AssertionError", " failed")
    trouble = [i for i, line in enumerate(lines) if any(sign in line for sign in signs)]
    first = trouble[0] if trouble else max(0, len(lines) - EXCERPT_LINES)
    return "\n".join(lines[first : first + EXCERPT_LINES])
