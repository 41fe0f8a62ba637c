"""A model compiled for a CPU: run it here, check its bits, look at its report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from edgewright.frontend.assemble_cpu import cpu_report
from edgewright.frontend.bundle import report_of
from edgewright.frontend.checkpoints import checkpoint_of
from edgewright.frontend.data import check_arrays, input_shapes, load_samples, unbatched_inputs
from edgewright.frontend.driver import SAMPLES_FILE
from edgewright.frontend.publish import check_results, publish, write_results
from edgewright.frontend.report import report as report_files
from edgewright.frontend.staging import reading
from edgewright.passes import results
from edgewright.passes.input_ranges import input_ranges
from edgewright.passes.ir.graph import Graph
from edgewright.passes.ir.interp import interpret
from edgewright.passes.ir.types import Array

if TYPE_CHECKING:
    from edgewright.frontend.driver_cpu import CpuResult
    from edgewright.targets.cpu.artifact import Artifact
    from edgewright.targets.cpu.profile_results import ProfileReport
    from edgewright.targets.estimate import Estimate

RUNNER = "runner/edgewright-run"
Given: TypeAlias = str | Path | Mapping[str, Array] | Array | None


@dataclass(frozen=True, slots=True, eq=False)
class Ran(Mapping[str, Array]):
    """One run: outputs as real numbers by name, and whether they agree with the interpreter (None: not checked)."""

    outputs: dict[str, Array]
    agrees: bool | None

    def __getitem__(self, name: str) -> Array:
        return self.outputs[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.outputs)

    def __len__(self) -> int:
        return len(self.outputs)


@dataclass(slots=True)
class CompiledCpu:
    """A compiled model in its output folder."""

    directory: Path
    artifact: Artifact
    report: results.Report

    @classmethod
    def publish(cls, built: CpuResult, directory: Path) -> CompiledCpu:
        """Write what was built, all of it or nothing."""
        from edgewright.targets.cpu.artifact import Artifact

        report = cpu_report(built)
        publish({**built.files, **report_files.files(report)}, directory, (RUNNER,))
        return cls(directory, Artifact.open(directory), report)

    @classmethod
    def open(cls, directory: str | Path) -> CompiledCpu:
        """What ``compile`` wrote. Raises ``CompileError`` when it is no such folder, or was changed since."""
        from edgewright.targets.cpu.artifact import Artifact

        with reading(Path(directory)):
            artifact = Artifact.open(directory)
            return cls(artifact.directory, artifact, report_of(artifact.directory))

    @property
    def graph(self) -> Graph:
        """The graph that was lowered: float or integer."""
        return checkpoint_of(self.directory, "passes")

    def samples(self, source: Given = None) -> dict[str, Array]:
        """Samples by input name along axis 0: from an npz file, arrays by input name, one array for the first input, or what
        stayed with the artifact. CompileError: D-codes for what does not fit the model."""
        graph = self.graph
        shapes, ranges, unbatched = input_shapes(graph), input_ranges(graph), unbatched_inputs(graph)
        if source is None or isinstance(source, (str, Path)):
            path = self.directory / SAMPLES_FILE if source is None else Path(source)
            return load_samples(path, shapes, ranges=ranges, unbatched=unbatched).inputs
        given = source if isinstance(source, Mapping) else {next(iter(shapes)): source}
        return check_arrays(given, shapes, ranges, unbatched, finite=self.artifact.manifest.precision != "fp32")

    def run(
        self,
        source: Given = None,
        *,
        samples: int | None = None,
        threads: int | None = None,
        check: bool = False,
    ) -> Ran:
        """Run samples (see `samples`) on this machine; the result holds the outputs by name. ``check``: compare with the
        interpreter, integers bit for bit."""
        from edgewright.targets.cpu.runtime import real

        inputs = self.samples(source)
        count = min(len(next(iter(inputs.values()))), samples or 1 << 62)
        runner = self.artifact.runner(threads)
        graph = self.graph if check else None
        rows: list[dict[str, Array]] = []
        agrees: bool | None = None
        for one in _each(inputs, count):
            stored = {name: value.copy() for name, value in runner(one).items()}
            if graph is not None:
                agrees = agrees is not False and _agrees(stored, interpret(graph, one))
            rows.append(stored)
        tensors = {one.name: one for one in self.artifact.manifest.outputs}
        outputs = {name: real(tensors[name], np.concatenate([row[name] for row in rows])) for name in rows[0]}
        return Ran(outputs, agrees)

    def profile(
        self,
        device: str = "local",
        source: Given = None,
        *,
        threads: tuple[int, ...] | None = None,
        repeat: int = 100,
        timeout_s: float = 600.0,
        output: Path | None = None,
    ) -> ProfileReport:
        """Measure on a device; profile.html and profile.json go to ``output`` (default: the artifact's folder).

        Raises ``CompileError`` when the device cannot be used; nothing is then written.
        """
        from edgewright.frontend.report import profile as profile_page
        from edgewright.targets.cpu.devices import Settings
        from edgewright.targets.cpu.devices import device as device_of
        from edgewright.targets.cpu.profile import profile

        where = device_of(device)
        folder = output or self.directory
        check_results(folder, "profile")
        sample = None if source is None else {name: array[:1] for name, array in self.samples(source).items()}
        found = profile(self.artifact, where, sample, Settings(threads=threads, repeat=repeat, timeout_s=timeout_s))
        write_results(profile_page.files(found), folder)
        return found

    def estimates(self, threads: tuple[int, ...] | None = None) -> list[Estimate]:
        """Latency ranges for the target from a model of it, for numbers of threads (default: one, and all cores)."""
        from edgewright.targets.device import load
        from edgewright.targets.estimate import estimate

        device = load(self.artifact.manifest.target)
        cores = 1 if device.cpu is None else device.cpu.cores
        counts = threads or tuple(sorted({1, cores}))
        works, variant = self.artifact.works, self.artifact.manifest.variant
        return [estimate(works, device, count, variant) for count in counts]


def _each(inputs: Mapping[str, Array], count: int) -> Iterator[dict[str, Array]]:
    for i in range(count):
        yield {name: array[i : i + 1] for name, array in inputs.items()}


def _agrees(found: Mapping[str, Array], expected: Mapping[str, Array]) -> bool:
    """Bits of integers; floats within the tolerance that a profile allows."""
    from edgewright.targets.cpu.profile import FLOAT_TOLERANCE

    for name, value in expected.items():
        got = found[name]
        if got.dtype.kind != "f":
            if not np.array_equal(got, value):
                return False
        elif not np.allclose(got, value, rtol=0, atol=FLOAT_TOLERANCE * max(1e-30, float(np.abs(value).max()))):
            return False
    return True
