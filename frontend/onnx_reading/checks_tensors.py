"""Tensors of a model proto: sizes, external data, NaN and infinity, all before anything large is allocated.

`check_tensors` leaves every tensor of the model with its bytes in the proto (`raw_data`) or raises.
"""

from __future__ import annotations

import math
import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath

import numpy as np
import onnx
from edgewright.frontend.onnx_reading.checks import dtype_name, place_of
from edgewright.frontend.onnx_reading.checks_file import memory_budget_bytes
from edgewright.passes.diagnostics import CompileError, Diagnostic

_TP = onnx.TensorProto
_INTEGERS = (_TP.INT8, _TP.UINT8, _TP.INT16, _TP.UINT16, _TP.INT32, _TP.UINT32, _TP.INT64, _TP.UINT64, _TP.BOOL)
_FOUR_BITS = (_TP.INT4, _TP.UINT4)  # two to a byte, and to an entry
_FLOATS = (_TP.FLOAT, _TP.DOUBLE, _TP.FLOAT16, _TP.BFLOAT16)
_SUPPORTED = (*_FLOATS, *_INTEGERS, *_FOUR_BITS)
_READ_TYPES = "weights are float32, and shapes and indices are integers"
_DAMAGED = "the file is damaged; export the model again"


@dataclass(frozen=True, slots=True)
class _Place:
    """A tensor and the words that say where it is."""

    tensor: onnx.TensorProto
    at: str


def _tensors_of_nodes(nodes: Iterable[onnx.NodeProto]) -> Iterator[_Place]:
    for node in nodes:
        for attribute in node.attribute:
            for tensor in (*([attribute.t] if attribute.HasField("t") else []), *attribute.tensors):
                yield _Place(tensor, place_of(node))
            for graph in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                yield from _tensors_of_graph(graph)


def _tensors_of_graph(graph: onnx.GraphProto) -> Iterator[_Place]:
    for tensor in graph.initializer:
        yield _Place(tensor, f"tensor {tensor.name!r}")
    yield from _tensors_of_nodes(graph.node)


def _all_tensors(model: onnx.ModelProto) -> Iterator[_Place]:
    yield from _tensors_of_graph(model.graph)
    for function in model.functions:
        yield from _tensors_of_nodes(function.node)


def _is_external(tensor: onnx.TensorProto) -> bool:
    return bool(tensor.data_location == _TP.EXTERNAL)


def _element_bits(data_type: int) -> int:
    return 4 if data_type in _FOUR_BITS else 8 * int(onnx.helper.tensor_dtype_to_np_dtype(data_type).itemsize)


