"""A compiled model in its folder, the same for every kind of target: opened, checked, published, and what it can do."""

from __future__ import annotations

from abc import ABC
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, NoReturn, Self, TypeAlias, TypeVar

from edgewright.frontend.files.checkpoints import checkpoint_of
from edgewright.frontend.files.ownership import vouched_data
from edgewright.frontend.files.publish import publish, write_results
from edgewright.frontend.files.staging import reading
from edgewright.frontend.samples.calibrating import CALIBRATED, digests
from edgewright.frontend.samples.data import (
    IMAGE_NAMES,
    LABEL_NAMES,
    Samples,
    check_arrays,
    input_shapes,
    load_samples,
    random_samples,
    unbatched_inputs,
)
from edgewright.frontend.samples.labelled import LABELS, Labelled
from edgewright.frontend.samples.ran import Ran
from edgewright.frontend.samples.readings import kept_reading
from edgewright.frontend.samples.scores import outputs_of, scores
from edgewright.frontend.samples.stores import DataSource, Reading, in_memory, scaled_arrays
from edgewright.frontend.target import KINDS, target_of
from edgewright.passes import manifest as manifests
from edgewright.passes import results
from edgewright.passes.diagnostics import CompileError, Exit, fail
from edgewright.passes.input_ranges import input_ranges
from edgewright.passes.ir import Array, Graph
from edgewright.passes.names import plain
from edgewright.passes.transform import Progress

if TYPE_CHECKING:
    from rich.console import Console

SAMPLES_FILE = "checkpoints/samples.npz"
KEPT_SAMPLES = 4
"""Calibration images that stay with a bundle, so that it runs without data."""
Source: TypeAlias = DataSource | None
M = TypeVar("M", bound=manifests.Manifest)


