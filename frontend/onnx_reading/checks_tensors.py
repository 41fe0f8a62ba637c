"""Tensors of a model proto: sizes, external data, NaN and infinity, all before anything large is allocated.

`check_tensors` leaves every tensor of the model with its bytes inside (`raw_data`) or raises.
"""

from __future__ import annotations

import math
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath

import numpy as np
import onnx
from edgewright.frontend.onnx_reading.checks_file import memory_budget_bytes
from edgewright.passes.diagnostics import CompileError, Diagnostic

_TP = onnx.TensorProto
# bits per element, field that holds values when raw_data does not
_TYPES: dict[int, tuple[int, str]] = {
    _TP.FLOAT: (32, "float_data"),
    _TP.DOUBLE: (64, "double_data"),
    _TP.FLOAT16: (16, "int32_data"),
    _TP.INT8: (8, "int32_data"),
    _TP.UINT8: (8, "int32_data"),
    _TP.INT16: (16, "int32_data"),
    _TP.UINT16: (16, "int32_data"),
    _TP.INT32: (32, "int32_data"),
    _TP.UINT32: (32, "uint64_data"),
    _TP.INT64: (64, "int64_data"),
    _TP.UINT64: (64, "uint64_data"),
    _TP.BOOL: (8, "int32_data"),
    _TP.BFLOAT16: (16, "int32_data"),
    _TP.INT4: (4, "int32_data"),  # two to a byte, and to an entry
    _TP.UINT4: (4, "int32_data"),
}
_FLOATS = (_TP.FLOAT, _TP.DOUBLE, _TP.FLOAT16, _TP.BFLOAT16)


def dtype_name(data_type: int) -> str:
    """ONNX's name of an element type, or its number when there is none."""
    try:
        return str(_TP.DataType.Name(data_type)).lower()
    except ValueError:
        return f"type {data_type}"


@dataclass(frozen=True, slots=True)
class _Place:
    """A tensor and the words that say where it is."""

    tensor: onnx.TensorProto
    at: str


def _tensors_of_nodes(nodes: Iterator[onnx.NodeProto]) -> Iterator[_Place]:
    for node in nodes:
        at = f"node {node.name or (node.output[0] if node.output else node.op_type)!r} ({node.op_type})"
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield _Place(attribute.t, at)
            for tensor in attribute.tensors:
                yield _Place(tensor, at)
            if attribute.HasField("g"):
                yield from _tensors_of_graph(attribute.g)
            for graph in attribute.graphs:
                yield from _tensors_of_graph(graph)


def _tensors_of_graph(graph: onnx.GraphProto) -> Iterator[_Place]:
    for tensor in graph.initializer:
        yield _Place(tensor, f"tensor {tensor.name!r}")
    yield from _tensors_of_nodes(iter(graph.node))


def _all_tensors(model: onnx.ModelProto) -> Iterator[_Place]:
    yield from _tensors_of_graph(model.graph)
    for function in model.functions:
        yield from _tensors_of_nodes(iter(function.node))


