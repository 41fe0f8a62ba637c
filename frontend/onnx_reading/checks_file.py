"""From a path to a parsed `onnx.ModelProto`, or one clear error.

Nothing here trusts the file: sizes are looked at before bytes are read, and a file that is something else is named
as such.  Tensors kept outside the file are resolved by `checks_tensors`, after this module has parsed it.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import onnx
from edgewright.passes.diagnostics import CompileError, Diagnostic, fail
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
    """Bytes that a model's tensors may take: half of what the machine has free, and at least 256 MiB."""
    try:
        free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):  # not POSIX: assume an ordinary machine
        free = total = 8 << 30
    # Free pages leave out the page cache, which the system gives back on demand.
    return max(256 << 20, free // 2, total // 4)


def _refuse(code: str, message: str, path: Path, because: str, help_text: str, exit_code: int = 1) -> CompileError:
    return CompileError([Diagnostic(code, message, at=str(path), because=because, help=help_text)], exit_code)


def _looks_like(data: bytes) -> str:
    for magic, what in _SIGNATURES:
        if data.startswith(magic):
            return f"it looks like {what}"
    return "its bytes are not a complete ONNX protobuf message"


def _read_bytes(path: Path) -> bytes:
    """The file's bytes; only a regular file of a size that fits in memory is read."""
    try:
        status = path.stat()
    except FileNotFoundError:
        raise _refuse(
            "N001", "model file not found", path, "there is no file of this name", "check the path", exit_code=2
        ) from None
    except (OSError, ValueError) as error:
        raise _refuse(
            "N001", "model file cannot be opened", path, str(error), "check the path and its permissions", exit_code=2
        ) from None
    if not stat.S_ISREG(status.st_mode):
        what = "it is a folder" if stat.S_ISDIR(status.st_mode) else "it is not a regular file"
        raise _refuse("N001", "model path is not a file", path, what, "give the path of the .onnx file", exit_code=2)
    budget = memory_budget_bytes()
    if status.st_size > budget:
        raise _refuse(
            "N004",
            "model does not fit in memory",
            path,
            f"the file has {status.st_size:,} bytes, and {budget:,} can be used on this machine",
            "use a machine with more memory or a smaller model",
        )
    try:
        return path.read_bytes()
    except OSError as error:
        raise _refuse("N001", "model file cannot be read", path, str(error), "check its permissions", exit_code=2) from None


def load_proto(path: Path) -> onnx.ModelProto:
    """Parse the file without touching external data.

    Errors (CompileError): N001 (exit 2) no such file or unreadable; N002 not ONNX or truncated; N004 too large.
    """
    data = _read_bytes(path)
    if not data:
        raise _refuse("N002", "not an ONNX model", path, "the file is empty", _EXPORT_HELP)
    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except (DecodeError, ValueError, RecursionError):
        raise _refuse("N002", "not an ONNX model, or a truncated one", path, _looks_like(data[:64]), _EXPORT_HELP) from None
    check_is_model(model, str(path))
    return model


def _damaged_text(message: Any) -> str | None:
    """The first string field that is not UTF-8 (protobuf hands it over as bytes), by its field's name."""
    for field, value in message.ListFields():
        if field.type == field.TYPE_STRING:
            for text in value if isinstance(value, Sequence) and not isinstance(value, str | bytes) else [value]:
                if not isinstance(text, str):
                    return str(field.full_name)
        elif field.type == field.TYPE_MESSAGE:
            for part in [value] if hasattr(value, "ListFields") else value:
                if (found := _damaged_text(part)) is not None:
                    return found
    return None


def check_is_model(model: onnx.ModelProto, place: str) -> None:
    """Refuse (N002) a message that parses and yet is no model: any short text can be valid protobuf."""
    damaged = _damaged_text(model)
    if damaged is not None:
        because = f"a text in it ({damaged}) is not UTF-8"
        fail("N002", "damaged ONNX model", place, because, _EXPORT_HELP)
    if model.ir_version <= 0 or not model.HasField("graph") or not model.graph.node:
        missing = "nodes" if model.HasField("graph") else "graph"
        fail("N002", "not an ONNX model", at=place, because=f"the file has no {missing}", help=_EXPORT_HELP)
