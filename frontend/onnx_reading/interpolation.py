"""ONNX's Resize along one axis as a matrix (new, old): the weights of each result's sources.

Source: the operator's definition in the ONNX standard, opsets 11 to 23; outside the image its border is repeated.
"""

from __future__ import annotations

import numpy as np
from edgewright.frontend.onnx_reading.site import Unsupported
from edgewright.passes.ir import Array

KNOWN_MODES = ("half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners", "asymmetric")


def interpolation_matrix(
    mode: str, coordinates: str, old: int, new: int, factor: float, cubic: float = -0.75, exclude_outside: bool = False
) -> Array:
    """Return the weights of the modes linear and cubic in float64; each row sums to 1."""
    places = _places(coordinates, old, new, factor)
    first = np.floor(places).astype(np.int64)
    part = places - first
    if mode == "linear":
        taps, weights = np.array([0, 1]), np.stack([1 - part, part], axis=1)
    elif mode == "cubic":
        taps, weights = np.array([-1, 0, 1, 2]), _cubic(part, cubic)
    else:
        raise Unsupported(f"its mode is {mode!r}")
    sources = first[:, None] + taps
    if exclude_outside:
        weights = np.where((sources < 0) | (sources >= old), 0.0, weights)
        weights = weights / weights.sum(axis=1, keepdims=True)
    matrix: Array = np.zeros((new, old))
    rows = np.broadcast_to(np.arange(new)[:, None], sources.shape)
    np.add.at(matrix, (rows, np.clip(sources, 0, old - 1)), weights)
    return matrix


def nearest_sources(coordinates: str, old: int, new: int, factor: float, rounding: str) -> Array:
    """Return the source (new,) of each result in the mode nearest."""
    return np.clip(_rounded(_places(coordinates, old, new, factor), rounding), 0, old - 1)


def _places(coordinates: str, old: int, new: int, factor: float) -> Array:
    """Return the positions of results among the sources 0 ... old - 1."""
    at = np.arange(new, dtype=np.float64)
    if coordinates == "align_corners":
        return at * (old - 1) / (new - 1) if new > 1 else np.zeros(1)
    if coordinates == "asymmetric":
        return at / factor
    if coordinates == "pytorch_half_pixel" and new == 1:
        return np.zeros(1)
    half = (at + 0.5) / factor - 0.5
    if coordinates == "half_pixel_symmetric":
        half += old / 2 * (1 - new / (factor * old))
    return half


def _rounded(places: Array, rounding: str) -> Array:
    if rounding in ("floor", "ceil"):
        return np.asarray(np.floor(places) if rounding == "floor" else np.ceil(places), np.int64)
    down = np.floor(places)
    exact_half = places - down == 0.5
    up = np.where(exact_half, rounding == "round_prefer_ceil", places - down > 0.5)
    return (down + up).astype(np.int64)


def _cubic(part: Array, a: float) -> Array:
    """Return Keys' kernel at the four sources around a position."""
    distance = np.abs(part[:, None] - np.array([-1, 0, 1, 2]))
    inner = ((a + 2) * distance - (a + 3)) * distance * distance + 1
    outer = ((a * distance - 5 * a) * distance + 8 * a) * distance - 4 * a
    return np.asarray(np.where([False, True, True, False], inner, outer))
