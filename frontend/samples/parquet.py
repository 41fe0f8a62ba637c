"""Tables of samples in parquet, as Hugging Face's data sets store them: pictures in their bytes, numbers, lists of numbers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from edgewright.frontend.files.npz import Header
from edgewright.frontend.samples.pictures import Pictures, picture_input
from edgewright.frontend.samples.stores import IMAGES, LABELS, Reading, SampleStore
from edgewright.passes.diagnostics import Exit, fail
from edgewright.passes.input_ranges import Range
from edgewright.passes.ir import Array, Shape
from edgewright.passes.names import plain

PICTURE_COLUMNS = ("image", "img", "images", "pixel_values")
LABEL_COLUMNS = ("label", "labels", "y", "fine_label")


class ParquetStore(SampleStore):
    """The columns of a table as arrays. A column of encoded pictures (bytes, or Hugging Face's struct of bytes and path) is
    that of the only input that takes pictures.

    CompileError: D019 (exit 2) without pyarrow, D001 (exit 2) no such file, D002 a damaged one, D011 to D018 for pictures."""

    def __init__(self, path: Path, shapes: Mapping[str, Shape], ranges: Mapping[str, Range], reading: Reading) -> None:
        try:
            from pyarrow import ArrowException, parquet
        except ImportError:
            help_text = "pip install 'edgewright[parquet]', or save the table with numpy.savez"
            fail("D019", "parquet files cannot be read here", plain(path), "pyarrow is not installed", help_text, Exit.USAGE)
        self.path = path
        if not path.is_file():
            fail("D001", "data file not found", plain(path), "there is no file of this name", "check the path", Exit.USAGE)
        self._columns: dict[str, str] = {}
        self._pictures: dict[str, Pictures] = {}
        self.headers = {}
        try:
            self._table = parquet.read_table(path)
            self._table.validate(full=True)
            for column in self._table.column_names:
                self._add(column, shapes, ranges, reading)
        except (ArrowException, OSError, ValueError) as error:
            because = str(error).splitlines()[0] if str(error) else type(error).__name__
            fail("D002", "not a parquet file", plain(path), plain(because)[:300], "save it again")
        self.classes = reading.classes or self._class_names()

    def _add(self, column: str, shapes: Mapping[str, Shape], ranges: Mapping[str, Range], reading: Reading) -> None:
        """Enter a column under the name that the samples go by; columns of text and the like are omitted."""
        from pyarrow import types

        kind, count = self._table.schema.field(column).type, self._table.num_rows
        encoded = types.is_struct(kind) and any(field.name == "bytes" for field in kind)
        name = column
        if encoded or types.is_binary(kind) or types.is_large_binary(kind):
            target = column if column in shapes else picture_input(shapes)
            if target is None:
                return
            maker = Pictures(target, shapes[target], target in ranges, reading.preprocess)
            name, self._pictures[target] = target, maker
            kind_of = np.dtype(np.int64 if maker.integer else np.float32)
            self.headers[name] = Header(column, (count, *shapes[target][1:]), kind_of)
            self.notes = (f"Pictures of column '{plain(column)}' became inputs by --preprocess: {maker.rule.describe()}.",)
        else:
            array = self._numbers(column)
            if array is None:
                return
            name = LABELS if column in LABEL_COLUMNS and array.ndim == 1 else IMAGES if column in PICTURE_COLUMNS else column
            name = column if column in shapes else name
            self.headers[name] = Header(column, array.shape, array.dtype)
        self._columns[name] = column

    def read(self, name: str, positions: Array | None = None) -> Array:
        """Return a column, or its rows at these positions."""
        column, maker = self._columns[name], self._pictures.get(name)
        if maker is None:
            array = self._numbers(column)
            assert array is not None
            return array if positions is None else array[positions]
        rows = range(self._table.num_rows) if positions is None else positions
        return np.stack([self._picture(column, int(row), maker) for row in rows])

    def place(self, name: str) -> str:
        """Return how messages refer to a column."""
        return f"column '{plain(self._columns.get(name, name))}' of {plain(self.path)}"

    def _picture(self, column: str, row: int, maker: Pictures) -> Array:
        value: Any = self._table.column(column)[row].as_py()
        content = value.get("bytes") if isinstance(value, dict) else value
        at = f"row {row} of {self.place(column)}"
        if not isinstance(content, bytes):
            help_text = "save the table with the pictures in it"
            fail("D014", "a picture cannot be decoded", at, "the row holds no bytes", help_text)
        return maker.file(content, at)

    def _numbers(self, column: str) -> Array | None:
        """Return a column of numbers or of equally long nested lists of them; None for anything else."""
        from pyarrow import ArrowException, types

        values = self._table.column(column).combine_chunks()
        shape = [len(values)]
        while types.is_list(values.type) or types.is_large_list(values.type) or types.is_fixed_size_list(values.type):
            inner = values.flatten()
            if values.null_count or not len(values) or len(inner) % len(values):
                return None
            lengths = (
                {len(values[i]) for i in range(len(values))} if len(values) <= 1024 else set(values.value_lengths().to_pylist())
            )
            if len(lengths) != 1:
                return None
            shape.append(lengths.pop())
            values = inner
        if values.null_count or not (types.is_integer(values.type) or types.is_floating(values.type)):
            return None
        try:
            array: Array = np.asarray(values.to_numpy(zero_copy_only=False)).reshape(shape)
        except (ArrowException, ValueError):
            return None
        return array

    def _class_names(self) -> tuple[str, ...] | None:
        """Return the names of the classes that Hugging Face's data sets write into the schema, if they are there."""
        try:
            features = json.loads((self._table.schema.metadata or {})[b"huggingface"])["info"]["features"]
            names = features[self._columns[LABELS]]["names"]
            return tuple(map(str, names)) if isinstance(names, list) else None
        except (KeyError, TypeError, ValueError):
            return None
