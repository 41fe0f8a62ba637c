"""TVM's runtime for aarch64, and models compiled by TVM's own defaults and run on it under QEMU. For `tvm_default`."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from edgewright.passes import cache
from edgewright.targets.cpu import qemu
from edgewright.targets.cpu.compile_c import clang, link_shared
from edgewright.targets.cpu.devices.qemu import library_root

from benchmarks.cpu_models import CannotMake, Wheel, downloaded

Array = np.ndarray[Any, np.dtype[Any]]

ARCH = "aarch64"
WHEELS = (
    Wheel("apache-tvm", "0.27.0.post1", "4acfdb7653e4e1ba7a707bdf2833db72eb8fda7d04d99141f2a4e1da43171fb7"),
    Wheel("apache-tvm-ffi", "0.1.14.post0", "8efb2234473980271c665eea40bfdfbb154c46e0dda195e1c3a36963318aa029"),
)
PYTHON = "312"  # whose wheel of apache-tvm-ffi has that digest; no Python runs on the emulated machine
LIBRARIES = ("libtvm_runtime.so", "libtvm_ffi.so")
CPP_LIBRARIES = {"libstdc++.so.6": "libstdc++6-arm64-cross", "libgcc_s.so.1": "libgcc-s1-arm64-cross"}  # Debian's packages
SOURCE = Path(__file__).with_name("tvm_default_main.c")
PROGRAM = "tvm_default_main"


@dataclass(frozen=True, slots=True)
class Counted:
    """One inference: its output, and the instructions it took."""

    output: Array
    instructions: int


def runtime() -> Path:
    """The folder with the runner, TVM's runtime and the C++ libraries it needs, made once. CannotMake when that fails."""
    place = cache.root() / "bench" / "tvm_aarch64"
    if not all((place / name).exists() for name in (*LIBRARIES, *CPP_LIBRARIES)):
        _fetch(place)
    include = place / "include"
    clang(ARCH, ["-std=gnu17", "-O2", "-Wall", "-Werror", f"-I{include}", str(SOURCE), "-ldl", "-o", str(place / PROGRAM)])
    return place


def _fetch(place: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place.parent) as scratch:
        made = Path(scratch) / "made"
        made.mkdir()
        for wheel in WHEELS:
            platform = ["--platform", "manylinux_2_28_aarch64", "--python-version", PYTHON]
            with zipfile.ZipFile(downloaded(wheel, Path(scratch), platform, " for aarch64")) as files:
                for name in files.namelist():
                    if Path(name).name in LIBRARIES:
                        (made / Path(name).name).write_bytes(files.read(name))
                    elif name.startswith("tvm_ffi/include/"):
                        files.extract(name, Path(scratch) / "headers")
        (Path(scratch) / "headers" / "tvm_ffi" / "include").rename(made / "include")
        for name, package in CPP_LIBRARIES.items():
            shutil.copy(_cpp_library(name, package, Path(scratch)), made / name)
        shutil.rmtree(place, ignore_errors=True)
        made.rename(place)


def _cpp_library(name: str, package: str, scratch: Path) -> Path:
    """A library of gcc's for aarch64: installed, or out of Debian's package, which need not be installed for that."""
    if (installed := library_root() / "lib" / name).exists():
        return installed
    hint = f"{name} is missing for aarch64, and apt cannot download it: apt-get install {package}"
    try:
        subprocess.run(["apt-get", "-qq", "download", package], cwd=scratch, check=True, stderr=subprocess.DEVNULL)
        (archive,) = scratch.glob(f"{package}_*.deb")
        subprocess.run(["dpkg", "-x", str(archive), str(scratch / package)], check=True)
    except (OSError, ValueError, subprocess.CalledProcessError) as error:
        raise CannotMake(hint) from error
    library = next((scratch / package).rglob(name), None)
    if library is None:
        raise CannotMake(hint)
    return library


def default_target(mcpu: str, mattr: Sequence[str]) -> dict[str, Any]:
    """The target a user of TVM would name for a core."""
    return {"kind": "llvm", "mtriple": "aarch64-linux-gnu", "mcpu": mcpu, "mattr": list(mattr), "num-cores": 1}


def build(model: Any, target: Mapping[str, Any], fused: bool, out: Path) -> None:
    """An ONNX model to a library by TVM's importer and default pipeline.

    fused: the one that `relax.get_default_pipeline` has for CPUs, which fuses operators and folds constants, instead of
    what `tvm.compile` takes when nothing is said, which does neither.
    """
    import tvm
    from tvm import relax
    from tvm.relax.frontend.onnx import from_onnx

    chosen = tvm.target.Target(dict(target))
    module = from_onnx(model)
    if fused:
        executable = tvm.compile(module, target=chosen, relax_pipeline=relax.get_default_pipeline(chosen))
    else:
        executable = tvm.compile(module, target=chosen)

    def link(output: str, inputs: Sequence[str], options: object = None, **_: Any) -> None:
        link_shared([Path(name) for name in inputs], Path(output), ARCH)

    link.output_format = "so"  # type: ignore[attr-defined]  # read by export_library
    executable.export_library(str(out), fcompile=link)


def count(folder: Path, library: Path, value: Array, output_shape: Sequence[int], cpu: str, timeout_s: float) -> Counted:
    """One inference after an unmeasured one, on one thread. folder: of `runtime`. CannotMake when it fails."""
    with tempfile.TemporaryDirectory(prefix="edgewright-tvm-") as scratch:
        input_file, output_file = Path(scratch) / "input", Path(scratch) / "output"
        input_file.write_bytes(np.ascontiguousarray(value, np.float32).tobytes())
        sizes = [str(n) for n in (value.ndim, *value.shape, int(np.prod(output_shape)))]
        words = [str(folder / LIBRARIES[0]), str(library), str(input_file), str(output_file), *sizes]
        one_thread = {"PATH": "/usr/bin:/bin", "TVM_NUM_THREADS": "1"}
        done = qemu.run(folder / PROGRAM, words, cpu, timeout_s, True, library_root(), one_thread)
        if done.exit_code:
            raise CannotMake(f"TVM's code ended with {done.exit_code} on {cpu}: {done.stderr.strip()[-500:]}")
        marks = dict(done.marks)
        output = np.frombuffer(output_file.read_bytes(), np.float32).reshape(tuple(output_shape))
    return Counted(output, marks[1] - marks[0])