def _size_bytes(tensor: onnx.TensorProto) -> int:
    """Return the bytes that dims and element type call for."""
    return -(-int(math.prod(tensor.dims)) * _element_bits(tensor.data_type) // 8)


def _check_declared(place: _Place) -> Diagnostic | None:
    """Check element type and dims, and bytes stored in the proto against them."""
    tensor, at = place.tensor, place.at
    if tensor.data_type not in _SUPPORTED:
        message = f"element type {dtype_name(tensor.data_type)} is not supported"
        return Diagnostic("N006", message, at, _READ_TYPES, "export the model in float32")
    if tensor.HasField("segment"):
        because = "segmented tensors are not part of any exporter's output"
        return Diagnostic("N005", "tensor stored in segments", at, because, "save the model again with onnx.save")
    if any(dim < 0 for dim in tensor.dims):
        because = f"its dimensions are {list(tensor.dims)}"
        return Diagnostic("N005", "tensor with a negative dimension", at, because, _DAMAGED)
    needed, entry_bytes = _size_bytes(tensor), max(_element_bits(tensor.data_type) // 8, 1)
    entries = getattr(tensor, onnx.helper.tensor_dtype_to_field(tensor.data_type))
    stored = len(tensor.raw_data) if tensor.HasField("raw_data") else len(entries) * entry_bytes
    if _is_external(tensor) or stored == needed:
        return None
    because = f"{list(tensor.dims)} in {dtype_name(tensor.data_type)} needs {needed:,} bytes, and it has {stored:,}"
    return Diagnostic("N005", "tensor's size disagrees with its bytes", at, because, _DAMAGED)


def _external_path(location: str, folders: Sequence[Path]) -> tuple[Path | None, str]:
    """Return the resolved path, or None and the reason for refusing it; opens nothing.

    `folders`: the folder of the model's path, then that of its resolved file (another one if the path is a link, as in
    download caches, which link a model and its data into one folder of blobs). The data is searched for in both, and its
    resolved file has to be inside one of them.
    """
    if not location:
        return None, "it names no file"
    if "\0" in location:
        return None, "its path contains a NUL byte"
    if PurePosixPath(location).is_absolute() or PureWindowsPath(location).drive or PureWindowsPath(location).root:
        return None, f"its path {location!r} is absolute"
    if ".." in PurePosixPath(location).parts or ".." in PureWindowsPath(location).parts:
        return None, f"its path {location!r} leaves the folder with '..'"
    roots = [Path(os.path.realpath(folder)) for folder in folders]
    candidates = [root / location for root in roots]
    target = Path(os.path.realpath(next((path for path in candidates if os.path.lexists(path)), candidates[0])))
    if not any(target.is_relative_to(root) for root in roots):
        return None, f"its path {location!r} leads outside through a symbolic link"
    return target, ""


def _read_external(place: _Place, folders: Sequence[Path]) -> Diagnostic | None:
    """Move an external tensor's bytes into the proto; every check comes before the first byte is read."""
    tensor, at, size = place.tensor, place.at, _size_bytes(place.tensor)
    entries = {entry.key: entry.value for entry in tensor.external_data}
    location = entries.get("location", "")
    if not folders:
        because = f"its bytes are in {location!r}, relative to a folder that is not known"
        help_text = "pass the path of the .onnx file, or load the model with its external data"
        return Diagnostic("N007", "external data of a model that is not a file", at, because, help_text)
    path, because = _external_path(location, folders)
    if path is None:
        help_text = "store the data file next to the model and save the model with a plain relative name"
        return Diagnostic("N008", "external data outside the model's folder", at, because, help_text)
    try:
        offset, length = int(entries.get("offset", "0") or 0), int(entries.get("length", str(size)) or size)
    except ValueError:
        return _wrong_extent(place, "its offset or length is not a number")
    if offset < 0 or length != size:
        return _wrong_extent(place, f"its shape needs {size:,} bytes, and the model has offset {offset:,}, length {length:,}")
    try:
        data, because = _read_extent(path, location, offset, size)
    except OSError as error:
        because = f"{location!r} in the model's folder: {error.strerror}"
        help_text = "copy the data file next to the .onnx file under that name"
        return Diagnostic("N007", "external data missing", at, because, help_text)
    if because:
        return _wrong_extent(place, because)
    del tensor.external_data[:]
    tensor.data_location = _TP.DEFAULT
    tensor.raw_data = data
    return None


def _read_extent(path: Path, location: str, offset: int, size: int) -> tuple[bytes, str]:
    """Return bytes of a regular file, or why it does not have them. OSError if it cannot be read."""
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            kind = "folder" if stat.S_ISDIR(status.st_mode) else "device or pipe"
            return b"", f"{location!r} is a {kind} and not a regular file"
        if offset + size > status.st_size:
            return b"", f"bytes {offset:,} to {offset + size:,} are needed and {location!r} has {status.st_size:,}"
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            file.seek(offset)
            data = file.read(size)
    finally:
        os.close(descriptor)
    return data, "" if len(data) == size else f"{location!r} ended after {len(data):,} of {size:,} bytes"


def _wrong_extent(place: _Place, because: str) -> Diagnostic:
    help_text = "the data file is damaged or belongs to another model; export the model again"
    return Diagnostic("N005", "external data does not match its tensor", place.at, because, help_text)


def _check_finite(place: _Place) -> Diagnostic | None:
    tensor = place.tensor
    if tensor.data_type not in _FLOATS:
        return None
    values = onnx.numpy_helper.to_array(tensor).reshape(-1)
    values = values.astype(np.float32) if tensor.data_type == _TP.BFLOAT16 else values  # numpy cannot test bfloat16
    finite = np.isfinite(values)
    if finite.all() or bool(np.all((values == 0) | (values == -np.inf))):  # a mask to add to scores
        return None
    places = np.flatnonzero(~finite)
    because = f"{len(places):,} of {values.size:,} values are not finite, the first at flat index {int(places[0]):,}"
    help_text = "such a model computes NaN or infinity; retrain or repair the checkpoint"
    return Diagnostic("N009", "NaN or infinite weight", place.at, because, help_text)


def no_numbers(at: str, dtype: object, help_text: str = "export the model in float32") -> Diagnostic:
    """Return the refusal (N006) of a constant that does not hold numbers."""
    return Diagnostic("N006", f"element type {dtype} is not supported", at, _READ_TYPES, help_text)


def _check_strings(model: onnx.ModelProto) -> list[Diagnostic]:
    """Refuse texts in attributes of Constant; in tensors their element type gives them away."""
    nodes = [*model.graph.node, *(node for function in model.functions for node in function.node)]
    return [
        no_numbers(place_of(node), "string", "leave texts to the program around the model")
        for node in nodes
        if node.op_type == "Constant" and any(a.name in ("value_string", "value_strings") for a in node.attribute)
    ]


def _check_sparse(model: onnx.ModelProto) -> list[Diagnostic]:
    places = [f"tensor {sparse.values.name!r}" for sparse in model.graph.sparse_initializer]
    for node in model.graph.node:
        if any(a.HasField("sparse_tensor") or a.sparse_tensors for a in node.attribute):
            places.append(place_of(node))
    because, help_text = "only dense tensors are read", "save the model with dense weights"
    return [Diagnostic("N006", "sparse tensor", at, because, help_text) for at in places]


def check_tensors(model: onnx.ModelProto, path: Path | None) -> None:
    """Check every tensor of `model` and load external data; `path` is the model's file, if it is one.

    Errors (CompileError, exit 1), all of them together: N004 total size beyond memory, N005 declared size against
    bytes, N006 element type, N007 external data missing, N008 external data outside the folder, N009 NaN/infinity.
    """
    refusals: list[Diagnostic] = _check_sparse(model) + _check_strings(model)
    sound: list[_Place] = []
    for place in _all_tensors(model):
        refusal = _check_declared(place)
        if refusal is None:
            sound.append(place)
        else:
            refusals.append(refusal)
    external = sum(_size_bytes(place.tensor) for place in sound if _is_external(place.tensor))
    budget = memory_budget_bytes()
    if external > budget:
        size, at = max((_size_bytes(place.tensor), place.at) for place in sound)
        because = f"its tensors need {external:,} bytes ({size:,} for this one), and {budget:,} can be used"
        help_text = "use a machine with more memory or a smaller model"
        raise CompileError([*refusals, Diagnostic("N004", "model does not fit in memory", at, because, help_text)])
    folders = [] if path is None else list(dict.fromkeys((path.parent, Path(os.path.realpath(path)).parent)))
    for place in sound:
        refusal = _read_external(place, folders) if _is_external(place.tensor) else None
        refusal = refusal or _check_finite(place)
        if refusal is not None:
            refusals.append(refusal)
    if refusals:
        raise CompileError(refusals)
