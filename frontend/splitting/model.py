"""`split`: from a model, a fleet and data to an ONNX file for each sub-model, fusion.onnx, a manifest and a report."""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Mapping
from dataclasses import asdict, astuple, dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
from edgewright import __version__
from edgewright.frontend.build import source_name
from edgewright.frontend.files.publish import check_place, publish
from edgewright.frontend.onnx_reading.modules import AnyModel, as_source
from edgewright.frontend.onnx_reading.reader import ModelSource, read_model
from edgewright.frontend.report import split_results as results
from edgewright.frontend.report.split_results import FORMAT, KIND, SplitReport, SubModel
from edgewright.frontend.samples.data import input_shapes
from edgewright.frontend.samples.labelled import Labelled, Material, load_material
from edgewright.frontend.samples.preprocess import Preprocess
from edgewright.frontend.samples.readings import reading_of
from edgewright.frontend.samples.stores import DataSource
from edgewright.frontend.splitting.fleet import Fleet, load_fleet
from edgewright.frontend.splitting.latency import FleetPricing
from edgewright.passes import orders
from edgewright.passes.diagnostics import Exit, fail
from edgewright.passes.documents import to_json
from edgewright.passes.ir import Array, Graph
from edgewright.passes.results import to_data
from edgewright.passes.splitting.partition_classes import Method, check_parts
from edgewright.passes.splitting.split_classes import Say, Split, SplitClasses, SplitPlan, answer, kept_by_training
from edgewright.passes.structure.classifier import FEATURES, LOGITS, find_classifier
from edgewright.passes.structure.prune_structure import structure_of
from edgewright.passes.structure.sub_model_shape import CPU_GRAIN, FPGA_GRAIN, footprint, full_shape
from edgewright.passes.transform import Progress

MOST_EPOCHS = 1_000_000
MANIFEST, FUSION = "manifest.json", "fusion.onnx"


@dataclass(frozen=True, slots=True)
class SplitOptions:
    """The user's options; see `SplitClasses`."""

    partition: Method = "even"
    size: float | None = None
    epochs: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        """CompileError: U027 for a split without training, U030 for a negative seed."""
        if self.epochs is not None and not 0 < self.epochs <= MOST_EPOCHS:
            because = "the sub-models' heads and the network that fuses them are new, and say nothing before they are trained"
            if self.epochs != 0:
                because = f"it says how many times the last stage sees the data: more than 0, at most {MOST_EPOCHS:,}"
            help_text = "omit --epochs, or give a number above 0: fractions are fine, and the report says how good it is"
            fail("U027", f"--epochs {self.epochs:g} makes no deployment", "--epochs", because, help_text, exit=Exit.USAGE)
        if self.seed < 0:
            because, help_text = "random generators take no negative seed", "give a number from 0"
            fail("U030", f"'{self.seed}' is not a value of --seed", "--seed", because, help_text, exit=Exit.USAGE)


def split(
    source: AnyModel,
    fleet: str | Path,
    data: DataSource,
    output: str | Path,
    *,
    partition: Method = "even",
    size: float | None = None,
    epochs: float | None = None,
    seed: int = 0,
    preprocess: str | Path | Preprocess | None = None,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    resume: bool = False,
    progress: Progress | None = None,
) -> SplitReport:
    """Split a classifier by classes over the devices in ``fleet`` (TOML), and write a sub-model for each and what fuses them to
    the folder ``output``. Returns the report.

    ``data``: samples with labels to learn from and to measure on, pictures made inputs by ``preprocess``. ``partition``: "even"
    or "confusion"; ``size``: share of the parameters on each device; ``epochs``: of the last stage. Raises ``CompileError``
    with every reason; nothing is then written.
    """
    options = SplitOptions(partition, size, epochs, seed)
    model = as_source(source, shapes, data)
    more: dict[str, Any] = {"preprocess": preprocess, "shapes": shapes, "resume": resume, "progress": progress}
    return split_model(model, fleet, data, output, options=options, **more)


