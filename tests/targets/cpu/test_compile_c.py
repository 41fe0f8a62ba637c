"""Compiling the kernels: the cache, and errors as data."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from edgewright.passes import cache
from edgewright.passes.diagnostics import CompileError, Exit
from edgewright.targets.cpu import codes, compile_c, variants

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


def test_every_code_has_a_title_and_a_text() -> None:
    assert all(len(text.split("\n", 1)) == 2 for text in codes.TEXTS.values())
