"""The stage of a compilation in which passes make the model smaller, and what it leaves for a later start."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
from edgewright.frontend.files.checkpoints import checkpoint_files, checkpoint_of
from edgewright.frontend.options import Options
from edgewright.frontend.pricing import Pricing
from edgewright.frontend.reshaping.reshape import check_data, reshape
from edgewright.frontend.reshaping.resume import ResumableRun, data_digest
from edgewright.frontend.samples.calibrating import MOST, ChosenSamples, from_learned, load_calibration
from edgewright.frontend.samples.data import input_shapes, random_samples
from edgewright.frontend.samples.labelled import Material, load_material
from edgewright.frontend.samples.stores import PLAIN, DataSource, Reading
from edgewright.frontend.target import Clock
from edgewright.passes.diagnostics import Exit, fail
from edgewright.passes.documents import to_json
from edgewright.passes.input_ranges import input_ranges
from edgewright.passes.ir import Graph
from edgewright.passes.manifest import read_figures
from edgewright.passes.results import Change
from edgewright.targets.device import Device

RECORD = "checkpoints/reshape.json"


@dataclass(frozen=True, slots=True)
class Record:
    """Passes of the compilation that made a checkpoint. data: digest of the file that they learned from."""

    options: dict[str, Any] = field(default_factory=dict)
    changes: tuple[Change, ...] = ()
    notes: tuple[str, ...] = ()
    data: str | None = None


@dataclass(frozen=True, slots=True)
class FloatModel:
    """The float graph to compile, how data is read for it, and the material if passes learned from some of it."""

    graph: Graph
    record: Record
    material: Material | None = None
    reading: Reading = PLAIN


def earlier_record(options: Options, previous: Path | None) -> Record:
    """Return what the passes did when the checkpoints were made from which the options start; nothing where none ran.

    CompileError: U031 for passes without data, U033 when other passes are asked for than those that ran."""
    check_data(options.reshaping, options.material is not None)
    if options.starts_by("reshape"):
        return Record()
    record = Record()
    if previous is not None and (previous / RECORD).is_file():
        record = read_figures(previous, RECORD, Record)
    if options.reshaping.asks and options.reshaping.manifest() != record.options:
        because = f"it was made with {', '.join(f'{name} {value}' for name, value in record.options.items()) or 'no passes'}"
        help_text = "start with --from reshape, or omit the options of the passes"
        at = f"--from {options.start_from}"
        fail("U033", "the checkpoint was reshaped in another way", at, because, help_text, exit=Exit.USAGE)
    return record


def reshaped(
    graph: Graph,
    options: Options,
    device: Device,
    record: Record,
    previous: Path | None,
    clock: Clock,
    files: dict[str, bytes],
    reading: Reading = PLAIN,
) -> FloatModel:
    """Run the passes that the options ask for, or load what they left when the ``record`` was made.

    CompileError: what the passes or their data refuse."""
    data = options.material
    if record.options:
        with clock.stage("reshape"):
            material = _same_material(data, record, graph, reading)
            graph = checkpoint_of(previous, "reshape")
    elif not options.reshaping.asks:
        return FloatModel(graph, record, reading=reading)
    else:
        with clock.stage("reshape"):
            material = None if data is None else load_material(data, graph, options.reshaping.seed, reading=reading)
            run = ResumableRun.of(
                options.checkpoints, graph, options.reshaping.manifest(), data, options.resume, reading.preprocess
            )
            pricing = Pricing(device, options.precision, options.variant)
            done = reshape(graph, options.reshaping, material, pricing, clock.progress, run)
            digest = None if data is None else data_digest(data, reading.preprocess)
            record = Record(options.reshaping.manifest(), done.changes, done.notes, digest)
            graph = done.graph
    files |= checkpoint_files("reshape", graph)
    files[RECORD] = to_json(msgspec.to_builtins(record))
    return FloatModel(graph, record, material, reading)


def _same_material(data: DataSource | None, record: Record, graph: Graph, reading: Reading) -> Material | None:
    """Return the material if the data is what the passes learned from."""
    if data is None or record.data is None or (isinstance(data, str | Path) and not Path(data).exists()):
        return None
    if data_digest(data, reading.preprocess) != record.data:
        return None
    return load_material(data, graph, int(record.options.get("seed", 0)), reading=reading)


def calibration_samples(options: Options, model: FloatModel, most: int = MOST) -> ChosenSamples:
    """Return samples to calibrate on and at most `most` to measure accuracy on; never those that passes learned from."""
    graph, seed = model.graph, options.reshaping.seed
    if options.is_random:
        samples = random_samples(input_shapes(graph), options.calibration_samples, ranges=input_ranges(graph))
        return ChosenSamples(samples, None)
    source = options.material if options.calibration is None else options.calibration
    if source is None:
        because = "the ranges of activations come from images like those the model will see"
        help_text = (
            "give --calibration with a folder of pictures or data.npz (arrays named after the inputs, or `images`), or "
            "--calibration random to see cycles and resources only"
        )
        fail("D010", "there are no calibration images", "--calibration", because, help_text, Exit.USAGE)
    if model.material is not None and (options.calibration is None or _same(options.data, options.calibration)):
        chosen = from_learned(model.material, options.calibration_samples, seed)
        return chosen._replace(measure=None if chosen.measure is None else chosen.measure.some(most, seed))
    calibrates = options.precision == "int8"
    return load_calibration(source, graph, options.calibration_samples, seed, model.reading, most, calibrates)


def _same(data: DataSource | None, calibration: DataSource) -> bool:
    """Return whether the passes learned from the calibration data."""
    if data is None or data is calibration:
        return True
    both = isinstance(data, str | Path) and isinstance(calibration, str | Path)
    return both and str(data) == str(calibration)
