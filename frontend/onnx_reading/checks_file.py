"""Parse a model file into an `onnx.ModelProto`, or raise one clear error.

Nothing here trusts the file: its size is checked before bytes are read, and a file of another kind is recognised.
Tensors stored outside the file are loaded by `checks_tensors` afterwards.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import onnx
from edgewright.passes.diagnostics import Exit, fail
from google.protobuf.message import DecodeError  # type: ignore[import-untyped,unused-ignore]

_SIGNATURES = (
    (b"PK\x03\x04", "a zip archive (PyTorch checkpoints and .npz files are)"),
    (b"\x80\x02", "a Python pickle"),
    (b"\x80\x04", "a Python pickle"),
    (b"version https://git-lfs", "a Git LFS pointer; the model itself was not fetched (`git lfs pull`)"),
    (b"\x89HDF", "an HDF5 file"),
    (b"<!DOCTYPE", "an HTML page"),
    (b"<html", "an HTML page"),
    (b"{", "JSON text"),
)
_EXPORT_HELP = "export the model again, for instance with torch.onnx.export(model, example, path)"


def memory_budget_bytes() -> int:
    """Return how many bytes a model's tensors may take: half of the machine's free memory, and at least 256 MiB."""
    try:
        free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):  # not POSIX: assume an ordinary machine
        free = total = 8 << 30
    # Free pages exclude the page cache, which the system frees on demand.
    return max(256 << 20, free // 2, total // 4)


def _looks_like(data: bytes) -> str:
    kind = next((kind for magic, kind in _SIGNATURES if data.startswith(magic)), None)
    return "its bytes are not a complete ONNX protobuf message" if kind is None else f"it looks like {kind}"


def _read_bytes(path: Path) -> bytes:
    """Return the bytes of a regular file whose size fits in memory."""
    at = str(path)
    try:
        status = path.stat()
    except FileNotFoundError:
        fail("N001", "model file not found", at, "there is no file of this name", "check the path", Exit.USAGE)
    except (OSError, ValueError) as error:
        fail("N001", "model file cannot be opened", at, str(error), "check the path and its permissions", Exit.USAGE)
    if not stat.S_ISREG(status.st_mode):
        because = "it is a folder" if stat.S_ISDIR(status.st_mode) else "it is not a regular file"
        fail("N001", "model path is not a file", at, because, "give the path of the .onnx file", Exit.USAGE)
    budget = memory_budget_bytes()
    if status.st_size > budget:
        because = f"the file has {status.st_size:,} bytes, and {budget:,} can be used on this machine"
        fail("N004", "model does not fit in memory", at, because, "use a machine with more memory or a smaller model")
    try:
        return path.read_bytes()
    except OSError as error:
        fail("N001", "model file cannot be read", at, str(error), "check its permissions", Exit.USAGE)


def load_proto(path: Path) -> onnx.ModelProto:
    """Parse the file without touching external data.

    Errors (CompileError): N001 (exit 2) no such file or unreadable; N002 not ONNX or truncated; N004 too large.
    """
    data = _read_bytes(path)
    if not data:
        fail("N002", "not an ONNX model", str(path), "the file is empty", _EXPORT_HELP)
    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except (DecodeError, ValueError, RecursionError):
        fail("N002", "not an ONNX model, or a truncated one", str(path), _looks_like(data[:64]), _EXPORT_HELP)
    check_is_model(model, str(path))
    return model


def _damaged_text(message: Any) -> str | None:
    """Return the name of the first string field that is not UTF-8 (protobuf represents it as bytes), if any."""
    for field, value in message.ListFields():
        if field.type == field.TYPE_STRING:
            for text in value if isinstance(value, Sequence) and not isinstance(value, str | bytes) else [value]:
                if not isinstance(text, str):
                    return str(field.full_name)
        elif field.type == field.TYPE_MESSAGE:
            for part in [value] if hasattr(value, "ListFields") else value:
                if (damaged := _damaged_text(part)) is not None:
                    return damaged
    return None


def check_is_model(model: onnx.ModelProto, place: str) -> None:
    """Refuse (N002) a message that parses but is not a model: any short text can be valid protobuf."""
    damaged = _damaged_text(model)
    if damaged is not None:
        fail("N002", "damaged ONNX model", place, f"a text in it ({damaged}) is not UTF-8", _EXPORT_HELP)
    if model.ir_version <= 0 or not model.HasField("graph") or not model.graph.node:
        missing = "nodes" if model.HasField("graph") else "graph"
        fail("N002", "not an ONNX model", place, f"the file has no {missing}", _EXPORT_HELP)
