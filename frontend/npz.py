"""Arrays by name as an npz file. `numpy.savez` takes names as keywords, so `file` and `allow_pickle` cannot be names there."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping

import numpy as np
from edgewright.passes.ir.types import Array
from numpy.lib import format as npy_format

_FIRST_DATE = (1980, 1, 1, 0, 0, 0)  # of the zip format: the same arrays give the same bytes


def npz(arrays: Mapping[str, Array]) -> bytes:
    """A compressed npz file with these arrays under any names (`onnx_reading.checks` refuses those a zip cannot hold)."""
    kept = io.BytesIO()
    with zipfile.ZipFile(kept, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in arrays.items():
            member = zipfile.ZipInfo(f"{name}.npy", _FIRST_DATE)
            member.compress_type = zipfile.ZIP_DEFLATED
            with archive.open(member, "w", force_zip64=True) as file:
                npy_format.write_array(file, np.asanyarray(array), allow_pickle=False)
    return kept.getvalue()