def split_model(
    source: ModelSource,
    fleet: str | Path,
    data: DataSource,
    output: str | Path,
    *,
    options: SplitOptions | None = None,
    preprocess: str | Path | Preprocess | None = None,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    resume: bool = False,
    progress: Progress | None = None,
    say: Say | None = None,
) -> SplitReport:
    """Split a model over a fleet and write the folder ``output``, all of it or nothing. Returns the report.

    Training is kept in ``output``.training until the folder is complete, for ``resume``. Raises ``CompileError`` with every
    reason.
    """
    from edgewright.frontend.report.split import report_files

    options = options or SplitOptions()
    directory = check_place(Path(output))
    devices = load_fleet(fleet)
    graph = read_model(source, shapes or {})
    material = load_material(data, graph, options.seed, labelled=True, reading=reading_of(graph, preprocess))
    checkpoints = directory.absolute().with_name(f"{directory.absolute().name}.training")
    begun = time.monotonic()
    split = train(graph, devices, material, options, checkpoints, resume, progress, say)
    pricing = FleetPricing(devices)
    result = describe(source_name(source), graph, devices, split, pricing, options, material, time.monotonic() - begun)
    files = split_files(split, result)
    publish({**files, **report_files(result)}, directory)
    for path in kept_by_training(checkpoints):
        path.unlink()
    with contextlib.suppress(OSError):  # it also holds files of the user's
        checkpoints.rmdir()
    return result


def train(
    graph: Graph,
    fleet: Fleet,
    material: Material,
    options: SplitOptions,
    checkpoints: Path | None,
    resume: bool,
    progress: Progress | None,
    say: Say | None,
) -> Split:
    """Plan and train a split. CompileError as `SplitClasses.run`; K011 and K012 for devices that cannot take part."""
    from edgewright.passes.learn.dataset import LearningData

    work = replace(splitter(graph, fleet, options), checkpoints=checkpoints, resume=resume, progress=progress, say=say)
    pricing = FleetPricing(fleet)
    learn = LearningData(material.learn.inputs, labels_of(material.learn, graph))
    return work.run(graph, learn, [member.place for member in fleet.members], pricing.energy(graph, work.levels(graph)))


def plan_split(graph: Graph, fleet: Fleet, options: SplitOptions) -> SplitPlan:
    """Return the plan of a split without data and training; classes are distributed evenly."""
    work = splitter(graph, fleet, replace(options, partition="even"))
    places = [member.place for member in fleet.members]
    return work.plan(graph, places, FleetPricing(fleet).energy(graph, work.levels(graph)))


def splitter(graph: Graph, fleet: Fleet, options: SplitOptions) -> SplitClasses:
    """Return the pass for a fleet. CompileError A003, A004, A006, K001, K004, K006, K007, K012 for what cannot be split."""
    orders.check("SplitClasses", graph)
    check_parts(find_classifier(graph).classes, len(fleet.members))
    full = full_shape(structure_of(graph))
    head = full.width // full.heads
    if fleet.has_fpga and (full.width % full.heads or head % FPGA_GRAIN):
        names = ", ".join(member.name for member in fleet.members if member.board.kind == "fpga")
        because = f"its heads are {head} wide, and the array works on {FPGA_GRAIN} channels at a time"
        help_text = "remove FPGA boards from the fleet, or train the model with heads of 16, 32, 48 or 64 channels"
        fail("K012", f"the model's heads do not fit {names}", graph.name, because, help_text)
    grain = FPGA_GRAIN if fleet.has_fpga else CPU_GRAIN
    return SplitClasses(len(fleet.members), options.partition, options.size, grain, options.seed, options.epochs)


def labels_of(data: Labelled, graph: Graph) -> Any:
    """Return the samples' labels: `labels`, or the target named after the classifier's output; None without."""
    return data.targets.get("labels", data.targets.get(find_classifier(graph).output))


def describe(
    model: str,
    graph: Graph,
    fleet: Fleet,
    split: Split,
    pricing: FleetPricing,
    options: SplitOptions,
    material: Material,
    seconds: float,
) -> SplitReport:
    """Return the report of a trained split: what was made, what it costs, how accurate it is."""
    labels, together = labels_of(material.measure, graph), split.together
    return msgspec.structs.replace(
        predicted_report(model, graph, fleet, split.plan, pricing, split),
        options=asdict(options),
        seconds=round(seconds, 1),
        measured_on=material.how,
        accuracy=None if labels is None else accuracies(graph, split, material.measure, labels),
        stages=tuple(results.StageSummary(i, *astuple(stage)) for i, stages in enumerate(split.pruned) for stage in stages),
        together=results.JointTraining(together.images, together.seconds, together.loss),
    )


