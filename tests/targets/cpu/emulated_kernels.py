"""The C kernels of an aarch64 variant, called on numpy arrays under QEMU's user emulation."""

from __future__ import annotations

import ctypes
import functools
import re
import subprocess
import sys
import tempfile
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path

import numpy as np
from edgewright.passes import cache
from edgewright.passes.ir.types import Array
from edgewright.targets.cpu import qemu
from edgewright.targets.cpu.compile_c import compiler_version, kernel_sources, kernels_object
from edgewright.targets.cpu.variants import Variant

from tests.targets.cpu.kernel_library import Kernels

ARGUMENTS = 14
TIMEOUT_SECONDS = 300
NAMES = ("nothing", *re.findall(r"\b(ew_\w+)\(", re.sub(r"/\*.*?\*/", "", kernel_sources()["ew_kernels.h"], flags=re.DOTALL)))


@dataclass(frozen=True)
class Call:
    """One call and, once it has run, its result; `float_bits` and `arguments` as kernel_driver.c reads them."""

    name: str
    float_bits: int
    arguments: tuple[tuple[int, int], ...]


class EmulatedKernels(Kernels):
    """Calls run at once, or together at the end of `batch`, when arrays get what the kernels have written.

    An array may be a view: its whole base is the kernel's memory, with a page without access behind it. A list of
    arrays is passed as an array of pointers. `results` and `instructions` hold a figure for each call of the last run.
    """

    def __init__(self, variant: Variant, cpu: str, count: bool = False) -> None:
        self.variant, self.cpu, self.count = variant, cpu, count
        self.program = build(variant)
        self.results: list[int] = []
        self.instructions: list[int] = []
        self._batching = False
        self._process: subprocess.Popen[bytes] | None = None
        self._clear()

    def _clear(self) -> None:
        self._calls: list[Call] = []
        self._buffers: list[Array] = []
        self._index: dict[int, int] = {}
        self._pointers: list[tuple[int, int, int, int]] = []

    @contextmanager
    def batch(self) -> Iterator[None]:
        self._batching = True
        try:
            yield
        finally:
            self._batching = False
        self.flush()

    def call(self, name: str, *arguments: object, result: type | None = None) -> int:
        """The result of the call, 0 inside a batch."""
        converted, float_bits = [], 0
        for one in arguments:
            if isinstance(one, np.ndarray):
                converted.append(self._place(one))
            elif isinstance(one, list):
                converted.append(self._table(one))
            elif isinstance(one, float):
                float_bits = int(np.float32(one).view(np.int32))
            elif one is None:
                converted.append((-1, 0))
            else:
                assert isinstance(one, int | np.integer)
                converted.append((-1, int(one)))
        converted += [(-1, 0)] * (ARGUMENTS - len(converted))
        self._calls.append(Call(name, float_bits, tuple(converted)))
        if self._batching:
            return 0
        self.flush()
        return ctypes.c_int32(self.results[0]).value if result is ctypes.c_int32 else self.results[0]

    def flush(self) -> None:
        """Runs the calls that wait."""
        words = [len(self._buffers), len(self._pointers), len(self._calls), *(b.nbytes for b in self._buffers)]
        words += [word for pointer in self._pointers for word in pointer]
        for call in self._calls:
            words += [NAMES.index(call.name), call.float_bits, *(word for pair in call.arguments for word in pair)]
        batch = np.array(words, np.int64).tobytes() + b"".join(b.tobytes() for b in self._buffers)
        length = 8 * len(self._calls) + sum(b.nbytes for b in self._buffers)
        data = self._counted(batch) if self.count else self._served(batch, length)
        at = 8 * len(self._calls)
        self.results = [int(word) for word in np.frombuffer(data[:at], np.int64)]
        for buffer in self._buffers:
            if buffer.dtype != np.uintp and buffer.flags.writeable:
                buffer.reshape(-1).view(np.uint8)[:] = np.frombuffer(data, np.uint8, buffer.nbytes, at)
            at += buffer.nbytes
        assert at == len(data)
        self._clear()

    def _counted(self, batch: bytes) -> bytes:
        """The answer of a process of its own, which also counts."""
        with tempfile.TemporaryDirectory() as folder:
            given, got = Path(folder) / "in", Path(folder) / "out"
            given.write_bytes(batch)
            run = qemu.run(self.program, [str(given), str(got)], self.cpu, TIMEOUT_SECONDS, count=True)
            if run.exit_code:
                raise EmulatedError(run.exit_code)
            moments = [moment for _, moment in run.marks]
            self.instructions = [end - start for start, end in zip(moments[::2], moments[1::2], strict=True)]
            return got.read_bytes()

    def _served(self, batch: bytes, length: int) -> bytes:
        """The answer of one process that stays."""
        if self._process is None:
            command = qemu.command(self.program, [], self.cpu)
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env={}
            )
            qemu.forbid_core_dump(self._process.pid)
            weakref.finalize(self, _end, self._process)
        process = self._process
        assert process.stdin is not None and process.stdout is not None
        try:
            process.stdin.write(batch)
            process.stdin.flush()
        except BrokenPipeError:
            pass
        data = process.stdout.read(length)
        if len(data) < length:
            self._process = None
            self._clear()
            raise EmulatedError(process.wait(TIMEOUT_SECONDS))
        return data

    def _place(self, x: Array) -> tuple[int, int]:
        base = x
        while isinstance(base.base, np.ndarray):
            base = base.base
        assert base.flags.c_contiguous
        if id(base) not in self._index:
            self._index[id(base)] = len(self._buffers)
            self._buffers.append(base)
        return self._index[id(base)], x.ctypes.data - base.ctypes.data

    def _table(self, arrays: Sequence[Array]) -> tuple[int, int]:
        where, _ = self._place(np.zeros(len(arrays), np.uintp))
        for i, one in enumerate(arrays):
            self._pointers.append((where, 8 * i, *self._place(one)))
        return where, 0


