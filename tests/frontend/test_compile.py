"""From a model file to a bundle, and from a bundle to a verdict, as a user does it."""

from __future__ import annotations

import copy
import hashlib
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import edgewright
import numpy as np
import onnx
import pytest
from edgewright.frontend import build, cli
from edgewright.frontend.files import publish
from edgewright.frontend.fpga import target as fpga
from edgewright.frontend.fpga.bundle import FpgaBundle, rtl_sources
from edgewright.hw.blocks.config import EngineConfig
from edgewright.passes.diagnostics import CompileError
from edgewright.passes.results import to_data
from typer.testing import CliRunner

from tests.frontend.sample_report import schema

pytestmark = pytest.mark.long

EXAMPLES = Path(__file__).parents[2] / "examples"
MODEL = EXAMPLES / "models" / "vit_digits.dynamo18.onnx"
DATA = EXAMPLES / "data" / "digits.npz"
HOSTILE = (
    '"; $finish; module evil; endmodule //',
    "</style><script>alert(1)</script>",
    "[exec touch /tmp/owned]",
    "../../../../etc/passwd",
    "*/ #include <evil.h> /*",
    '`include "evil"',
    "a\nb\r\x1b[31m",
    "‮gnp.exe",
    "%s%n${x}$(x)",
)


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def design(folder: Path) -> dict[str, bytes]:
    """The files that must not depend on when, where and how often something was compiled."""
    return {name: content for name, content in tree(folder).items() if not name.startswith("report.")}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("compiled") / "digits"
    edgewright.compile(MODEL, target="zcu104", calibration=DATA, output=folder)
    return folder


def test_the_report_keeps_its_schema(bundle: Path) -> None:
    import jsonschema

    data = json.loads((bundle / "report.json").read_text())
    jsonschema.validate(data, schema())
    assert data["bit_exact"] is None and data["cycles"]["simulated"] is None
    assert data["cycles"]["predicted"] > 5000
    assert data["accuracy"]["int8"] >= data["accuracy"]["float"] - 0.005
    assert data["accuracy"]["float"] > 0.97


def test_only_rtl_that_the_manifest_lists_is_compiled(bundle: Path, tmp_path: Path) -> None:
    listed = {name.removeprefix("rtl/") for name in design(bundle) if re.fullmatch(r"rtl/\w+\.s?v", name)}
    copied = tmp_path / "bundle"
    shutil.copytree(bundle, copied)
    (copied / "rtl" / "aaa.sv").write_text('module engine; initial $system("touch owned"); endmodule\n')
    sources = rtl_sources(FpgaBundle.open(copied))
    assert set(sources) == listed and "engine_top.v" in listed
    assert sources["engine.sv"] == (bundle / "rtl" / "engine.sv").read_text()


def test_the_manifest_covers_every_file(bundle: Path) -> None:
    manifest = json.loads((bundle / "manifest.json").read_text())
    files = tree(bundle)
    named = {name for name in files if name not in ("manifest.json", "report.html", "report.json")}
    assert named == set(manifest["files"])
    for name, digest in manifest["files"].items():
        assert hashlib.sha256(files[name]).hexdigest() == digest


def test_the_same_bytes_every_time_and_everywhere(bundle: Path, tmp_path: Path) -> None:
    again = tmp_path / "elsewhere" / "other name"
    edgewright.compile(onnx.load(MODEL), target="zcu104", calibration=DATA, output=again)
    assert design(again) == design(bundle)


@pytest.mark.parametrize("stage", ["passes", "plan", "emit"])
def test_starting_from_a_stage_gives_the_same_design(stage: str, bundle: Path, tmp_path: Path) -> None:
    folder = tmp_path / "digits"
    edgewright.compile(MODEL, target="zcu104", calibration=DATA, output=folder)
    edgewright.compile(MODEL, target="zcu104", calibration=DATA, output=folder, start_from=stage)
    assert design(folder) == design(bundle)
    assert FpgaBundle.open(folder).report.accuracy.int8 == FpgaBundle.open(bundle).report.accuracy.int8


def test_starting_from_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CompileError) as caught:
        edgewright.compile(MODEL, target="zcu104", calibration=DATA, output=tmp_path / "new", start_from="plan")
    assert (caught.value.diagnostics[0].code, caught.value.exit_code) == ("U021", 2)
    assert not (tmp_path / "new").exists()


def test_a_plan_for_another_engine_or_a_cpu_is_not_emitted(bundle: Path, tmp_path: Path) -> None:
    graph = FpgaBundle.open(bundle).graph
    acts: tuple[Callable[[], object], ...] = (
        lambda: fpga.stored_plan(bundle, graph, EngineConfig(weight_tiles=512)),
        lambda: edgewright.compile(MODEL, target="rpi5", output=tmp_path / "new", start_from="emit"),
    )
    for act in acts:
        with pytest.raises(CompileError) as caught:
            act()
        assert (caught.value.diagnostics[0].code, caught.value.exit_code) == ("U021", 2)
        assert "--from plan" in caught.value.diagnostics[0].help


