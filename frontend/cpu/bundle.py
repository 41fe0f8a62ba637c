"""A model compiled for a CPU: run it here, check its bits, profile it on a device."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from edgewright.frontend.bundle import Bundle, Source
from edgewright.frontend.files.publish import check_results, write_results
from edgewright.frontend.samples.ran import Ran
from edgewright.passes.diagnostics import CompileError
from edgewright.passes.ir import Array
from edgewright.passes.ir.interp import interpret
from edgewright.passes.manifest import Manifest
from edgewright.passes.names import plain
from edgewright.targets.cpu.artifact import Artifact, CpuManifest, check_manifest

if TYPE_CHECKING:
    from edgewright.targets.cpu.profile_results import ProfileReport
    from edgewright.targets.estimate import Estimate
    from rich.console import Console

FOREIGN = "T021"
"""The code for an artifact that is for another processor."""


@dataclass(slots=True, repr=False)
class CpuBundle(Bundle[CpuManifest]):
    """A bundle with a library, its weights and a runner."""

    MANIFEST: ClassVar[type[Manifest]] = CpuManifest
    PROGRAMS: ClassVar[tuple[str, ...]] = ("runner/edgewright-run",)

    @classmethod
    def read_fields(cls, folder: Path, manifest: CpuManifest) -> dict[str, Any]:
        """Check model.txt, from which the manifest follows."""
        check_manifest(folder, manifest)
        return {}

    @property
    def artifact(self) -> Artifact:
        """What runs: the library and the weights."""
        return Artifact(self.directory, self.manifest)

    def run(
        self,
        source: Source = None,
        *,
        samples: int | None = None,
        threads: int | None = None,
        check: bool = False,
    ) -> Ran:
        """Run samples (see `load`); the result holds the outputs by name. ``check``: compare with the interpreter, integers
        bit for bit. Code for another processor is interpreted instead, unless threads or a check were asked for."""
        from edgewright.targets.cpu.runtime import real

        data = self.load(source, samples)
        inputs = data.inputs
        try:
            runner = self.artifact.runner(threads)
        except CompileError as error:
            if check or threads is not None or error.diagnostics[0].code != FOREIGN:
                raise
            same = "the same integers" if self.manifest.precision == "int8" else "the same values up to rounding"
            by = f"the interpreter, which computes {same}: the code for {plain(self.manifest.target)} does not run here"
            return self.interpreted(data, by)
        runs: list[dict[str, Array]] = []
        agrees: bool | None = None
        for i in range(len(next(iter(inputs.values())))):
            sample = {name: array[i : i + 1] for name, array in inputs.items()}
            stored = {name: value.copy() for name, value in runner(sample).items()}
            if check:
                agrees = agrees is not False and _agrees(stored, interpret(self.graph, sample))
            runs.append(stored)
        tensors = {tensor.name: tensor for tensor in self.manifest.outputs}
        outputs = {name: real(tensors[name], np.concatenate([run[name] for run in runs])) for name in runs[0]}
        return self.told(data, Ran(outputs, agrees))

    def profile(
        self,
        device: str = "local",
        source: Source = None,
        *,
        threads: tuple[int, ...] | None = None,
        repeat: int = 100,
        timeout_s: float = 600.0,
        output: Path | None = None,
    ) -> ProfileReport:
        """Measure on a device; profile.html and profile.json go to ``output`` (default: the bundle's folder).

        Raises ``CompileError`` when the device cannot be used; nothing is then written.
        """
        from edgewright.frontend.report.profile import files as profile_files
        from edgewright.targets.cpu.devices import Settings
        from edgewright.targets.cpu.devices import device as device_of
        from edgewright.targets.cpu.profile import profile

        where = device_of(device)
        folder = output or self.directory
        check_results(folder, "profile")
        sample = None if source is None else self.first_samples(source, 1)
        settings = Settings(threads=threads, repeat=repeat, timeout_s=timeout_s)
        report = profile(self.artifact, where, sample, settings, graph=self._graph)
        write_results(profile_files(report), folder)
        return report

    def estimates(self, threads: tuple[int, ...] | None = None) -> list[Estimate]:
        """Return latency ranges for the target from a model of it, for numbers of threads (default: one, and all cores)."""
        from edgewright.targets.device import load
        from edgewright.targets.estimate import estimate

        device = load(self.manifest.target)
        cores = 1 if device.cpu is None else device.cpu.cores
        counts = threads or tuple(sorted({1, cores}))
        works = self.artifact.works
        return [estimate(works, device, count, self.manifest.variant) for count in counts]

    def next_step(self, data: str | Path | None) -> str:
        """Return how to measure it."""
        device = "local" if self.manifest.target == "host" else "qemu (here) or ssh://user@board"
        return f"edgewright profile {self.directory} --device {device}"

    def show(self, console: Console, data: str | Path | None = None) -> None:
        """Print the headline of the report, inputs and outputs, and what to do next."""
        from edgewright.frontend.report import render

        tensors = ("input", self.manifest.inputs), ("output", self.manifest.outputs)
        ports = [(word, tensor) for word, group in tensors for tensor in group]
        render.summary(console, self.report, self.directory, self.next_step(data), ports)


def _agrees(stored: Mapping[str, Array], expected: Mapping[str, Array]) -> bool:
    """Return whether the bits of integers are equal, and floats within the tolerance that a profile allows."""
    from edgewright.targets.cpu.profile import FLOAT_TOLERANCE

    for name, value in expected.items():
        if stored[name].dtype.kind != "f":
            if not np.array_equal(stored[name], value):
                return False
        elif not np.allclose(stored[name], value, rtol=0, atol=FLOAT_TOLERANCE * max(1e-30, float(np.abs(value).max()))):
            return False
    return True
