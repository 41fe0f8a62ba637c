"""Build an executable Verilator model of SystemVerilog, with cocotb's VPI library linked in, cached."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgewright.hw.kernel.sv_comments import without_comments
from edgewright.passes import cache
from edgewright.passes.diagnostics import Exit, fail
from edgewright.sim import tools
from edgewright.sim.children import run_child

PREFIX = "Vtop"
OPTIMISATION = ("OPT_FAST=-O2", "OPT_SLOW=-O0", "OPT_GLOBAL=-O2")  # slow files hold code that runs once
WARNINGS = ("-Wno-fatal",)  # lint is a separate test; a build fails on errors only
COVERAGE = ("--coverage-line", "--coverage-toggle")
UNOPTIMISED = ("OPT_FAST=-O0", "OPT_SLOW=-O0", "OPT_GLOBAL=-O0")  # counters make the C++ large, and such a model runs once

Sources = Mapping[str, str] | Sequence[Path | str]


@dataclass(frozen=True, slots=True)
class Build:
    """A compiled model. `waves` is "" or the format that it can trace: "fst" or "vcd"."""

    folder: Path
    top: str
    waves: str

    @property
    def executable(self) -> Path:
        return self.folder / "sim"


def read_sources(sources: Sources) -> dict[str, str]:
    """Return file name -> text, in the order of `sources` (packages first); paths are reduced to their file name."""
    if isinstance(sources, Mapping):
        return dict(sources)
    texts: dict[str, str] = {}
    for path in map(Path, sources):
        if path.name in texts:
            raise ValueError(f"two sources are named {path.name}")
        texts[path.name] = path.read_text()
    return texts


def build(
    top: str,
    sources: Sources,
    *,
    parameters: Mapping[str, int] | None = None,
    defines: Mapping[str, object] | None = None,
    unroll_stmts: int | None = None,
    trace: bool = False,
    coverage: bool = False,
    visible: Mapping[str, Sequence[str]] | None = None,
    arguments: Sequence[str] = (),
) -> Build:
    """Build the model of module `top`, or take it from the cache if nothing but comments has changed of what goes into it.

    Python sees the ports of `top` and, of each module named in `visible`, the listed signals; nothing else is public,
    because cocotb's own --public-flat-rw is 3.6 times slower. `unroll_stmts` is Verilator's limit on unrolled loop
    bodies: 600 builds quickly, 1200 runs large arrays fastest. With `coverage`, a run counts the lines executed and the bits
    toggled. S002 if Verilator refuses a source.
    """
    texts = read_sources(sources)
    texts["visible.vlt"] = _control_file(top, visible or {})
    waves = "" if not trace else "fst" if tools.has_fst_headers() else "vcd"
    flags = ["-O3", "--assert", "--x-initial", "unique", *WARNINGS]
    flags += [] if unroll_stmts is None else ["--unroll-stmts", str(unroll_stmts)]
    flags += {"": [], "fst": ["--trace-fst", "--trace-structs"], "vcd": ["--trace-vcd", "--trace-structs"]}[waves]
    flags += [f"-G{name}={value}" for name, value in (parameters or {}).items()]
    flags += [f"-D{name}={value}" for name, value in (defines or {}).items()]
    flags += COVERAGE if coverage else ()
    flags += arguments
    optimisation = UNOPTIMISED if coverage else OPTIMISATION
    name = cache.key(texts if coverage else without_comments(texts), (tools.fingerprint(), top, *optimisation, *flags))

    def make(folder: Path) -> None:
        _compile(folder, top, texts, flags, waves, optimisation)

    return Build(cache.entry("models", name, make), top, waves)


def _control_file(top: str, visible: Mapping[str, Sequence[str]]) -> str:
    lines = ["`verilator_config", f'public_flat_rw -module "{top}" -port "*"']
    for module, signals in visible.items():
        lines += [f'public_flat_rw -module "{module}" -var "{signal}"' for signal in signals]
    return "\n".join(lines) + "\n"


def _compile(
    folder: Path, top: str, texts: Mapping[str, str], flags: Sequence[str], waves: str, optimisation: Sequence[str]
) -> None:
    """Fill `folder` with the executable `sim`, the sources and the log; objects are deleted."""
    tool, library = tools.verilator(), tools.cocotb()
    sources, objects = folder / "src", folder / "obj"
    for name, text in texts.items():
        (sources / name).parent.mkdir(parents=True, exist_ok=True)
        (sources / name).write_text(text)
    compiled = [name for name in texts if Path(name).suffix in (".sv", ".v", ".vlt")]
    environment = tool.environment(dict(os.environ))
    verilate = [
        *(str(tool.root / "bin" / "verilator"), "--cc", "--exe", "--vpi", "--prefix", PREFIX, "--top-module", top),
        *("-Mdir", str(objects), "-o", "sim", f"-I{sources}"),
        *("-LDFLAGS", f"-Wl,-rpath,{library.libs} -L{library.libs} -lcocotbvpi_verilator"),
        *flags,
        *sorted(compiled, key=lambda name: not name.endswith(".vlt")),
        str(library.main),
    ]
    log = folder / "build.log"
    _step(verilate, sources, environment, log, f"Verilator refuses module {top}", "S002")
    runtime = cache.key({}, (tools.fingerprint(), waves, *optimisation))
    borrow_runtime(runtime, objects)
    jobs = min(2, os.cpu_count() or 1)
    variables = (*optimisation, *tools.MAKE_VARIABLES, f"PYTHON3={sys.executable}")
    make = ["make", f"-j{jobs}", "-f", f"{PREFIX}.mk", *variables]
    _step(make, objects, environment, log, f"the C++ of module {top} does not compile", "S003")
    lend_runtime(runtime, objects)
    (objects / "sim").rename(folder / "sim")
    shutil.rmtree(objects)


def _step(command: Sequence[str], cwd: Path, env: Mapping[str, str], log: Path, message: str, code: str) -> None:
    done = run_child(command, cwd=cwd, env=env)
    with log.open("a") as handle:
        handle.write(" ".join(command) + "\n" + done.stdout)
    if done.returncode:
        wrong = [line for line in done.stdout.splitlines() if "rror" in line] or done.stdout.splitlines()[-10:]
        fail(code, message, because="\n    ".join(wrong[:12]), help="this is a bug in Edgewright: report it", exit=Exit.BUG)


def borrow_runtime(name: str, objects: Path) -> None:
    """Copy Verilator's compiled library, which is the same for every model, so that it is newer than its sources."""
    for source in (tools.verilator().root / "include").glob("verilated*.cpp"):
        if (folder := cache.existing("runtime", f"{name}-{source.stem}")) is not None:
            shutil.copyfile(folder / f"{source.stem}.o", objects / f"{source.stem}.o")


def lend_runtime(name: str, objects: Path) -> None:
    """Cache the library's objects of this build that are not cached yet."""
    for file in objects.glob("verilated*.o"):

        def make(folder: Path, file: Path = file) -> None:
            shutil.copyfile(file, folder / file.name)

        cache.entry("runtime", f"{name}-{file.stem}", make)
