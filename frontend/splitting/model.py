"""`split`: one model, a fleet and data in; one ONNX for each sub-model, fusion.onnx, a manifest and a report out."""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgewright import __version__
from edgewright.frontend.data import input_shapes
from edgewright.frontend.driver import source_name
from edgewright.frontend.labelled import Labelled, Material, load_material
from edgewright.frontend.onnx_reading.reader import ModelSource, read_model
from edgewright.frontend.publish import check_place, publish
from edgewright.frontend.splitting.fleet import Fleet, load_fleet
from edgewright.frontend.splitting.latency import FleetPricing
from edgewright.hw.emit import to_json
from edgewright.passes import orders
from edgewright.passes.diagnostics import Exit, fail
from edgewright.passes.ir.graph import Graph
from edgewright.passes.splitting.partition_classes import Method, check_parts
from edgewright.passes.splitting.split_classes import Say, Split, SplitClasses, SplitPlan, answer, kept_by_training
from edgewright.passes.structure.classifier import FEATURES, LOGITS, find_classifier
from edgewright.passes.structure.prune_structure import structure_of
from edgewright.passes.structure.sub_model_shape import CPU_GRAIN, FPGA_GRAIN, footprint, full_shape
from edgewright.passes.transform import Progress

KIND, FORMAT = "split", 1
MOST_EPOCHS = 1_000_000
MANIFEST, FUSION = "manifest.json", "fusion.onnx"


@dataclass(frozen=True, slots=True)
class SplitOptions:
    """What the user asked for; see `SplitClasses`."""

    partition: Method = "even"
    size: float | None = None
    epochs: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        """CompileError: U027 for a split without training, U030 for a seed that there is not."""
        if self.epochs is not None and not 0 < self.epochs <= MOST_EPOCHS:
            because = "the sub-models' heads and the network that fuses them are new, and say nothing before they are trained"
            if self.epochs != 0:
                because = f"it says how many times the last stage sees the data: more than 0, at most {MOST_EPOCHS:,}"
            help_text = "omit --epochs, or give a number above 0: fractions are fine, and the report says how good it is"
            message = f"--epochs {self.epochs:g} makes no deployment"
            fail("U027", message, "--epochs", because, help_text, exit=Exit.USAGE)
        if self.seed < 0:
            because, help_text = "random generators take no negative seed", "give a number from 0"
            message = f"'{self.seed}' is not a value of --seed"
            fail("U030", message, "--seed", because, help_text, exit=Exit.USAGE)

    def manifest(self) -> dict[str, Any]:
        """The options that decide the result."""
        return {"partition": self.partition, "size": self.size, "epochs": self.epochs, "seed": self.seed}


def split_model(
    source: ModelSource,
    fleet: str | Path,
    data: str | Path,
    output: str | Path,
    *,
    options: SplitOptions | None = None,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    resume: bool = False,
    progress: Progress | None = None,
    say: Say | None = None,
) -> dict[str, Any]:
    """Splits a model over a fleet and writes the folder ``output``, all of it or nothing. Returns what report.json holds.

    Training is kept beside it in ``output``.training until the folder is whole, for ``resume``. Raises ``CompileError``
    with every reason.
    """
    from edgewright.frontend.report.report_split import report_files

    options = options or SplitOptions()
    directory = check_place(Path(output))
    found = load_fleet(fleet)
    graph = read_model(source, shapes or {})
    material = load_material(data, graph, options.seed, labelled=True)
    checkpoints = directory.absolute().with_name(f"{directory.absolute().name}.training")
    begun = time.monotonic()
    split = train(graph, found, material, options, checkpoints, resume, progress, say)
    pricing = FleetPricing(found)
    result = describe(source_name(source), graph, found, split, pricing, options, material, time.monotonic() - begun)
    files = split_files(graph, split, result)
    publish({**files, **report_files(result)}, directory)
    for left in kept_by_training(checkpoints):
        left.unlink()
    with contextlib.suppress(OSError):  # something of the user's is in it
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
    """Plans and trains. CompileError as `SplitClasses.run`, K011 and K012 for devices that cannot take part."""
    from edgewright.passes.learn.dataset import LearningData

    work = splitter(graph, fleet, options, checkpoints, resume, progress, say)
    pricing = FleetPricing(fleet)
    learn = LearningData(material.learn.inputs, labels_of(material.learn, graph))
    return work.run(graph, learn, [member.place for member in fleet.members], pricing.energy(graph, work.levels(graph)))


def plan_split(graph: Graph, fleet: Fleet, options: SplitOptions) -> SplitPlan:
    """What a split of this model over this fleet would be, without data and training; classes are shared out evenly."""
    work = splitter(graph, fleet, SplitOptions("even", options.size, options.epochs, options.seed), None, False, None, None)
    places = [member.place for member in fleet.members]
    return work.plan(graph, places, FleetPricing(fleet).energy(graph, work.levels(graph)))


def splitter(
    graph: Graph,
    fleet: Fleet,
    options: SplitOptions,
    checkpoints: Path | None,
    resume: bool,
    progress: Progress | None,
    say: Say | None,
) -> SplitClasses:
    """The pass for a fleet; refuses what cannot be split over it (A003, A004, A006, K001, K004, K006, K007, K012)."""
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
    return SplitClasses(
        len(fleet.members),
        options.partition,
        options.size,
        grain,
        options.seed,
        options.epochs,
        checkpoints=checkpoints,
        resume=resume,
        progress=progress,
        say=say,
    )