@dataclass(slots=True, repr=False)
class Bundle(ABC, Generic[M]):
    """A compiled model. ``files``: its content until it is published, by relative path; nothing afterwards. ``progress``: told
    how far the interpreter is."""

    MANIFEST: ClassVar[type[manifests.Manifest]]
    PROGRAMS: ClassVar[tuple[str, ...]] = ()

    manifest: M = field(repr=False)
    report: results.Report
    files: dict[str, bytes] = field(default_factory=dict, repr=False)
    directory: Path = Path()
    _graph: Graph | None = field(default=None, repr=False)
    progress: Progress | None = field(default=None, repr=False)
    _reading: Reading | None = field(default=None, repr=False)

    def __repr__(self) -> str:
        facts = "; ".join(f"{name} {value}" for name, value in self.report.facts())
        model, target = plain(self.report.model), plain(self.manifest.target)
        return f"<{type(self).__name__} of {model} for {target} in {self.directory}; {facts}>"

    def _repr_html_(self) -> str:
        title = f"{plain(self.report.model)} for {plain(self.manifest.target)}"
        return results.html_of(title, (*self.report.facts(), ("folder", str(self.directory)), ("next", self.next_step(None))))

    @classmethod
    def open(cls, directory: str | Path) -> Self:
        """Open the folder that `compile` wrote. CompileError: U022 (exit 2) when it is not a bundle of this kind, U023 when
        a file of it was changed since."""
        folder = Path(directory)
        with reading(folder):
            manifest: Any = manifests.read_manifest(folder, cls.MANIFEST)
            manifests.check_files(folder, manifest.files)
            fields = cls.read_fields(folder, manifest)
            return cls(manifest, read_report(folder), directory=folder, **fields)

    @classmethod
    def read_fields(cls, folder: Path, manifest: M) -> dict[str, Any]:
        """Return what a kind of bundle holds besides, from files whose hashes fit. CompileError U022 or U023 for damage."""
        return {}

    def check(self) -> None:
        """CompileError U023 when a file of the folder is not as it was written."""
        with reading(self.directory):
            manifests.check_files(self.directory, self.manifest.files)

    def publish(self, directory: Path) -> Self:
        """Write the bundle to a folder, all of it or nothing, and return it opened there."""
        publish(self.files | self._pages(), directory, self.PROGRAMS)
        self.directory, self.files = directory, {}
        return self

    def write_report(self) -> None:
        """Renew the report in the folder. CompileError U020 when it cannot be written."""
        write_results(self._pages(), self.directory)

    @property
    def graph(self) -> Graph:
        """The graph that was compiled, float or integer. It is read once."""
        if self._graph is None:
            self._graph = checkpoint_of(self.directory, "passes")
        return self._graph

    @property
    def reading(self) -> Reading:
        """How data is read for the model: as `--preprocess` and `--labels` said when it was compiled, if not set since."""
        if self._reading is None:
            self._reading = kept_reading(self.directory, self.manifest.files)
        return self._reading

    @reading.setter
    def reading(self, reading: Reading) -> None:
        self._reading = reading

    @property
    def classes(self) -> tuple[str, ...] | None:
        """The names of the classes, if it was compiled with them."""
        return self.reading.classes

    def load(self, source: Source = None, most: int | None = None, spread: bool = False) -> Samples:
        """Return at most so many samples with their labels: from whatever `compile` calibrates on (a picture, a folder, an npz
        file ...), arrays by input name, one array for the first input, or those that stayed with the bundle. spread: some of
        every class, rather than the first ones.

        CompileError: D-codes for what does not fit the model."""
        shapes, ranges, unbatched = input_shapes(self.graph), input_ranges(self.graph), unbatched_inputs(self.graph)
        reading = self.reading
        if source is None:
            source = self.directory / SAMPLES_FILE
            if not source.is_file():
                return random_samples(shapes, KEPT_SAMPLES, ranges=ranges).first(most or KEPT_SAMPLES)
        if isinstance(source, (str, Path)) or _as_in_files(source, shapes):
            more: dict[str, Any] = {"ranges": ranges, "unbatched": unbatched, "reading": reading}
            return load_samples(source, shapes, most=most, spread=spread, **more)
        arrays = scaled_arrays(in_memory(source, shapes), shapes, ranges, reading)
        finite = self.manifest.precision != "fp32"
        checked = check_arrays(arrays, shapes, ranges, unbatched, finite=finite)
        samples = Samples(checked, None, "arrays", reading.classes)
        return samples if most is None else samples.first(most)

    def samples(self, source: Source = None) -> dict[str, Array]:
        """Return the samples of `load` by input name, along axis 0."""
        return self.load(source).inputs

    def first_samples(self, source: Source, count: int | None) -> dict[str, Array]:
        """Return at most so many `samples`."""
        return self.load(source, count).inputs

    def interpreted(self, data: Samples, by: str) -> Ran:
        """Return what the interpreter computes for samples. by: why it does, in words."""
        values = outputs_of(self.graph, data.inputs, "interpret", self.progress)
        return self.told(data, Ran(real_outputs(self.graph, values), by=by))

    def told(self, data: Samples, ran: Ran) -> Ran:
        """Return a run with what the data says about it: accuracy, names of classes and of samples."""
        rows: tuple[results.Score, ...] = ()
        notes = data.notes
        if data.labels is not None:
            calibrated = self.calibrated
            others = [i for i, digest in enumerate(digests(data.inputs)) if digest not in calibrated]
            if known := data.count - len(others):
                notes = (*notes, f"{known:,} of {data.count:,} samples calibrated the model and do not count for its accuracy.")
            if others:
                outputs = {name: value[others] for name, value in ran.outputs.items()}
                inputs = {name: value[others] for name, value in data.inputs.items()}
                rows = scores(self.graph, outputs, Labelled(inputs, {LABELS: data.labels[others]}, data.source))
        return replace(ran, scores=rows, classes=data.classes or self.classes, titles=data.titles, notes=notes)

    @property
    def calibrated(self) -> frozenset[str]:
        """The digests of the samples that calibrated the model."""
        file = self.directory / CALIBRATED
        return frozenset(file.read_text(encoding="ascii").split()) if CALIBRATED in self.manifest.files else frozenset()

    def design_files(self, within: str) -> dict[str, bytes]:
        """Return the files of ours in a folder of the bundle, by relative path. CompileError U023 for changed ones."""
        return manifests.read_files(self.directory, self.manifest.files, within)

    def simulate(self, *args: Any, **kwargs: Any) -> Any:
        """Simulate the hardware that was made; for FPGAs."""
        self._cannot("simulated")

    def run(
        self,
        source: Source = None,
        *,
        samples: int | None = None,
        threads: int | None = None,
        check: bool = False,
    ) -> Ran:
        """Run samples (see `load`) and return the outputs by name: in the interpreter, unless this machine runs the model's own
        code."""
        if check or threads is not None:
            self._cannot("run by its own code on this machine")
        by = f"the interpreter, which computes what {plain(self.manifest.target)} has to compute, bit for bit"
        return self.interpreted(self.load(source, samples), by)

    def profile(self, *args: Any, **kwargs: Any) -> Any:
        """Measure on a device; for CPUs."""
        self._cannot("profiled")

    def estimates(self, *args: Any, **kwargs: Any) -> Any:
        """Estimate latencies on the target; for CPUs."""
        self._cannot("profiled")

    def next_step(self, data: str | Path | None) -> str:
        """Return what to do next, in a line. ``data``: the file of samples that the user has."""
        return f"edgewright run {self.directory}"

    def show(self, console: Console, data: str | Path | None = None) -> None:
        """Print the headline of the report, and what to do next."""
        from edgewright.frontend.report import render

        render.summary(console, self.report, self.directory, self.next_step(data))

    def _pages(self) -> dict[str, bytes]:
        from edgewright.frontend.report.report import files  # with the plots, which take a while to import

        return files(self.report)

    def _cannot(self, done: str) -> NoReturn:
        message = f"this folder is not a model that can be {done}"
        because = f"it was compiled for {plain(self.manifest.target)}, a target of kind {self.manifest.kind}"
        help_text = "give a folder of another kind of target: `edgewright targets` lists them"
        fail("U022", message, plain(self.directory), because, help_text, Exit.USAGE)


