"""Reads the results that a device sends, without trusting them: only what the runner writes is accepted."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Annotated

import msgspec
import numpy as np
from edgewright.passes.ir import Array
from edgewright.targets.cpu.artifact import Artifact, TensorInfo, identifier
from edgewright.targets.cpu.devices.measured import Conditions, DeviceMeasurement, Machine, Power, TimedRun

PROFILE = "profile.json"
OUTPUTS = "outputs"
LONGEST_NS = 10**18  # thirty years
_MAGIC = b"\x93NUMPY\x01\x00"
_HEADER = re.compile(rb"\{'descr': '([^']*)', 'fortran_order': False, 'shape': \(([0-9, ]*)\), \} *\n")


class _Answer(msgspec.Struct, frozen=True):
    format: Annotated[int, msgspec.Meta(ge=1, le=1)]
    machine: Machine
    before: Conditions
    runs: Annotated[tuple[TimedRun, ...], msgspec.Meta(min_length=1)]
    after: Conditions
    power: Power | None = None


def result_names(artifact: Artifact) -> tuple[str, ...]:
    """Return the files that edgewright-run writes, relative to the folder of the results."""
    return (PROFILE, *(f"{OUTPUTS}/{identifier(tensor)}.npy" for tensor in artifact.manifest.outputs))


def read(artifact: Artifact, files: Mapping[str, bytes]) -> DeviceMeasurement:
    """Read the files of `result_names`. KeyError when one is missing, ValueError when one is not what the runner writes."""
    try:
        answer = msgspec.json.decode(files[PROFILE], type=_Answer)
    except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
        raise ValueError(f"{PROFILE}: {error}") from error
    outputs = {t.name: output(t, files[f"{OUTPUTS}/{identifier(t)}.npy"]) for t in artifact.manifest.outputs}
    for run in answer.runs:
        if len(run.steps) not in (0, len(artifact.manifest.steps)):
            raise ValueError(f"{PROFILE}: times of {len(run.steps)} steps, the model has {len(artifact.manifest.steps)}")
        if not all(1 <= time <= LONGEST_NS for time in run.times_ns):
            raise ValueError(f"{PROFILE}: a run took no time, or longer than anybody waited")
        if not all(0 <= time <= LONGEST_NS for step in run.steps for time in (step.min_ns, step.median_ns)):
            raise ValueError(f"{PROFILE}: a step took less than no time, or longer than anybody waited")
    return DeviceMeasurement(answer.runs, outputs, answer.machine, answer.before, answer.after, answer.power)


def output(tensor: TensorInfo, content: bytes) -> Array:
    """Return the array of a .npy file as the runner or numpy writes it. ValueError for anything else."""
    length = int.from_bytes(content[len(_MAGIC) : len(_MAGIC) + 2], "little")
    start = len(_MAGIC) + 2 + length
    header = _HEADER.fullmatch(content[len(_MAGIC) + 2 : start])
    if not content.startswith(_MAGIC) or header is None:
        raise ValueError(f"output '{tensor.name}' is not an .npy file of the runner")
    dtype = np.dtype(tensor.dtype)
    shape = ", ".join(map(str, tensor.shape)) + ("," if len(tensor.shape) == 1 else "")
    if header[1] != dtype.str.encode() or header[2] != shape.encode():
        header_text = f"{header[1].decode(errors='replace')} ({header[2].decode()})"
        raise ValueError(f"output '{tensor.name}' is {header_text[:100]}, not {dtype.str} ({shape})")
    if len(content) - start != math.prod(tensor.shape) * dtype.itemsize:
        raise ValueError(f"output '{tensor.name}' has {len(content) - start} bytes of values")
    return np.frombuffer(content, dtype, offset=start).reshape(tensor.shape).copy()