def _declared_size(place: _Place) -> tuple[int, Diagnostic | None]:
    """Bytes that dims and element type call for, or what is wrong with them."""
    tensor = place.tensor
    if tensor.data_type not in _TYPES:
        return 0, Diagnostic(
            "N006",
            f"element type {dtype_name(tensor.data_type)} is not supported",
            at=place.at,
            because="weights are float32, and shapes and indices are integers",
            help="export the model in float32",
        )
    if tensor.HasField("segment"):
        return 0, Diagnostic(
            "N005",
            "tensor stored in segments",
            at=place.at,
            because="segmented tensors are not part of any exporter's output",
            help="save the model again with onnx.save",
        )
    if any(dim < 0 for dim in tensor.dims):
        return 0, Diagnostic(
            "N005",
            "tensor with a negative dimension",
            at=place.at,
            because=f"its dimensions are {list(tensor.dims)}",
            help="the file is damaged; export the model again",
        )
    return -(-math.prod(tensor.dims) * _TYPES[tensor.data_type][0] // 8), None


def _is_external(tensor: onnx.TensorProto) -> bool:
    return bool(tensor.data_location == _TP.EXTERNAL)


def _check_inline(place: _Place, size: int) -> Diagnostic | None:
    """Bytes carried in the proto against bytes declared."""
    tensor = place.tensor
    bits, field = _TYPES[tensor.data_type]
    found = len(tensor.raw_data) if tensor.HasField("raw_data") else len(getattr(tensor, field)) * max(bits // 8, 1)
    if found == size:
        return None
    return Diagnostic(
        "N005",
        "tensor's size disagrees with its bytes",
        at=place.at,
        because=f"{list(tensor.dims)} in {dtype_name(tensor.data_type)} needs {size:,} bytes, and it has {found:,}",
        help="the file is damaged; export the model again",
    )


def _external_path(location: str, folders: Sequence[Path]) -> tuple[Path | None, str]:
    """Resolved path, or None and the reason for refusing; opens nothing.

    `folders`: where the model's path is, then where its file really lies (another folder when the path is a link, as in
    download caches, which link a model and its data into one folder of blobs). The data is looked for in both, and has
    to lie really in one of them.
    """
    if not location:
        return None, "it names no file"
    if "\0" in location:
        return None, "its path contains a NUL byte"
    if PurePosixPath(location).is_absolute() or PureWindowsPath(location).drive or PureWindowsPath(location).root:
        return None, f"its path {location!r} is absolute"
    if ".." in PurePosixPath(location).parts or ".." in PureWindowsPath(location).parts:
        return None, f"its path {location!r} climbs out with '..'"
    roots = [Path(os.path.realpath(folder)) for folder in folders]
    candidates = [root / location for root in roots]
    found = next((path for path in candidates if os.path.lexists(path)), candidates[0])
    target = Path(os.path.realpath(found))
    if not any(target.is_relative_to(root) for root in roots):
        return None, f"its path {location!r} leads outside through a symbolic link"
    return target, ""


def _read_external(place: _Place, size: int, folders: Sequence[Path]) -> Diagnostic | None:
    """Move an external tensor's bytes into the proto; every check comes before the first byte is read."""
    tensor = place.tensor
    entries = {entry.key: entry.value for entry in tensor.external_data}
    location = entries.get("location", "")
    if not folders:
        return Diagnostic(
            "N007",
            "external data of a model that is not a file",
            at=place.at,
            because=f"its bytes are in {location!r}, relative to a folder that is not known",
            help="pass the path of the .onnx file, or load the model with its external data",
        )
    path, why = _external_path(location, folders)
    if path is None:
        return Diagnostic(
            "N008",
            "external data outside the model's folder",
            at=place.at,
            because=why,
            help="keep the data file next to the model and save it with a plain relative name",
        )
    try:
        offset, length = int(entries.get("offset", "0") or 0), int(entries.get("length", str(size)) or size)
    except ValueError:
        return _bad_extent(place, "its offset or length is not a number")
    if offset < 0 or length != size:
        return _bad_extent(place, f"its shape needs {size:,} bytes, and offset {offset:,}, length {length:,} are given")
    try:
        data, because = _read_extent(path, location, offset, size)
    except OSError as error:
        return Diagnostic(
            "N007",
            "external data missing",
            at=place.at,
            because=f"{location!r} in the model's folder: {error.strerror}",
            help="copy the data file next to the .onnx file under that name",
        )
    if because:
        return _bad_extent(place, because)
    del tensor.external_data[:]
    tensor.data_location = _TP.DEFAULT
    tensor.raw_data = data
    return None


def _read_extent(path: Path, location: str, offset: int, size: int) -> tuple[bytes, str]:
    """Bytes of a regular file, and what is wrong with it instead of them. OSError where it cannot be read."""
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


def _bad_extent(place: _Place, because: str) -> Diagnostic:
    return Diagnostic(
        "N005",
        "external data does not match its tensor",
        at=place.at,
        because=because,
        help="the data file is damaged or belongs to another model; export the model again",
    )


def _check_finite(place: _Place) -> Diagnostic | None:
    tensor = place.tensor
    if tensor.data_type not in _FLOATS:
        return None
    values = onnx.numpy_helper.to_array(tensor).reshape(-1)
    values = values.astype(np.float32) if tensor.data_type == _TP.BFLOAT16 else values  # whose tests numpy lacks
    good = np.isfinite(values)
    if good.all() or bool(np.all((values == 0) | (values == -np.inf))):  # what masks add to scores
        return None
    bad = np.flatnonzero(~good)
    return Diagnostic(
        "N009",
        "NaN or infinite weight",
        at=place.at,
        because=f"{len(bad):,} of {values.size:,} values are not finite, the first at flat index {int(bad[0]):,}",
        help="such a model computes NaN or infinity; retrain or repair the checkpoint",
    )


def _check_strings(model: onnx.ModelProto) -> list[Diagnostic]:
    """Constants that hold texts; as tensors they are found by their element type."""
    nodes = [*model.graph.node, *(node for function in model.functions for node in function.node)]
    return [
        Diagnostic(
            "N006",
            "element type string is not supported",
            at=f"node {node.name or next(iter(node.output), '')!r} ({node.op_type})",
            because="weights are float32, and shapes and indices are integers",
            help="leave texts to the program around the model",
        )
        for node in nodes
        if node.op_type == "Constant" and any(a.name in ("value_string", "value_strings") for a in node.attribute)
    ]


def _check_sparse(model: onnx.ModelProto) -> list[Diagnostic]:
    found = [f"tensor {sparse.values.name!r}" for sparse in model.graph.sparse_initializer]
    for node in model.graph.node:
        if any(a.HasField("sparse_tensor") or a.sparse_tensors for a in node.attribute):
            found.append(f"node {node.name!r} ({node.op_type})")
    because, help_text = "only dense tensors are read", "save the model with dense weights"
    return [Diagnostic("N006", "sparse tensor", at=at, because=because, help=help_text) for at in found]


def check_tensors(model: onnx.ModelProto, path: Path | None) -> None:
    """Check every tensor of `model` and bring external data in; `path` is the model's file, if it is one.

    Errors (CompileError, exit 1), all found at once: N004 total size beyond memory, N005 declared size against
    bytes, N006 element type, N007 external data missing, N008 external data outside the folder, N009 NaN/infinity.
    """
    found: list[Diagnostic] = _check_sparse(model) + _check_strings(model)
    sized: list[tuple[_Place, int]] = []
    for place in _all_tensors(model):
        size, problem = _declared_size(place)
        if problem is not None or (problem := None if _is_external(place.tensor) else _check_inline(place, size)) is not None:
            found.append(problem)
        else:
            sized.append((place, size))
    external = sum(size for place, size in sized if _is_external(place.tensor))
    budget = memory_budget_bytes()
    if external > budget:
        largest, size = max(sized, key=lambda item: item[1])
        found.append(
            Diagnostic(
                "N004",
                "model does not fit in memory",
                at=largest.at,
                because=f"its tensors need {external:,} bytes ({size:,} for this one), and {budget:,} can be used",
                help="use a machine with more memory or a smaller model",
            )
        )
        raise CompileError(found, 1)
    folders = [] if path is None else list(dict.fromkeys((path.parent, Path(os.path.realpath(path)).parent)))
    for place, size in sized:
        problem = _read_external(place, size, folders) if _is_external(place.tensor) else None
        problem = problem or _check_finite(place)
        if problem is not None:
            found.append(problem)
    if found:
        raise CompileError(found, 1)
