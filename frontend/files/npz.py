"""npz and npy files: arrays by name, written under any names and read without trust.

`numpy.savez` takes names as keywords, so `file` and `allow_pickle` cannot be names there. Reading looks at headers before
anything is allocated, and loads no pickles.
"""

from __future__ import annotations

import io
import math
import stat
import tokenize
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from edgewright.passes.diagnostics import Exit, fail
from edgewright.passes.ir import Array
from numpy.lib import format as npy_format

_FIRST_DATE = (1980, 1, 1, 0, 0, 0)  # of the zip format: the same arrays give the same bytes

# Everything that zipfile, zlib and numpy raise on damaged archives; a header is parsed as Python.
_BROKEN = (
    *(OSError, ValueError, EOFError, RuntimeError, NotImplementedError, SyntaxError, TypeError, MemoryError, AttributeError),
    *(OverflowError, zipfile.BadZipFile, zlib.error, tokenize.TokenError),
)
Archive = zipfile.ZipFile


def npz(arrays: Mapping[str, Array]) -> bytes:
    """Return a compressed npz file of arrays under any names (`onnx_reading.checks` refuses those a zip cannot hold)."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in arrays.items():
            member = zipfile.ZipInfo(f"{name}.npy", _FIRST_DATE)
            member.compress_type = zipfile.ZIP_DEFLATED
            with archive.open(member, "w", force_zip64=True) as file:
                npy_format.write_array(file, np.asanyarray(array), allow_pickle=False)
    return content.getvalue()


def first_line(error: BaseException) -> str:
    return str(error).splitlines()[0] if str(error) else "it is cut short"


def open_array(path: Path) -> Array:
    """Return the array of an npy file. CompileError: D001 (exit 2) no such file, D002 a damaged one, D003 a pickle."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            fail("D001", "data path is not a file", str(path), "it is a folder or device", "give a .npy file", Exit.USAGE)
        with path.open("rb") as file:
            shape, dtype = _read_header(file)
            if dtype.hasobject:
                because = "its elements are Python objects, stored as a pickle, and loading a pickle runs code"
                fail("D003", "pickled array refused", str(path), because, "save plain numeric arrays")
            needed, there = math.prod(shape) * dtype.itemsize, path.stat().st_size - file.tell()
            if needed != there:
                because = f"shape {shape} of {dtype} needs {needed:,} bytes, and {there:,} are there"
                fail("D002", "damaged array", str(path), because, "save it again")
            file.seek(0)
            array: Array = npy_format.read_array(file, allow_pickle=False)
            return array
    except FileNotFoundError:
        fail("D001", "data file not found", str(path), "there is no file of this name", "check the path", Exit.USAGE)
    except _BROKEN as error:
        fail("D002", "damaged array", str(path), first_line(error), "save it again")


def open_archive(path: Path) -> zipfile.ZipFile:
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            fail("D001", "data path is not a file", str(path), "it is a device", "give a folder or a file", Exit.USAGE)
        return zipfile.ZipFile(path)
    except FileNotFoundError:
        fail("D001", "data file not found", str(path), "there is no file of this name", "check the path", Exit.USAGE)
    except (OSError, ValueError) as error:
        fail("D001", "data file cannot be read", str(path), str(error), "check path and permissions", Exit.USAGE)
    except (zipfile.BadZipFile, NotImplementedError) as error:
        help_text = "save it with numpy.savez(path, images=..., labels=...)"
        fail("D002", "not an npz file", str(path), f"it is not a complete zip archive ({error})", help_text)


@dataclass(frozen=True, slots=True)
class Header:
    """One array in the archive, not yet read."""

    entry: str
    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]

    @property
    def size_bytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize


def _read_header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[np.generic]]:
    version = npy_format.read_magic(file)
    read = npy_format.read_array_header_1_0 if version == (1, 0) else npy_format.read_array_header_2_0
    shape, _, dtype = read(file)
    if any(type(n) is not int or n < 0 for n in shape):
        raise ValueError(f"its shape is {shape}")
    return shape, dtype


def read_headers(archive: zipfile.ZipFile, path: Path) -> dict[str, Header]:
    headers: dict[str, Header] = {}
    for info in archive.infolist():
        if not info.filename.endswith(".npy"):
            continue
        name = info.filename.removesuffix(".npy")
        at = f"array {name!r} in {path}"
        try:
            with archive.open(info) as file:
                shape, dtype = _read_header(file)
                overhead = file.tell()
        except _BROKEN as error:
            fail("D002", "damaged array", at, first_line(error), "save it again")
        if dtype.hasobject:
            because = "its elements are Python objects, stored as a pickle, and loading a pickle runs code"
            fail("D003", "pickled array refused", at, because, "save plain numeric arrays")
        headers[name] = header = Header(info.filename, shape, dtype)
        if header.size_bytes + overhead != info.file_size:
            there = info.file_size - overhead
            because = f"shape {shape} of {dtype} needs {header.size_bytes:,} bytes, and {there:,} are there"
            fail("D002", "damaged array", at, because, "save it again")
    return headers


def read_array(archive: zipfile.ZipFile, header: Header, path: Path) -> Array:
    try:
        with archive.open(header.entry) as file:
            array: Array = npy_format.read_array(file, allow_pickle=False)
            return array
    except _BROKEN as error:
        fail("D002", "damaged array", f"array {header.entry!r} in {path}", first_line(error), "save it again")
