"""From CUDA source to a cubin: which compiler is taken, and what is said where there is none."""

from __future__ import annotations

from pathlib import Path

import pytest
from edgewright.passes.diagnostics import CompileError, Exit

pytest.importorskip("tvm")

from edgewright.targets.gpu import compile as cuda_compile
from edgewright.targets.gpu.build import cuda_program
from edgewright.targets.gpu.compile import KernelResources, compile_cubin, compilers, resource_usage
from edgewright.targets.gpu.step import ARCHITECTURES

from tests.targets.gpu.test_cuda import quantised_vit

pytestmark = pytest.mark.tvm

NVCC = """#!/bin/sh
case "$1" in
--version) echo "Cuda compilation tools, release 12.6, V12.6.85" ;;
--list-gpu-arch) echo compute_53; echo compute_72 ;;
*)
    grep -q broken model.cu && { echo "model.cu(1): error: broken" >&2; exit 2; }
    echo "$@" > model.cubin
    echo "ptxas info    : Compiling entry function 'ew_0' for 'sm_53'" >&2
    echo "ptxas info    : Used 38 registers, used 1 barriers, 5120 bytes smem, 384 bytes cmem[0]" >&2 ;;
esac
"""


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEWRIGHT_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def nvcc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that answers as nvcc 12.6 does, and no other compiler."""
    home = tmp_path / "cuda" / "bin"
    home.mkdir(parents=True)
    (home / "nvcc").write_text(NVCC)
    (home / "nvcc").chmod(0o755)
    monkeypatch.setenv("CUDA_HOME", str(home.parent))
    monkeypatch.setattr(cuda_compile, "_find_nvrtc", lambda: None)


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_what_is_found_compiles_or_says_why_not(arch: str) -> None:
    """With the compilers of this machine: a cubin without spills in every kernel, or an error that names them."""
    graph = quantised_vit("cls")
    if all(arch not in one.architectures for one in compilers()):
        with pytest.raises(CompileError) as caught:
            cuda_program(graph, arch, require=True)
        (said,) = caught.value.diagnostics
        assert said.code == ("T030" if compilers() else "T031") and arch in said.message
        assert cuda_program(graph, arch).cubins == {}
        return
    built = cuda_program(graph, arch, require=True)
    code = built.cubins[arch]
    assert code[:4] == b"\x7fELF" and built.files()["model.cubin"] == code
    assert f"cubin, {len(code)}," in built.sources["model_tables.cpp"]
    assert {step["kernel"] for step in built.manifest["steps"]} == set(built.resources) == set(built.manifest["resources"])
    assert all(0 < one.registers <= 128 and one.spill_bytes == 0 for one in built.resources.values())
    assert max(one.shared_bytes for one in built.resources.values()) <= 48 << 10


def test_a_compiler_is_chosen_by_architecture(nvcc: None) -> None:
    cubin = compile_cubin("// kernels", "sm_53", require=True)
    assert cubin is not None and cubin.compiler == "nvcc 12.6"
    assert cubin.code.decode().split()[:2] == ["-cubin", "-arch=sm_53"]
    assert cubin.resources == {"ew_0": KernelResources(38, 5120, 0)}
    assert compile_cubin("// kernels", "sm_87") is None


def test_an_unknown_architecture_is_said_with_the_compilers_that_were_found(nvcc: None) -> None:
    with pytest.raises(CompileError) as caught:
        compile_cubin("// kernels", "sm_87", require=True)
    (said,) = caught.value.diagnostics
    assert (said.code, said.message) == ("T030", "nvcc 12.6 cannot compile for sm_87")
    assert caught.value.exit_code == Exit.USAGE


def test_no_compiler_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda_compile, "compilers", lambda: [])
    assert compile_cubin("// kernels", "sm_87") is None
    with pytest.raises(CompileError) as caught:
        compile_cubin("// kernels", "sm_87", require=True)
    assert [one.code for one in caught.value.diagnostics] == ["T031"]


def test_a_compiler_that_fails(nvcc: None) -> None:
    with pytest.raises(CompileError) as caught:
        compile_cubin("broken", "sm_53")
    (said,) = caught.value.diagnostics
    assert said.code == "T033" and said.because == "model.cu(1): error: broken"
    assert caught.value.exit_code == Exit.BUG


def test_resources_are_read_from_both_forms_of_ptxas() -> None:
    log = (
        "ptxas info    : Compiling entry function 'ew_1' for 'sm_87'\n"
        "ptxas info    : Function properties for ew_1\n"
        "    8 bytes stack frame, 24 bytes spill stores, 16 bytes spill loads\n"
        "ptxas info    : Used 69 registers, used 1 barriers, 22336 bytes smem, 392 bytes cmem[0]\n"
        "ptxas info    : Compiling entry function 'ew_0' for 'sm_87'\n"
        "ptxas info    : Used 8 registers, 368 bytes cmem[0]\n"
    )
    assert resource_usage(log) == {"ew_1": KernelResources(69, 22336, 40), "ew_0": KernelResources(8, 0, 0)}
