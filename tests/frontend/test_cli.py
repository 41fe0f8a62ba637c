"""The command line: words and exit codes, without compiling anything."""

from __future__ import annotations

import io
import json
import os
import re
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from edgewright.frontend import cli, doctor, explain
from edgewright.frontend.build import folder_name
from edgewright.frontend.options import input_shapes
from edgewright.frontend.report import render
from edgewright.passes import error_texts
from edgewright.passes.diagnostics import CompileError, Diagnostic
from edgewright.passes.names import plain
from rich.console import Console
from typer.testing import CliRunner

from tests.frontend.sample_report import sample, typed

ROOT = Path(__file__).parents[2]


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own, from the sources."""
    return subprocess.run(
        [sys.executable, "-m", "edgewright.frontend.cli", *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT / ".src"), **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )


def failing(failure: BaseException, monkeypatch: pytest.MonkeyPatch) -> tuple[int, str]:
    """Exit code and words when a command raises `failure`."""

    def explode() -> list[doctor.Check]:
        raise failure

    monkeypatch.setattr(doctor, "examine", explode)
    result = CliRunner().invoke(cli.app, ["doctor"])
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result.exit_code, result.stderr


def shown(draw: Callable[[Console], None]) -> str:
    console = Console(record=True, width=120, file=io.StringIO(), markup=False, emoji=False)
    draw(console)
    return console.export_text()


def test_help_is_quick_and_names_every_command() -> None:
    seconds = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        result = run("--help")
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert result.returncode == 0
    for command in ("compile", "simulate", "inspect", "targets", "explain", "doctor"):
        assert re.search(rf"^  {command} ", result.stdout, flags=re.MULTILINE), command
    assert min(seconds) < 0.5, f"--help takes {min(seconds):.2f} s: something heavy is imported outside a command"


def test_help_imports_nothing_heavy() -> None:
    code = "import sys, edgewright.frontend.cli; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(ROOT / ".src")},
        capture_output=True,
        text=True,
    )
    assert not {"numpy", "onnx", "matplotlib", "jinja2", "msgspec"} & set(done.stdout.split())


def test_version() -> None:
    result = run("--version")
    assert (result.returncode, result.stdout) == (0, "edgewright 0.1.0\n")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "Usage:"),
        (["frobnicate"], "No such command 'frobnicate'"),
        (["compile", "m.onnx"], "Missing option '--target'"),
        (["compile", "m.onnx", "--target", "zcu104", "--precision", "int3"], "'int3'"),
        (["compile", "m.onnx", "--target", "zcu104", "--from", "lunch"], "'lunch'"),
        (["compile", "m.onnx", "--target", "zcu104", "--shape", "x"], "'x' is not of the form NAME=1,3,224,224"),
        (["compile", "m.onnx", "--target", "zcu104", "--shape", "x=1,0"], "not of the form"),
        (["compile", "m.onnx", "--target", "zcu104", "--shape", "x=1,-3"], "not of the form"),
        (["simulate", "d", "--samples", "0"], "Invalid value for '--samples'"),
    ],
)
def test_usage_errors(arguments: list[str], words: str) -> None:
    result = run(*arguments)
    assert result.returncode == 2
    assert words in " ".join((result.stdout + result.stderr).split())
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("arguments", [["targets", "zcu014"], ["explain", "X999"]])
def test_unknown_names_are_usage_errors(arguments: list[str]) -> None:
    result = run(*arguments)
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr.startswith("error[")
    assert "  help    " in result.stderr


def test_shape_names_may_hold_an_equals_sign() -> None:
    assert input_shapes(["a=b=1,2"]) == {"a=b": (1, 2)}


@pytest.mark.parametrize("name", ["../../x.onnx", "a b.onnx", "$(reboot).onnx", "....onnx", "ä.onnx"])
def test_the_default_folder_is_a_plain_name(name: str) -> None:
    assert re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", folder_name(Path(name).stem))


def test_several_errors_are_shown_together(monkeypatch: pytest.MonkeyPatch) -> None:
    same = [Diagnostic("N017", "no such operator: Foo", at, "nobody wrote it", "write it") for at in ("a", "b\n\x1b[1m")]
    code, text = failing(CompileError([*same, Diagnostic("N018", "odd axis", "c")], 1), monkeypatch)
    assert code == 1
    assert text.splitlines() == [
        "error[N017]: no such operator: Foo",
        "  at      a, b\\n\\x1b[1m",
        "  because nobody wrote it",
        "  help    write it",
        "error[N018]: odd axis",
        "  at      c",
        "3 errors; `edgewright explain N017` tells more",
    ]


def test_a_long_line_stays_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    _, text = failing(CompileError([Diagnostic("N001", "m" * 400)], 1), monkeypatch)
    assert text.splitlines() == [f"error[N001]: {'m' * 400}"]


@pytest.mark.parametrize("code", [1, 2, 3, 4])
def test_exit_code_is_the_error_s(code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    assert failing(CompileError([Diagnostic("N001", "x")], code), monkeypatch)[0] == code


def test_our_bug_leaves_a_log_and_no_traceback(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    code, text = failing(KeyError("secret"), monkeypatch)
    assert code == 4
    assert text.startswith("error[C004]: internal error")
    assert "Traceback" not in text
    (log,) = tmp_path.glob("edgewright-*.log")
    assert str(log) in text
    assert "KeyError" in log.read_text()
    assert "Traceback" in log.read_text()


def test_memory_and_files(monkeypatch: pytest.MonkeyPatch) -> None:
    code, text = failing(MemoryError(), monkeypatch)
    assert (code, "out of memory" in text) == (1, True)
    code, text = failing(PermissionError(13, "Permission denied", "/x/y"), monkeypatch)
    assert (code, "at      /x/y" in text, "Permission denied" in text) == (2, True, True)


def test_interruption_is_130_without_a_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    assert failing(KeyboardInterrupt(), monkeypatch) == (130, "interrupted\n")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals_end_a_process_cleanly(number: signal.Signals, code: int, tmp_path: Path) -> None:
    program = (
        "import time, pathlib, sys\nfrom edgewright.frontend import cli, doctor\n"
        "def wait():\n try:\n  print('ready', flush=True); time.sleep(60)\n"
        f" finally:\n  pathlib.Path({str(tmp_path / 'cleaned')!r}).touch()\n"
        "doctor.examine = wait\nsys.argv = ['edgewright', 'doctor']\ncli.main()\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT / ".src")}
    with subprocess.Popen(
        [sys.executable, "-c", program],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # ignored where the tests run in the background
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        _, errors = process.communicate(timeout=20)
    assert process.returncode == code
    assert "Traceback" not in errors
    assert (tmp_path / "cleaned").exists()


def test_a_closed_pipe_is_no_error() -> None:
    command = f"{sys.executable} -m edgewright.frontend.cli explain | head -1"
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command}"],
        env={**os.environ, "PYTHONPATH": str(ROOT / ".src")},
        capture_output=True,
        text=True,
    )
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


def test_explanations() -> None:
    assert explain.text("n014").startswith("N014: ")
    assert explain.text("error[T001]:").startswith("T001: ")
    assert len(explain.overview().splitlines()) == len(error_texts.codes())
    for code in error_texts.codes():
        text = explain.text(code)
        assert "```" not in text and "##" not in text, code
        assert all(f"\n\n{heading}:\n" in text for heading in error_texts.SECTIONS), code


def test_an_explanation_is_plain_text_in_a_pipe() -> None:
    result = run("explain", "N001")
    assert result.returncode == 0 and "\x1b" not in result.stdout
    assert result.stdout == explain.text("N001") + "\n"


@pytest.mark.parametrize("code", ["K009", "N012"])
def test_an_explanation_fits_the_terminal(code: str) -> None:
    console = Console(file=io.StringIO(), width=60, force_terminal=True, color_system=None)
    explain.show(console, code)
    assert isinstance(console.file, io.StringIO)
    prose = [line for line in console.file.getvalue().splitlines() if not line.startswith("    ")]
    assert prose[0].startswith(f"{code}: ") and set(error_texts.SECTIONS) <= set(prose)
    assert max(map(len, prose)) <= 60 and "```" not in console.file.getvalue()


def test_summary_says_the_headline() -> None:
    text = shown(lambda console: render.summary(console, typed(sample()), Path("build/x"), "edgewright simulate build/x"))
    for words in (
        "deit_tiny on zcu104 (xczu7ev-ffvc1156-2-e)",
        "bit-exact",
        "over 4 simulated images",
        "71.84 %",
        "546,532",
        "300 MHz target",
        "1,652 of 1,728",
        "96 %",
        "Yosys 0.70 estimate",
        "build/x/report.html",
        "edgewright simulate build/x",
    ):
        assert words in text, words


def test_summary_begins_with_random_calibration() -> None:
    data = sample(simulated=False, random=True)
    text = shown(lambda console: render.summary(console, typed(data), Path("d"), ""))
    assert text.startswith("Calibrated with random inputs.")
    assert "not measured" in text


def test_plain_text_has_no_control_characters() -> None:
    assert plain("a\x1b[2Jb\r\n\u202ec\ud800ä[bold]") == "a\\x1b[2Jb\\r\\n\\u202ec\\ud800ä[bold]"


def test_targets_lists_every_board_and_why_not() -> None:
    result = run("targets")
    assert result.returncode == 0
    for name in ("zcu104", "zcu102", "kv260", "pynq-z2", "rpi4", "rpi5", "jetson-orin-nano", "host"):
        assert name in result.stdout
    words = " ".join(result.stdout.split())
    assert "zcu102: no UltraRAM" in words
    made = "jetson-xavier-nx: CPU code and CUDA code for its GPU are generated, and neither was run on the board"
    assert made in words
    assert "DS891" in run("targets", "zcu104").stdout


def test_doctor_names_what_is_missing(tmp_path: Path) -> None:
    result = run("doctor", PATH=str(tmp_path), EDGEWRIGHT_CACHE=str(tmp_path / "cache"))
    assert result.returncode == 2
    assert "apt-get install g++" in result.stdout
    assert "Something that compile or simulate needs is missing" in result.stdout


def test_progress_is_silent_when_piped() -> None:
    console = Console(file=io.StringIO())
    with render.Stages(console) as progress:
        progress("read")
        progress("simulate", 1, 4)
    terminal = Console(force_terminal=True, record=True, file=io.StringIO(), width=80)
    with render.Stages(terminal) as progress:
        progress("read")
        progress("simulate [bold]", 1, 4)
        progress("simulate [bold]", 4, 4)
    text = terminal.export_text()
    assert "read" in text
    assert "simulate [bold]" in text
    assert "4 of 4" in text


def test_long_work_says_the_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("edgewright.frontend.report.render.time.monotonic", lambda: now[0])
    log = io.StringIO()
    with render.Stages(Console(file=log, width=80)) as progress:
        for done in range(0, 61, 10):
            progress("learn", done, 60)
            now[0] += 25.0
    assert log.getvalue().splitlines() == ["learn: 30 of 60, 1:15 left", "learn: 60 of 60"]


def test_inspect_says_what_it_is_and_where_it_runs() -> None:
    result = run("inspect", str(ROOT / "examples/models/vit_digits.dynamo18.onnx"))
    assert result.returncode == 0, result.stderr
    words = " ".join(result.stdout.split())
    for part in (
        "vit_digits.dynamo18.onnx opset 18",
        "a vision transformer, patches of 2x2, 16 tokens, width 48, 4 attention blocks, 3 heads",
        "input x 1x1x8x8",
        "products (MACs) 1,871,328 for one input",
        "runs on zcu104",
        "runs on rpi4",
        "not yet kv260: 1,248 DSPs",
    ):
        assert part in words, part


def test_json_and_quiet_and_completion() -> None:
    listed = CliRunner().invoke(cli.app, ["targets", "--json"])
    boards = json.loads(listed.stdout)
    assert "zcu104" in {board["name"] for board in boards} and listed.exit_code == 0
    quiet = CliRunner().invoke(cli.app, ["targets", "-q"])
    assert quiet.exit_code == 0 and not quiet.stdout + quiet.stderr
    failed = CliRunner().invoke(cli.app, ["inspect", "absent.onnx", "--json"])
    refused = json.loads(failed.stdout)
    assert failed.exit_code == refused["exit_code"] != 0 and refused["errors"][0]["code"] in failed.stderr
    assert CliRunner().invoke(cli.app, ["inspect", "absent.onnx", "--quiet"]).stderr.startswith("error[")
    arguments = {
        "_EDGEWRIGHT_COMPLETE": "complete_bash",
        "COMP_WORDS": "edgewright compile m.onnx --target rp",
        "COMP_CWORD": "4",
    }
    assert run(**arguments).stdout.split() == ["rpi4", "rpi5"]
    assert "edgewright" in run("--show-completion", "bash").stdout
