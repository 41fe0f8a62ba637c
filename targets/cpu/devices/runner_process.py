"""What all devices that start edgewright-run share: its command line, its files, and what its exit code means."""

from __future__ import annotations

import contextlib
import io
import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

import numpy as np
from edgewright.passes.diagnostics import Exit, fail
from edgewright.passes.ir import Array
from edgewright.passes.names import plain
from edgewright.targets.cpu.artifact import Artifact, identifier
from edgewright.targets.cpu.child_process import Finished, run_child
from edgewright.targets.cpu.devices import runner_answer
from edgewright.targets.cpu.devices.measured import DeviceMeasurement, Settings
from edgewright.targets.cpu.runtime import checked_inputs

SAID_MAX = 600
_SIGNALLED = 128  # a shell's exit code for a program that signal n ended is 128 + n


def input_files(artifact: Artifact, inputs: Mapping[str, Array]) -> dict[str, bytes]:
    """Return the inputs as .npy files by name. CompileError D008 when they do not fit the model."""
    checked = checked_inputs(artifact, inputs)
    contents = {}
    for tensor in artifact.manifest.inputs:
        file = io.BytesIO()
        np.save(file, checked[tensor.name], allow_pickle=False)
        contents[f"{identifier(tensor)}.npy"] = file.getvalue()
    return contents


def arguments(artifact: Artifact, settings: Settings, folder: str, files: str) -> list[str]:
    """Return the arguments of edgewright-run: the model is in `folder`, the inputs and later the results in `files`."""
    threads = "all" if settings.threads is None else ",".join(map(str, settings.threads))
    words = [folder]
    for tensor in artifact.manifest.inputs:
        words += ["--input", f"{identifier(tensor)}={files}/{identifier(tensor)}.npy"]
    words += ["--output", f"{files}/{runner_answer.OUTPUTS}", "--profile", f"{files}/{runner_answer.PROFILE}"]
    options = {
        "--threads": threads,
        "--warmup": settings.warmup,
        "--repeat": settings.repeat,
        "--seconds": f"{settings.seconds:g}",
        "--steps": settings.steps,
        "--power": f"{settings.power_seconds:g}",
    }
    return [*words, *(str(word) for option in options.items() for word in option)]


def measured(artifact: Artifact, files: Mapping[str, bytes], device: str) -> DeviceMeasurement:
    """Read the files of `runner_answer.result_names`. CompileError T051 when they are not what the runner writes."""
    try:
        return runner_answer.read(artifact, files)
    except KeyError as error:
        because = f"{plain(error.args[0])} is missing"
    except ValueError as error:
        because = plain(error)[:SAID_MAX]
    refuse("T051", "the runner's answer is not complete", device, because, "try again; a full disk is one reason")


def refuse_end(artifact: Artifact, code: int, stderr: str, device: str) -> NoReturn:
    """Raise the CompileError for a nonzero exit code: negative or above 128 for a signal, as subprocess or a shell report."""
    stderr = one_line(stderr)
    number = -code if code < 0 else code - _SIGNALLED if code > _SIGNALLED else 0
    if number:
        try:
            name = signal.Signals(number).name
        except ValueError:
            name = f"signal {number}"
        features = f"the artifact uses the '{artifact.manifest.variant}' kernels"
        hints = {
            "SIGILL": f"{features}: compile for what this processor is",
            "SIGKILL": "the system may have run out of memory: close other programs, or take a smaller model",
        }
        hint = hints.get(name, "please report this, with the artifact if you can")
        refuse("T047", f"the model's program was ended by {name}", device, stderr, hint)
    if "GLIBC_" in stderr or "error while loading shared libraries" in stderr:
        refuse("T046", "the device's C library is too old or missing", device, stderr, "glibc 2.28 (2018) or newer is needed")
    if "edgewright-run: cpu:" in stderr:
        hint = "compile for this processor; `edgewright targets` names the boards"
        refuse("T049", "the device's processor cannot run this artifact", device, stderr, hint)
    if "edgewright-run: artifact:" in stderr:
        hint = "a full disk or faulty memory of the device damages copies; try again"
        refuse("T051", "the model's files arrived damaged", device, stderr, hint)
    if "edgewright-run: memory:" in stderr:
        refuse("T050", "the device ran out of memory", device, stderr, "close other programs, or take a smaller model")
    refuse("T051", f"the runner ended with exit code {code}", device, stderr, "compile the model again; see runner/README.md")


def one_line(stderr: str) -> str:
    """Return the end of a program's output, fit for a message."""
    return plain(" ".join(stderr.split())[-SAID_MAX:])


def execute(command: Sequence[str], settings: Settings, device: str, stdin: bytes = b"") -> Finished:
    """Run a program that measures. CompileError T048 when it takes too long."""
    try:
        return run_child(command, settings.timeout_s, stdin=stdin)
    except subprocess.TimeoutExpired:
        too_slow(settings, device)


def too_slow(settings: Settings, device: str) -> NoReturn:
    """Raise the CompileError for a run that exceeded its time limit."""
    message = f"the measurement did not end within {settings.timeout_s:g} s"
    hint = "allow more time with --timeout, or ask for fewer runs with --repeat"
    refuse("T048", message, device, "everything that it started was ended", hint)


@contextlib.contextmanager
def working_folder(artifact: Artifact, inputs: Mapping[str, Array]) -> Iterator[Path]:
    """Give the body a temporary folder with the files of `input_files`; SIGTERM removes it as Ctrl-C does."""
    files = input_files(artifact, inputs)
    with orderly(), tempfile.TemporaryDirectory(prefix="edgewright-run-") as folder:
        for name, content in files.items():
            (Path(folder) / name).write_bytes(content)
        yield Path(folder)


def results_in(folder: Path, artifact: Artifact) -> dict[str, bytes]:
    """Return the files of `runner_answer.result_names` that are in a folder."""
    paths = {name: folder / name for name in runner_answer.result_names(artifact)}
    return {name: path.read_bytes() for name, path in paths.items() if path.exists()}


@contextlib.contextmanager
def orderly() -> Iterator[None]:
    """Make SIGTERM end the body as Ctrl-C does, so that its processes and folders go. Works in the main thread only."""
    restorable = threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    if not restorable:
        yield
        return
    signal.signal(signal.SIGTERM, _leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _leave(number: int, frame: object) -> NoReturn:
    raise SystemExit(_SIGNALLED + number)


def refuse(code: str, message: str, at: str, because: str = "", hint: str = "") -> NoReturn:
    """Raise a CompileError for a device that cannot be used."""
    fail(code, message, at, because, hint, exit=Exit.USAGE)