@pytest.mark.parametrize("failing", ["read_with_facts", "quantise", "plan", "emit"])
def test_a_failed_run_leaves_the_previous_bundle(
    failing: str, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "digits"
    publish.publish(tree(bundle), folder)

    def fail(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(fpga if failing in ("plan", "emit") else build, failing, fail)
    with pytest.raises(KeyboardInterrupt):
        edgewright.compile(MODEL, target="zcu104", calibration=DATA, output=folder)
    assert tree(folder) == tree(bundle)
    assert [path.name for path in tmp_path.iterdir()] == ["digits"]


def test_an_interruption_while_writing_leaves_the_previous_bundle(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "digits"
    publish.publish(tree(bundle), folder)
    (folder / "notes.txt").write_text("the user's")
    before = tree(folder)
    written = Path.write_bytes

    def interrupted(path: Path, content: bytes) -> int:
        if path.name == "image.bin":
            raise KeyboardInterrupt
        return written(path, content)

    monkeypatch.setattr(Path, "write_bytes", interrupted)
    with pytest.raises(KeyboardInterrupt):
        publish.publish(tree(bundle), folder)
    assert tree(folder) == before
    assert [path.name for path in tmp_path.iterdir()] == ["digits"]


def test_hostile_names_reach_nothing(bundle: Path, tmp_path: Path) -> None:
    model = copy.deepcopy(onnx.load(MODEL))
    names: dict[str, str] = {}
    for number, node in enumerate(model.graph.node):
        node.name = f"{HOSTILE[number % len(HOSTILE)]}{number}"
        for position, output in enumerate(node.output):
            if output not in {o.name for o in model.graph.output}:
                names[output] = f"{HOSTILE[(number + position) % len(HOSTILE)]}_{number}_{position}"
        for at, name in enumerate(node.input):
            node.input[at] = names.get(name, name)
        for at, name in enumerate(node.output):
            node.output[at] = names.get(name, name)
    model.graph.name = HOSTILE[0] + HOSTILE[1]
    del model.graph.value_info[:]
    path = tmp_path / "<script>alert(1)<x.onnx"
    onnx.save(model, path)
    folder = tmp_path / "out"
    edgewright.compile(path, target="zcu104", calibration=DATA, output=folder)
    own, plain = tree(folder), tree(bundle)
    assert set(own) == set(plain)
    assert {name: c for name, c in own.items() if re.match(r"rtl/|hls/|memory/image", name)} == {
        name: c for name, c in plain.items() if re.match(r"rtl/|hls/|memory/image", name)
    }
    page = own["report.html"].decode()
    assert "<script" not in page and "\x1b" not in page and "‮" not in page
    assert "\x1b" not in own["checkpoints/passes.txt"].decode()
    assert not Path("/tmp/owned").exists()


def test_a_changed_file_is_refused(bundle: Path, tmp_path: Path) -> None:
    folder = tmp_path / "digits"
    publish.publish(tree(bundle), folder)
    image = bytearray((folder / "memory" / "image.bin").read_bytes())
    image[-500] ^= 1
    (folder / "memory" / "image.bin").write_bytes(image)
    done = CliRunner().invoke(cli.app, ["simulate", str(folder)])
    assert done.exit_code == 1
    assert "U023" in done.output and "memory/image.bin" in done.output and "Traceback" not in done.output


@pytest.mark.sim
def test_simulate_says_where_the_first_difference_is(bundle: Path, tmp_path: Path) -> None:
    """A flipped weight, with a manifest that covers it up: exit code 3, operation, tensor, index, both values."""
    folder = tmp_path / "digits"
    publish.publish(tree(bundle), folder)
    compiled = FpgaBundle.open(folder)
    step = next(step for step in compiled.plan.steps if step.operation.kind == "linear" and step.operation.table is not None)
    image = bytearray((folder / "memory" / "image.bin").read_bytes())
    begin = step.fields["blob_address"] - compiled.plan.program_address
    row = image[begin : begin + 16]  # of the first tile
    for at in range(16):
        if row[at] not in (0, 0x80):
            image[begin + at] ^= 0x80
    (folder / "memory" / "image.bin").write_bytes(image)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"]["memory/image.bin"] = hashlib.sha256(image).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(manifest))
    done = CliRunner().invoke(cli.app, ["simulate", str(folder), "--images", str(DATA), "--samples", "2"])
    assert done.exit_code == 3, done.output
    wrong = json.loads((folder / "report.json").read_text())["mismatch"]
    assert wrong["operation"] == step.operation.name
    assert wrong["expected"] != wrong["found"]
    assert step.operation.name in done.output


@pytest.mark.sim
def test_simulate_from_python_and_from_the_command_line(bundle: Path, tmp_path: Path) -> None:
    folder = tmp_path / "digits"
    publish.publish(tree(bundle), folder)
    done = CliRunner().invoke(cli.app, ["simulate", str(folder), "--images", str(DATA), "--samples", "2"])
    assert done.exit_code == 0, done.output
    assert "bit-exact" in done.output
    with np.load(DATA) as data:
        found = FpgaBundle.open(folder).simulate(data["images"][:2])
    assert found.bit_exact and found.images == 2
    assert to_data(found)["cycles"] == json.loads((folder / "report.json").read_text())["cycles"]


@pytest.mark.sim
@pytest.mark.slow
def test_waves(bundle: Path, tmp_path: Path) -> None:
    compiled = FpgaBundle.open(bundle)
    compiled.simulate(DATA, samples=1, wave=tmp_path / "out.fst")
    found = [path for path in tmp_path.iterdir() if path.stat().st_size > 10_000]
    assert found and found[0].suffix in (".fst", ".vcd")
