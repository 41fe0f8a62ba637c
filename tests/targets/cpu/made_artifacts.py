"""Small compiled models for the tests of runner, devices and profile; each is made once."""

from __future__ import annotations

import atexit
import functools
import shutil
import tempfile
from pathlib import Path

import numpy as np
from edgewright.frontend.build import build
from edgewright.frontend.options import Options
from edgewright.passes.ir import checkpoint
from edgewright.passes.ir.interp import interpret
from edgewright.passes.ir.types import Array
from edgewright.targets.cpu.artifact import Artifact
from edgewright.targets.cpu.profile import kept_sample

MODEL = Path(__file__).parents[3] / "examples" / "models" / "vit_digits.dynamo18.onnx"


@functools.cache
def artifact(target: str = "host", precision: str = "int8") -> Artifact:
    """The digits model, calibrated on random data."""
    options = Options(target=target, calibration="random", precision=precision)
    made = build(MODEL, options)
    folder = Path(tempfile.mkdtemp(prefix="edgewright-test-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    for name, content in made.files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return Artifact.open(folder)


def copied(of: Artifact, folder: Path) -> Artifact:
    """A copy that a test may damage."""
    shutil.copytree(of.directory, folder, dirs_exist_ok=True)
    return Artifact(folder, of.manifest)


def sample(of: Artifact) -> dict[str, Array]:
    return kept_sample(of)


def expected(of: Artifact) -> dict[str, Array]:
    """What the interpreter computes for `sample`."""
    graph = checkpoint.load(of.directory / "checkpoints" / "passes.npz")
    found = interpret(graph, sample(of))
    return {one.name: np.asarray(found[one.name]).reshape(one.shape) for one in of.manifest.outputs}