def labels_of(data: Labelled, graph: Graph) -> Any:
    """Labels of the samples: `labels`, or the target named after the classifier's output; None without."""
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
) -> dict[str, Any]:
    """report.json: what was made, what it costs, how accurate it is."""
    judged = labels_of(material.measure, graph)
    result = plan_data(model, graph, fleet, split.plan, pricing, split)
    result |= {"options": options.manifest(), "seconds": round(seconds, 1), "measured_on": material.how}
    result["accuracy"] = None if judged is None else accuracies(graph, split, material.measure, judged)
    result["stages"] = [
        {"sub_model": i, **{name: getattr(stage, name) for name in stage.__dataclass_fields__}}
        for i, stages in enumerate(split.pruned)
        for stage in stages
    ]
    together = split.together
    result["together"] = {"images": together.images, "seconds": together.seconds, "loss": list(together.loss)}
    return result


def accuracies(graph: Graph, split: Split, data: Labelled, labels: Any) -> dict[str, Any]:
    """Top-1 of the whole model and of the deployment, and of each sub-model on its classes and "other"."""
    from edgewright.passes.learn.dataset import LearningData
    from edgewright.passes.learn.measure import outputs
    from edgewright.passes.structure.classifier import relabelled

    given = LearningData(data.inputs, labels)
    assert given.labels is not None
    whole = outputs(graph, given)[find_classifier(graph).output].reshape(len(given), -1).argmax(-1)
    found = answer(split, given).argmax(-1)
    own = [
        float((outputs(one, given)[LOGITS].argmax(-1) == relabelled(given.labels, part)).mean())
        for one, part in zip(split.sub_models, split.plan.partition, strict=True)
    ]
    return {
        "whole": float((whole == given.labels).mean()),
        "split": float((found == given.labels).mean()),
        "agreement": float((found == whole).mean()),
        "sub_models": own,
        "images": len(given),
    }


def plan_data(
    model: str, graph: Graph, fleet: Fleet, plan: SplitPlan, pricing: FleetPricing, split: Split | None = None
) -> dict[str, Any]:
    """The part of report.json that needs no training."""
    from edgewright.passes.learn.class_fusion import fusion_graph

    classes = find_classifier(graph).classes
    widths = [shape.width for shape in plan.shapes]
    fusion = fusion_graph(widths, classes, 0) if split is None else split.fusion
    rows = []
    for i, (part, shape, device, cost) in enumerate(zip(plan.partition, plan.shapes, plan.devices, plan.costs, strict=True)):
        member = fleet.members[device]
        rows.append(
            {
                "file": f"sub{i}.onnx",
                "device": member.name,
                "board": member.board.name,
                "classes": list(part),
                "width": shape.width,
                "heads": shape.heads,
                "hidden": shape.hidden,
                "parameters": cost.parameters,
                "macs": cost.macs,
                "memory_bytes": cost.memory_bytes,
                "feature_bytes": 4 * shape.width,
                "latency": pricing.latency(graph, part, shape, member).data(),
            }
        )
    whole, fused = plan.whole, footprint(fusion)
    return {
        "kind": KIND,
        "schema_version": FORMAT,
        "edgewright": __version__,
        "model": model,
        "classes": classes,
        "fleet": fleet.name,
        "partition": [list(part) for part in plan.partition],
        "harder": plan.harder,
        "whole": {
            "parameters": whole.parameters,
            "macs": whole.macs,
            "memory_bytes": whole.memory_bytes,
            "latency": {board.name: pricing.whole(graph, board).data() for board in pricing.boards},
        },
        "sub_models": rows,
        "fusion": {
            "file": FUSION,
            "device": pricing.fuses,
            "parameters": fused.parameters,
            "macs": fused.macs,
            "latency": pricing.fusion(fusion).data(),
        },
        "latency": pricing.total(rows, pricing.fusion(fusion)).data(),
        "reasons": list(pricing.reasons),
    }


def split_files(graph: Graph, split: Split, result: Mapping[str, Any]) -> dict[str, bytes]:
    """The ONNX files and the manifest that names them with their hashes."""
    from edgewright.frontend.onnx_writing.writer import interface_names, write_float

    files: dict[str, bytes] = {}
    rows = []
    for one, row in zip(split.sub_models, result["sub_models"], strict=True):
        files[row["file"]] = write_float(one).SerializeToString(deterministic=True)
        inputs, outputs = interface_names(one)
        named = dict(zip(input_shapes(one), inputs, strict=True))
        rows.append({**row, "sha256": sha256(files[row["file"]]), "inputs": named, FEATURES: outputs[0], LOGITS: outputs[1]})
    files[FUSION] = write_float(split.fusion).SerializeToString(deterministic=True)
    inputs, outputs = interface_names(split.fusion)
    fusion = {**result["fusion"], "sha256": sha256(files[FUSION]), "inputs": list(inputs), LOGITS: outputs[0]}
    names = ("kind", "schema_version", "edgewright", "model", "classes", "fleet", "options", "accuracy", "latency")
    manifest = {**{name: result[name] for name in names}, "sub_models": rows, "fusion": fusion}
    files[MANIFEST] = to_json(manifest)
    return files


def sha256(content: bytes) -> str:
    """The hash that a manifest gives a file."""
    return hashlib.sha256(content).hexdigest()
