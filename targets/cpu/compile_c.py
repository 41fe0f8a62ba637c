"""Compiles the C kernels of a variant with the clang of PyPI's ziglang, for any of our architectures on any host."""

from __future__ import annotations

import functools
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from importlib import metadata
from importlib.resources import as_file, files
from pathlib import Path

from edgewright.passes import cache
from edgewright.passes.diagnostics import Exit, fail
from edgewright.targets.cpu import compiler_cache
from edgewright.targets.cpu.variants import Variant

TRIPLES = {"x86_64": "x86_64-linux-gnu.2.28", "aarch64": "aarch64-linux-gnu.2.28"}
TIMEOUT_SECONDS = 300
FLAGS = (
    "-std=gnu17",
    "-O3",
    "-fPIC",
    "-g0",
    "-fomit-frame-pointer",
    "-fno-stack-protector",
    "-fno-sanitize=all",
    "-ffp-contract=fast",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-Wall",
    "-Werror",
)


def kernels_object(variant: Variant, work: Path | None = None, *, exported: bool = False, defines: Sequence[str] = ()) -> Path:
    """Return the object file with all functions of kernels/ew_kernels.h for `variant`, from the cache if it is there.

    work: a folder that gets a copy, whose path is then returned. exported: symbols of default visibility, for a
    library that is loaded on its own. defines: further macros. CompileError T010 without ziglang, T011 when it fails.
    """
    version = compiler_version()
    sources = kernel_sources()
    flags = (
        *FLAGS,
        f"-fvisibility={'default' if exported else 'hidden'}",
        *variant.cflags,
        *(f"-D{name}={value}" for name, value in variant.geometry.items()),
        *(f"-D{define}" for define in defines),
    )
    unit = "".join(f'#include "{source}"\n' for source in variant.sources)

    def make(folder: Path) -> None:
        (folder / "unit.c").write_text(unit)
        with as_file(files("edgewright.targets.cpu") / "kernels") as kernels:
            clang(variant.arch, [*flags, f"-I{kernels}", "-c", str(folder / "unit.c"), "-o", str(folder / "kernels.o")])

    name = cache.key({**sources, "unit.c": unit}, [version, TRIPLES[variant.arch], *flags])
    made = cache.entry("kernels", name, make) / "kernels.o"
    if work is None:
        return made
    target = work / f"ew_kernels_{variant.name}.o"
    shutil.copyfile(made, target)
    return target


def link_shared(objects: Sequence[Path], out: Path, target: str) -> None:
    """Link objects for architecture `target` to the shared library `out`, which is replaced in one rename."""
    with tempfile.TemporaryDirectory(prefix=".link.", dir=out.parent) as scratch:
        made = Path(scratch) / out.name
        clang(target, ["-shared", "-s", *(str(path) for path in objects), "-o", str(made), "-lm", "-Wl,-z,noexecstack"])
        made.replace(out)


def kernel_sources() -> dict[str, str]:
    """Return every C file and header of kernels/ by its name: all are part of the cache key, since they include each other."""
    folder = files("edgewright.targets.cpu") / "kernels"
    return {
        file.name: file.read_text() for file in sorted(folder.iterdir(), key=lambda f: f.name) if file.name[-2:] in (".c", ".h")
    }


@functools.cache
def compiler_version() -> str:
    """Return the version of ziglang; CompileError T010 when it is not installed."""
    if importlib.util.find_spec("ziglang") is None:
        fail(
            "T010", "no C compiler: the Python package 'ziglang' is not installed", help="pip install ziglang", exit=Exit.USAGE
        )
    return metadata.version("ziglang")


def clang(arch: str, arguments: Sequence[str]) -> None:
    """Run the C compiler for an architecture. CompileError T010 without it, T011 when it fails."""
    compiler_version()
    command = [sys.executable, "-m", "ziglang", "cc", "-target", TRIPLES[arch], *arguments]
    # Our objects are in a cache of our own, which is checked; zig's cache would return them unchecked.
    with tempfile.TemporaryDirectory(prefix="edgewright-cc-") as local, compiler_cache.checked_library() as library:
        environment = {**os.environ, compiler_cache.GLOBAL: str(library), compiler_cache.LOCAL: local}
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, errors="replace", env=environment, timeout=TIMEOUT_SECONDS
            )
            stderr = (done.stderr.strip() or f"exit code {done.returncode}") if done.returncode else ""
        except subprocess.TimeoutExpired:
            stderr = f"it did not end within {TIMEOUT_SECONDS} s"
        if stderr:
            ending = Exit.USAGE if cache.says_no_room(stderr) else Exit.BUG
            fail("T011", "the C compiler failed", because=stderr[:2000], exit=ending)
