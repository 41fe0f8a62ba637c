"""The runner in every artifact: its sources, and a program built from them for the artifact's architecture."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from edgewright.passes import cache
from edgewright.targets.cpu.compile_c import TRIPLES, clang, compiler_version
from edgewright.targets.cpu.variants import Arch

PROGRAM = "edgewright-run"
FOLDER = "runner"
DYNAMIC_LOADER = {"x86_64": "/lib64/ld-linux-x86-64.so.2", "aarch64": "/lib/ld-linux-aarch64.so.1"}
_COMPILED = (".c", ".cpp")
_SHIPPED = (*_COMPILED, ".h", ".md", ".py", "Makefile")
_FLAGS = ("-O2", "-s", "-g0", "-fno-sanitize=all", "-Wall", "-Werror", "-rdynamic", "-pthread")
_CPP = ("-fno-exceptions", "-fno-rtti", "-nostdlib++")  # it needs nothing of a C++ library


def runner_files(arch: Arch) -> dict[str, bytes]:
    """Return the files of an artifact's folder `runner` by their paths, including the program.

    The program needs glibc 2.28 and no other library. CompileError T010 without ziglang, T011 when it fails.
    """
    shipped = {name: text.encode() for name, text in sources().items()}
    return {f"{FOLDER}/{name}": content for name, content in {**shipped, PROGRAM: program(arch).read_bytes()}.items()}


def sources() -> dict[str, str]:
    """Return every file of runner/ that a user may read or build, by its name."""
    folder = files("edgewright.targets.cpu") / "runner"
    shipped = sorted((file for file in folder.iterdir() if file.name.endswith(_SHIPPED)), key=lambda file: file.name)
    return {file.name: file.read_text(encoding="utf-8") for file in shipped if file.name != "__init__.py"}


def program(arch: Arch) -> Path:
    """Return edgewright-run for an architecture, from the cache if it is there."""
    texts = {name: text for name, text in sources().items() if name.endswith((*_COMPILED, ".h"))}
    units = [name for name in texts if name.endswith(_COMPILED)]

    def make(folder: Path) -> None:
        for name, text in texts.items():
            (folder / name).write_text(text, encoding="utf-8")
        c, cpp = ([str(folder / name) for name in units if name.endswith(ending)] for ending in _COMPILED)
        out = folder / PROGRAM
        clang(arch, [*_FLAGS, "-x", "c", *c, "-x", "c++", *_CPP, *cpp, "-x", "none", "-ldl", "-o", str(out)])
        out.chmod(0o755)

    name = cache.key(texts, [compiler_version(), TRIPLES[arch], *_FLAGS, *_CPP])
    return cache.entry("runner", name, make) / PROGRAM
