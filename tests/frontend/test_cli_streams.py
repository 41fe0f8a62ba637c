"""Signals at awkward moments, closed and full streams, empty paths, files that cannot be written."""

from __future__ import annotations

import errno
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import edgewright
import onnx
import pytest
from edgewright.frontend import cli, doctor
from edgewright.frontend.files import publish
from edgewright.frontend.fpga.bundle import FpgaBundle
from edgewright.frontend.onnx_writing.writer import write_float
from edgewright.passes import cache
from edgewright.passes.diagnostics import CompileError
from typer.testing import CliRunner

from tests.models import tiny_vit

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": f"{ROOT / '.src'}:{ROOT}"}
EDGEWRIGHT = f"{sys.executable} -m edgewright.frontend.cli"


def shell(command: str, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command}"],
        env=ENVIRONMENT | variables,
        capture_output=True,
        text=True,
        cwd=folder,
        timeout=120,
    )


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "tiny.onnx"
    onnx.save(write_float(tiny_vit(1, image=8, width=32, hidden=32, blocks=1, classes=4)), path)
    return path


@pytest.mark.parametrize(
    ("stream", "code"),
    [(">&-", 0), ("2>&-", 0), (">&- 2>&- <&-", 0), ("| head -1", 0), (">/dev/full", 2), ("| true", 0)],
)
def test_streams(stream: str, code: int, tmp_path: Path) -> None:
    done = shell(f"{EDGEWRIGHT} explain {stream}", tmp_path)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr and "Exception ignored" not in done.stderr
    assert ("No space left on device" in done.stderr) == (code == 2)


def test_help_on_a_full_disk(tmp_path: Path) -> None:
    done = shell(f"{EDGEWRIGHT} --help >/dev/full", tmp_path)
    assert done.returncode == 2 and done.stderr.startswith("error[C002]"), done.stderr


def test_a_full_disk_is_not_our_bug(monkeypatch: pytest.MonkeyPatch) -> None:
    def full() -> list[doctor.Check]:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(doctor, "examine", full)
    done = CliRunner().invoke(cli.app, ["doctor"])
    assert done.exit_code == 2 and "No space left on device" in done.stderr


@pytest.mark.parametrize("text", ["x", "-1", "1e3", "9" * 5000])
def test_a_limit_that_is_no_number(text: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("EDGEWRIGHT_CACHE", str(tmp_path))
    monkeypatch.setenv("EDGEWRIGHT_CACHE_MB", text)
    with pytest.raises(CompileError) as caught:
        cache.entry("kind", "name", lambda folder: pytest.fail("the work was begun"))
    assert (caught.value.diagnostics[0].code, caught.value.exit_code) == ("T058", 2)


@pytest.mark.parametrize(
    "command",
    [
        "compile M -t zcu104 -o ''",
        "optimise M -o ''",
        "split M --fleet f --data d -o ''",
        "run D -o ''",
        "profile D -o ''",
        "simulate D --wave ''",
        "optimise M -o x.onnx --task t --checkpoints ''",
    ],
)
def test_an_empty_path_is_a_usage_error(command: str) -> None:
    words = ["" if word == "''" else word for word in command.split()]
    done = CliRunner().invoke(cli.app, words)
    assert done.exit_code == 2 and "was a variable not set?" in " ".join(done.output.replace("│", " ").split())


PROGRAM = """
import os, signal, sys, time
from edgewright.frontend import cli, doctor
def act():
    {body}
doctor.examine = act
sys.argv = ["edgewright", "doctor"]
cli.main()
"""
SWALLOWED = """try:
        os.kill(os.getpid(), {number}); time.sleep(5)
    except BaseException:
        raise ImportError("initialization of _image raised unreported exception")"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
@pytest.mark.parametrize(
    "body",
    ["os.kill(os.getpid(), {number}); time.sleep(5)", 'exec("os.kill(os.getpid(), {number}); time.sleep(5)")', SWALLOWED],
    ids=["plain", "in text, as dataclasses are", "swallowed"],
)
def test_a_signal_is_no_bug_whatever_it_interrupts(body: str, number: int, code: int, tmp_path: Path) -> None:
    program = PROGRAM.format(body=body.format(number=int(number)))
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=ENVIRONMENT | {"TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert done.returncode == code, done.stderr
    assert "bug" not in done.stderr and "Traceback" not in done.stderr and not list(tmp_path.iterdir())


def test_nohup_stays_nohup(tmp_path: Path) -> None:
    body = "os.kill(os.getpid(), signal.SIGHUP); print('alive'); return []"
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(body=body)],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=60,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN),
    )
    assert "alive" in done.stdout


def test_a_killed_compilation_leaves_the_previous_bundle(model: Path, tmp_path: Path) -> None:
    """SIGKILL at random moments of a compilation; then one that is left alone cleans up."""
    place = tmp_path / "out" / "tiny"
    edgewright.compile(model, target="zcu104", calibration="random", output=place)
    image = (place / "memory" / "image.bin").read_bytes()
    (place / "notes.txt").write_text("mine")
    command = [*EDGEWRIGHT.split(), "compile", str(model), "-t", "zcu104", "--calibration", "random", "-o", str(place)]
    moments = random.Random(5)
    for _ in range(3):
        with subprocess.Popen(command, env=ENVIRONMENT, stderr=subprocess.DEVNULL) as process:
            time.sleep(moments.uniform(1.0, 4.0))
            process.kill()
        assert FpgaBundle.open(place).plan.external_image == image and (place / "notes.txt").read_text() == "mine"
    edgewright.compile(model, target="zcu104", calibration="random", output=place)
    assert os.listdir(place.parent) == ["tiny"] and (place / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("place", [".", "project", "project/manifest.json", "/dev/null", "dangling", "pipe"])
def test_a_folder_of_somebody_else_s(place: str, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command line refuses it before it reads anything: the model does not even exist."""
    project = tmp_path / "project"
    project.mkdir()
    (project / "manifest.json").write_text('{"name": "my browser extension", "manifest_version": 3}')
    (project / "thesis.txt").write_text("years")
    (project / "dangling").symlink_to("nowhere")
    os.mkfifo(project / "pipe")
    monkeypatch.chdir(project if place in (".", "dangling", "pipe") else tmp_path)
    before = sorted(os.listdir(project))
    done = CliRunner().invoke(cli.app, ["compile", "none.onnx", "-t", "zcu104", "--calibration", "random", "-o", place])
    assert done.exit_code == 2 and done.stderr.startswith("error[U020]"), done.output
    assert sorted(os.listdir(project)) == before


def test_the_verdict_of_a_folder_that_cannot_be_written(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`simulate` shows what it found, then says that the report could not be renewed; the verdict decides the exit code."""
    place = tmp_path / "tiny"
    edgewright.compile(model, target="zcu104", calibration="random", output=place)

    def simulated(compiled: FpgaBundle, *_: object, **__: object) -> None:
        return None

    def refuse(*_: object) -> None:
        raise publish.refusal(place / "report.html", "Read-only file system", "choose a folder you can write to")

    monkeypatch.setattr(FpgaBundle, "simulate", simulated)
    monkeypatch.setattr("edgewright.frontend.bundle.write_results", refuse)
    done = CliRunner().invoke(cli.app, ["simulate", str(place)])
    assert done.exit_code == 0, done.output
    assert "tiny on zcu104" in done.stdout and "Read-only file system" in done.stderr
