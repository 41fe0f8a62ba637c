"""An aarch64 processor under QEMU's user emulation: its results and instruction counts are real, its times are not."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from edgewright.passes.ir import Array
from edgewright.targets.cpu import qemu
from edgewright.targets.cpu.artifact import Artifact
from edgewright.targets.cpu.devices import runner_process
from edgewright.targets.cpu.devices.measured import DeviceMeasurement, Settings
from edgewright.targets.cpu.devices.runner_process import refuse
from edgewright.targets.cpu.runner_files import DYNAMIC_LOADER, program

ROOTS = ("/usr/aarch64-linux-gnu", "/")  # Debian's libc6-arm64-cross; a system with foreign packages
COUNTED_RUNS = 2
# The processor of each board, or the nearest one that Debian's QEMU 7.2 knows and that has what the kernels need.
PROCESSORS = {
    "rpi4": "cortex-a72",
    "rpi5": "cortex-a76",
    "jetson-nano": "cortex-a57",
    "jetson-orin-nano": "cortex-a76",
    "jetson-xavier-nx": "max",
}


@dataclass(frozen=True, slots=True)
class QemuDevice:
    """cpu: QEMU's name of the processor, None for the one of the artifact's board. count: also count instructions."""

    name: ClassVar[str] = "qemu"
    emulated: ClassVar[bool] = True

    cpu: str | None = None
    count: bool = True

    def processor(self, artifact: Artifact) -> str:
        """Return QEMU's name of the processor that runs this artifact."""
        manifest = artifact.manifest
        return self.cpu or PROCESSORS.get(manifest.target) or qemu.CPUS.get(manifest.variant, "max")

    def run(self, artifact: Artifact, inputs: Mapping[str, Array], settings: Settings) -> DeviceMeasurement:
        """Run as `ProfilingDevice.run`, on one thread and a few times; T045 for an artifact that is not for aarch64."""
        manifest = artifact.manifest
        if manifest.arch != "aarch64":
            hint = "--device local runs it here" if manifest.target == "host" else "compile for an aarch64 board"
            refuse("T045", f"the artifact is for {manifest.arch}, the emulator for aarch64", self.name, "", hint)
        cpu = self.processor(artifact)
        few = dataclasses.replace(
            settings, threads=(1,), warmup=0, repeat=1, steps=0, power_seconds=0, seconds=settings.timeout_s
        )
        with runner_process.working_folder(artifact, inputs) as folder:
            once = self._execute(artifact, few, cpu, str(folder))
            results = runner_process.results_in(folder, artifact)
            each = None
            if once is not None:
                more = self._execute(artifact, dataclasses.replace(few, repeat=1 + COUNTED_RUNS), cpu, str(folder))
                each = None if more is None else round((more - once) / COUNTED_RUNS)
        result = runner_process.measured(artifact, results, self.name)
        return dataclasses.replace(result, machine=None, before=None, after=None, instructions=each, cpu=cpu)

    def _execute(self, artifact: Artifact, settings: Settings, cpu: str, scratch: str) -> int | None:
        """Return the instructions of the whole process if they are counted."""
        words = runner_process.arguments(artifact, settings, str(artifact.directory.absolute()), scratch)
        words += ["--parent", str(os.getpid())]
        done = qemu.run(program("aarch64"), words, cpu, settings.timeout_s, self.count, library_root())
        if done.exit_code:
            runner_process.refuse_end(artifact, done.exit_code, done.stderr, f"{self.name} ({cpu})")
        return done.instructions


def library_root() -> Path:
    """Return the folder with aarch64's glibc. CompileError T053 when there is none."""
    for root in map(Path, ROOTS):
        if (root / DYNAMIC_LOADER["aarch64"].lstrip("/")).exists():
            return root
    refuse(
        "T053",
        "there is no C library for emulated programs",
        "qemu",
        f"{DYNAMIC_LOADER['aarch64']} is not in {ROOTS[0]}",
        "apt-get install libc6-arm64-cross",
    )