def _as_in_files(source: DataSource, shapes: Mapping[str, Any]) -> bool:
    """Return whether a caller's arrays have the names that files use: `images`, or labels beside the inputs."""
    return isinstance(source, Mapping) and bool((set(source) - set(shapes)) & {*IMAGE_NAMES, *LABEL_NAMES})


def real_outputs(graph: Graph, outputs: Mapping[str, Array]) -> dict[str, Array]:
    """Return outputs without their zero points as real numbers: integers times their scale."""
    nodes = dict(zip(graph.output_names, graph.outputs, strict=True))
    return {
        name: value if (quant := nodes[name].quant) is None else (value * quant.scales).astype("float32")
        for name, value in outputs.items()
    }


def open_bundle(directory: str | Path) -> Bundle[Any]:
    """Open the folder that `compile` wrote, whatever kind of target it is for. CompileError as `Bundle.open`."""
    kind = manifests.read_kind(Path(directory))
    if kind not in KINDS:
        manifests.not_compiled(Path(directory), f"{manifests.MANIFEST}: there is no kind of target '{plain(kind)}'")
    return target_of(kind).bundle.open(directory)


def read_report(folder: Path) -> results.Report:
    """Return the report in a folder. CompileError U023 when it is missing or damaged, or not what its page was made from."""
    vouched = vouched_data(folder, "report")
    if vouched is not None and manifests.file_digest(folder / "report.json") not in vouched:
        raise CompileError([manifests.damaged("report.json", "its hash differs from the one that report.html gives")])
    return manifests.read_figures(folder, "report.json", results.Report)
