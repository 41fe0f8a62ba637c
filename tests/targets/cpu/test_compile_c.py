"""Compiling the kernels: the cache, and errors as data."""

from __future__ import annotations

import importlib.util
import subprocess
from pathlib import Path

import pytest
from edgewright.passes import cache
from edgewright.passes.diagnostics import CompileError, Exit
from edgewright.targets.cpu import compile_c, compiler_cache, variants
from edgewright.targets.cpu.runner_files import program
from edgewright.targets.cpu.variants import host_arch

GENERIC = variants.variant("generic_x86_64")
needs_ziglang = pytest.mark.skipif(importlib.util.find_spec("ziglang") is None, reason="ziglang: the C compiler is missing")


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Of kernels; the compiler keeps what it made of its C library."""
    for variable in ("ZIG_GLOBAL_CACHE_DIR", "ZIG_LOCAL_CACHE_DIR"):
        monkeypatch.setenv(variable, str(cache.root() / "zig"))
    monkeypatch.setenv("EDGEWRIGHT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_missing_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    compile_c.compiler_version.cache_clear()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(CompileError) as caught:
        compile_c.kernels_object(GENERIC)
    assert [one.code for one in caught.value.diagnostics] == ["T010"] and caught.value.exit_code == Exit.USAGE
    assert "pip install ziglang" in str(caught.value)


@needs_ziglang
def test_compiled_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = compile_c.kernels_object(GENERIC)
    monkeypatch.setattr(compile_c, "clang", lambda *_: pytest.fail("compiled again"))
    assert compile_c.kernels_object(GENERIC) == first
    copied = compile_c.kernels_object(GENERIC, tmp_path)
    assert copied.parent == tmp_path and copied.read_bytes() == first.read_bytes()


@needs_ziglang
@pytest.mark.parametrize("size", [0, 1000])
def test_damaged_kernels_are_compiled_again(size: int) -> None:
    first = compile_c.kernels_object(GENERIC)
    whole = first.read_bytes()
    first.write_bytes(whole[:size])
    assert compile_c.kernels_object(GENERIC).read_bytes() == whole


@needs_ziglang
def test_a_damaged_runner_is_built_again() -> None:
    """Emptied, half, not executable, or of another architecture."""
    first = program(host_arch())  # type: ignore[arg-type]
    whole, other = first.read_bytes(), next(arch for arch in compile_c.TRIPLES if arch != host_arch())
    for damage in (b"", whole[: len(whole) // 2], program(other).read_bytes(), None):  # type: ignore[arg-type]
        first.chmod(0o644) if damage is None else first.write_bytes(damage)
        assert program(host_arch()) == first and first.read_bytes() == whole  # type: ignore[arg-type]
        assert subprocess.run([first, "--help"], capture_output=True).returncode == 0


@needs_ziglang
@pytest.mark.parametrize("damage", ["emptied", "changed", "missing", "none"])
def test_a_damaged_cache_of_the_compiler_is_replaced(own_cache: Path, monkeypatch: pytest.MonkeyPatch, damage: str) -> None:
    """By what a compiler wrote that fails where one of its files is not as it was."""
    monkeypatch.delenv(compiler_cache.GLOBAL)
    compiled: list[str] = []

    def run(command: list[str], env: dict[str, str], **_: object) -> subprocess.CompletedProcess[str]:
        start = Path(env[compiler_cache.GLOBAL]) / "o" / "ab12" / "crt1.o"
        if not start.exists():
            start.parent.mkdir(parents=True)
            start.write_bytes(b"start")
            compiled.append(command[-1])
        assert start.read_bytes() == b"start"
        assert list(Path(env[compiler_cache.LOCAL]).iterdir()) == []
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(subprocess, "run", run)
    for name in ("1", "2"):
        compile_c.clang("x86_64", [name])
    start = own_cache / "zig" / "o" / "ab12" / "crt1.o"
    if damage == "missing":
        start.unlink()
    elif damage != "none":
        start.write_bytes(b"" if damage == "emptied" else b"stbrt")
    for name in ("3", "4"):
        compile_c.clang("x86_64", [name])
    assert compiled == (["1"] if damage == "none" else ["1", "3"])


@needs_ziglang
def test_a_full_disk_is_no_bug(monkeypatch: pytest.MonkeyPatch) -> None:
    said = subprocess.CompletedProcess([], 1, "", "error: unable to write: NoSpaceLeft")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: said)
    with pytest.raises(CompileError) as caught:
        compile_c.clang("x86_64", [])
    assert caught.value.exit_code == Exit.USAGE and caught.value.diagnostics[0].code == "T011"


@needs_ziglang
def test_compiler_that_fails_leaves_nothing(own_cache: Path) -> None:
    with pytest.raises(CompileError) as caught:
        compile_c.kernels_object(GENERIC, defines=("ew_pack_a_s8=3",))
    assert [one.code for one in caught.value.diagnostics] == ["T011"] and caught.value.exit_code == Exit.BUG
    assert "error:" in str(caught.value)
    assert not [path for path in own_cache.rglob("*.o") if "kernels" in path.parts]


@needs_ziglang
@pytest.mark.parametrize(("arch", "machine"), [("x86_64", 62), ("aarch64", 183)])
def test_shared_library_for_each_architecture(tmp_path: Path, arch: str, machine: int) -> None:
    """By e_machine of the ELF header; no symbol of the kernels is visible."""
    out = tmp_path / "kernels.so"
    compile_c.link_shared([compile_c.kernels_object(variants.best(arch, ()))], out, arch)
    data = out.read_bytes()
    assert data[:4] == b"\x7fELF" and int.from_bytes(data[18:20], "little") == machine
    assert b"ew_gemm_f32" not in data
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".link")] == []
