"""This machine."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from edgewright.passes.ir import Array
from edgewright.targets.cpu.artifact import Artifact
from edgewright.targets.cpu.devices import runner_process
from edgewright.targets.cpu.devices.measured import DeviceMeasurement, Settings
from edgewright.targets.cpu.runner_files import program


@dataclass(frozen=True, slots=True)
class LocalDevice:
    """Runs edgewright-run as a process of its own. root: stands for / where it looks for /sys and /proc (tests)."""

    name: ClassVar[str] = "local"
    emulated: ClassVar[bool] = False

    root: Path | None = None

    def run(self, artifact: Artifact, inputs: Mapping[str, Array], settings: Settings) -> DeviceMeasurement:
        """Run as `ProfilingDevice.run`; T021 too when the artifact is for another machine."""
        artifact.check_host()
        with runner_process.working_folder(artifact, inputs) as folder:
            command = [str(program(artifact.manifest.arch))]  # type: ignore[arg-type]  # checked: it is this machine's
            command += runner_process.arguments(artifact, settings, str(artifact.directory.absolute()), str(folder))
            command += ["--parent", str(os.getpid())]
            if self.root is not None:
                command += ["--root", str(self.root)]
            done = runner_process.execute(command, settings, self.name)
            if done.code:
                runner_process.refuse_end(artifact, done.code, done.stderr, self.name)
            return runner_process.measured(artifact, runner_process.results_in(folder, artifact), self.name)
