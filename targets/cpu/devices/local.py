"""This machine."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from edgewright.passes.ir.types import Array
from edgewright.targets.cpu.artifact import Artifact
from edgewright.targets.cpu.devices import runner_answer, runner_process
from edgewright.targets.cpu.devices.measured import DeviceMeasurement, Settings
from edgewright.targets.cpu.runner_files import program


@dataclass(frozen=True, slots=True)
class LocalDevice:
    """Runs edgewright-run as a process of its own. root: stands for / where it looks for /sys and /proc (tests)."""

    root: Path | None = None

    @property
    def name(self) -> str:
        return "local"

    @property
    def emulated(self) -> bool:
        return False

    def run(self, artifact: Artifact, inputs: Mapping[str, Array], settings: Settings) -> DeviceMeasurement:
        """Run as `ProfilingDevice.run`; T021 too when the artifact is for another machine."""
        artifact.check_host()
        files = runner_process.input_files(artifact, inputs)
        with runner_process.orderly(), tempfile.TemporaryDirectory(prefix="edgewright-run-") as scratch:
            for name, content in files.items():
                (Path(scratch) / name).write_bytes(content)
            command = [str(program(artifact.manifest.arch))]  # type: ignore[arg-type]  # checked: it is this machine's
            command += runner_process.arguments(artifact, settings, str(artifact.directory.absolute()), scratch)
            command += ["--parent", str(os.getpid())]
            if self.root is not None:
                command += ["--root", str(self.root)]
            done = runner_process.execute(command, settings, self.name)
            if done.code:
                runner_process.refuse_end(artifact, done.code, done.stderr, self.name)
            results = {name: (Path(scratch) / name).read_bytes() for name in runner_answer.result_names(artifact)}
        return runner_process.measured(artifact, results, self.name)