class EmulatedError(Exception):
    """The driver's exit code, negative for a signal; 5 for a write in front of a buffer."""

    def __init__(self, code: int) -> None:
        super().__init__(f"exit code {code}")
        self.code = code


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.communicate()


@functools.cache
def build(variant: Variant) -> Path:
    """The driver linked with the kernels of a variant, from the cache."""
    source = (Path(__file__).parent / "kernel_driver.c").read_text()
    names = "".join(f"EW_FUNCTION({name})\n" for name in NAMES[1:])
    kernels = kernels_object(variant)

    def make(folder: Path) -> None:
        (folder / "kernel_names.h").write_text(names)
        (folder / "driver.c").write_text(source)
        zig = [sys.executable, "-m", "ziglang"]
        flags = ["-O2", "-ffreestanding", "-fno-builtin", "-fno-sanitize=all", "-fno-stack-protector", "-Wall", "-Werror"]
        with as_file(files("edgewright.targets.cpu") / "kernels") as headers:
            compile_ = [*zig, "cc", "-target", "aarch64-linux-gnu", *flags, f"-I{headers}", f"-I{folder}", "-c"]
            subprocess.run([*compile_, str(folder / "driver.c"), "-o", str(folder / "driver.o")], check=True)
        link = [*zig, "ld.lld", "-static", str(folder / "driver.o"), str(kernels), "-o", str(folder / "driver")]
        subprocess.run(link, check=True)

    key = cache.key({"driver.c": source, "names": names}, [compiler_version(), kernels.parent.name])
    return cache.entry("kernels-emulated", key, make) / "driver"


@functools.cache
def load(variant: Variant, count: bool = False) -> EmulatedKernels:
    """The kernels of a variant on the processor that stands for it."""
    return EmulatedKernels(variant, qemu.CPUS[variant.name], count)