def accuracies(graph: Graph, split: Split, data: Labelled, labels: Array) -> results.SplitAccuracy:
    """Return top-1 of the whole model and of the deployment, and of each sub-model on its classes and "other"."""
    from edgewright.passes.learn.dataset import LearningData
    from edgewright.passes.learn.measure import outputs
    from edgewright.passes.structure.classifier import relabelled

    samples = LearningData(data.inputs, labels)
    truth = samples.labels
    assert truth is not None
    whole = outputs(graph, samples)[find_classifier(graph).output].reshape(len(samples), -1).argmax(-1)
    answers = answer(split, samples).argmax(-1)
    parts = tuple(
        float((outputs(part, samples)[LOGITS].argmax(-1) == relabelled(truth, classes)).mean())
        for part, classes in zip(split.sub_models, split.plan.partition, strict=True)
    )
    right, right_split, agreement = (float(same.mean()) for same in (whole == truth, answers == truth, answers == whole))
    return results.SplitAccuracy(right, right_split, agreement, parts, len(samples))


def predicted_report(
    model: str, graph: Graph, fleet: Fleet, plan: SplitPlan, pricing: FleetPricing, split: Split | None = None
) -> SplitReport:
    """Return the part of the report that needs no training."""
    from edgewright.passes.learn.class_fusion import fusion_graph

    classes = find_classifier(graph).classes
    widths = [shape.width for shape in plan.shapes]
    fusion = fusion_graph(widths, classes, 0) if split is None else split.fusion
    parts = []
    for i, (part, shape, device, cost) in enumerate(zip(plan.partition, plan.shapes, plan.devices, plan.costs, strict=True)):
        member = fleet.members[device]
        place = (f"sub{i}.onnx", member.name, member.board.name, tuple(part))
        sizes = (shape.width, shape.heads, shape.hidden, cost.parameters, cost.macs, cost.memory_bytes, 4 * shape.width)
        parts.append(SubModel(*place, *sizes, pricing.latency(graph, part, shape, member)))
    whole, fused = plan.whole, footprint(fusion)
    on_boards = {board.name: pricing.whole(graph, board) for board in pricing.boards}
    fusion_time = pricing.fusion(fusion)
    total = pricing.total(parts, fusion_time)
    return SplitReport(
        kind=KIND,
        schema_version=FORMAT,
        edgewright=__version__,
        model=model,
        classes=classes,
        fleet=fleet.name,
        partition=tuple(tuple(part) for part in plan.partition),
        harder=plan.harder,
        whole=results.WholeModel(whole.parameters, whole.macs, whole.memory_bytes, on_boards),
        sub_models=tuple(parts),
        fusion=results.Fusion(FUSION, pricing.fuses, fused.parameters, fused.macs, fusion_time),
        latency=total,
        reasons=tuple(pricing.reasons),
    )


def split_files(split: Split, report: SplitReport) -> dict[str, bytes]:
    """Return the ONNX files by name, and the manifest that names them with their hashes."""
    from edgewright.frontend.onnx_writing.writer import interface_names, write_float

    files: dict[str, bytes] = {}
    parts, result = [], to_data(report)
    for sub_model, part in zip(split.sub_models, result["sub_models"], strict=True):
        files[part["file"]] = write_float(sub_model).SerializeToString(deterministic=True)
        inputs, outputs = interface_names(sub_model)
        names = dict(zip(input_shapes(sub_model), inputs, strict=True))
        parts.append({**part, "sha256": sha256(files[part["file"]]), "inputs": names, FEATURES: outputs[0], LOGITS: outputs[1]})
    files[FUSION] = write_float(split.fusion).SerializeToString(deterministic=True)
    inputs, outputs = interface_names(split.fusion)
    fusion = {**result["fusion"], "sha256": sha256(files[FUSION]), "inputs": list(inputs), LOGITS: outputs[0]}
    copied = ("kind", "schema_version", "edgewright", "model", "classes", "fleet", "options", "accuracy", "latency")
    files[MANIFEST] = to_json({**{name: result[name] for name in copied}, "sub_models": parts, "fusion": fusion})
    return files


def sha256(content: bytes) -> str:
    """Return the hash of a file as manifests give it."""
    return hashlib.sha256(content).hexdigest()
