"""Images from npz files: what is accepted, and one clear error for each thing that is not."""

from __future__ import annotations

import io
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from edgewright.frontend.files.npz import npz
from edgewright.frontend.samples.data import check_arrays, check_ranges, input_shapes, load_samples, random_samples
from edgewright.passes import error_texts
from edgewright.passes.diagnostics import CompileError
from edgewright.passes.ir import Array

from tests.models import tiny_vit

SHAPES: dict[str, tuple[int, ...]] = {"pixels": (1, 1, 4, 4)}
TWO: dict[str, tuple[int, ...]] = {"a": (1, 4), "b": (1, 2)}
EXAMPLES = sorted((Path(__file__).parents[2] / "examples" / "data").glob("*.npz"))


def images(count: int = 3, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal((count, 1, 4, 4)).astype(np.float32)


def saved(folder: Path, **arrays: Any) -> Path:
    path = folder / "data.npz"
    np.savez(path, **arrays)
    return path


def refusal(path: Path, shapes: dict[str, tuple[int, ...]] | None = None, calibration: bool = False) -> CompileError:
    with pytest.raises(CompileError) as caught:
        load_samples(path, shapes or SHAPES, calibration)
    for diagnostic in caught.value.diagnostics:
        assert diagnostic.message and diagnostic.at and diagnostic.because and diagnostic.help, diagnostic
        assert diagnostic.code in error_texts.codes() and diagnostic.code[0] == "D"
    return caught.value


def codes(error: CompileError) -> list[str]:
    return [diagnostic.code for diagnostic in error.diagnostics]


@pytest.mark.parametrize("name", ["pixels", "images", "calib"])
def test_one_input_under_any_of_its_names(name: str, tmp_path: Path) -> None:
    samples = load_samples(saved(tmp_path, **{name: images()}), SHAPES)
    np.testing.assert_array_equal(samples.inputs["pixels"], images())
    assert samples.count == 3 and samples.labels is None and not samples.is_random


def test_calibration_and_test_images_in_one_file(tmp_path: Path) -> None:
    path = saved(tmp_path, calib=images(5, 1), images=images(3), labels=np.arange(3))
    tested, calibrated = load_samples(path, SHAPES), load_samples(path, SHAPES, calibration=True)
    assert tested.labels is not None and tested.labels.tolist() == [0, 1, 2]
    assert (tested.count, calibrated.count, calibrated.labels) == (3, 5, None)
    assert tested.first(2).count == 2 and tested.first(9).count == 3


def test_doubles_become_float32(tmp_path: Path) -> None:
    found = load_samples(saved(tmp_path, images=images().astype(np.float64)), SHAPES).inputs["pixels"]
    assert found.dtype == np.float32 and found.flags.c_contiguous


def test_several_inputs(tmp_path: Path) -> None:
    path = saved(tmp_path, a=np.arange(8.0).reshape(2, 4), b=np.arange(4.0).reshape(2, 2))
    assert load_samples(path, TWO).count == 2
    assert codes(refusal(saved(tmp_path, images=np.arange(8.0)), TWO)) == ["D004", "D004"]
    path = saved(tmp_path, a=np.arange(8.0).reshape(2, 4), b=np.arange(6.0).reshape(3, 2))
    assert codes(refusal(path, TWO)) == ["D005"]


def test_compressed(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "data.npz", images=images())
    assert load_samples(tmp_path / "data.npz", SHAPES).count == 3


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.name)
def test_examples(path: Path) -> None:
    size = 8 if "digits" in path.name else 28
    shapes = {"x": (1, 1, size, size)}
    tested = load_samples(path, shapes)
    if path.name == "multitask.npz":  # its targets are named after outputs
        assert tested.labels is None
        assert load_samples(path, shapes, calibration=True).count == 64
        return
    assert tested.labels is not None and len(tested.labels) == tested.count
    assert load_samples(path, shapes, calibration=True).count == 128


def test_missing_file_and_folder(tmp_path: Path) -> None:
    error = refusal(tmp_path / "absent.npz")
    assert (codes(error), error.exit_code) == (["D001"], 2)
    assert codes(refusal(tmp_path)) == ["D016"]
    os.mkfifo(tmp_path / "pipe")
    assert codes(refusal(tmp_path / "pipe")) == ["D001"]


@pytest.mark.parametrize("content", [b"", b"no zip", bytes(1000), b"PK\x03\x04"])
def test_not_npz(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "data.npz"
    path.write_bytes(content)
    assert codes(refusal(path)) == ["D002"]


def test_truncated_and_damaged(tmp_path: Path) -> None:
    whole = saved(tmp_path, images=images(), labels=np.arange(3)).read_bytes()
    path, rng = tmp_path / "cut.npz", np.random.default_rng(0)
    for end in range(0, len(whole), 29):
        path.write_bytes(whole[:end])
        assert codes(refusal(path))[0] in ("D002", "D004")
    for _ in range(300):
        damaged = bytearray(whole)
        for place in rng.integers(0, len(whole), 3):
            damaged[place] = rng.integers(256)
        path.write_bytes(damaged)
        try:
            load_samples(path, SHAPES)
        except CompileError as error:
            assert all(d.code in error_texts.codes() and d.code[0] == "D" for d in error.diagnostics)


def test_pickles_are_refused_and_never_run(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return (os.mkdir, (str(tmp_path / "ran"),))

    trap = np.empty(1, object)
    trap[0] = Trap()
    path = saved(tmp_path, images=images(), extra=trap)
    assert codes(refusal(path)) == ["D003"]
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("array", "code"),
    [
        (images()[:, 0], "D005"),
        (images()[0], "D005"),
        (images()[:, :, :3], "D005"),
        (images()[:0], "D005"),
        ((images() * 50).astype(np.uint8), "D011"),
        (images() > 0, "D005"),
        (images().astype(np.complex64), "D005"),
        (np.full((2, 1, 4, 4), "a"), "D005"),
        (np.where(images() > 1, np.nan, images()), "D006"),
        (np.where(images() > 1, np.inf, images()), "D006"),
        (images().astype(np.float64) * 1e300, "D006"),
    ],
)
def test_wrong_images(array: Array, code: str, tmp_path: Path) -> None:
    assert codes(refusal(saved(tmp_path, images=array))) == [code]


def test_no_array_for_the_input(tmp_path: Path) -> None:
    error = refusal(saved(tmp_path, pictures=images()))
    assert codes(error) == ["D004"] and "pictures" in error.diagnostics[0].because


@pytest.mark.parametrize(
    "labels", [np.arange(2), np.arange(3.0), np.arange(3)[:, None], np.array([0, 1, -1]), np.array([0, 1, 1 << 40])]
)
def test_wrong_labels(labels: Array, tmp_path: Path) -> None:
    assert codes(refusal(saved(tmp_path, images=images(), labels=labels)))[0] in ("D005", "D006")


def test_sizes_are_checked_before_allocation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    header = io.BytesIO()
    declared = {"descr": "<f4", "fortran_order": False, "shape": (1 << 40, 1, 4, 4)}
    np.lib.format.write_array_header_1_0(header, declared)
    path = tmp_path / "data.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("images.npy", header.getvalue())
    assert codes(refusal(path)) == ["D002"]
    monkeypatch.setattr("edgewright.frontend.samples.data.memory_budget_bytes", lambda: 10)
    assert codes(refusal(saved(tmp_path, images=images()))) == ["D007"]


def test_random_samples_are_the_same_everywhere() -> None:
    shapes = input_shapes(tiny_vit())
    samples = random_samples(shapes, count=4)
    assert samples.is_random and samples.labels is None and samples.inputs["image"].shape == (4, 1, 16, 16)
    again = random_samples(shapes, count=4)
    np.testing.assert_array_equal(samples.inputs["image"], again.inputs["image"])
    assert abs(float(samples.inputs["image"].ravel()[0]) - 0.12573022) < 1e-6


def test_a_black_image_is_data_and_gives_no_ranges(tmp_path: Path) -> None:
    samples = load_samples(saved(tmp_path, images=np.zeros((3, 1, 4, 4), np.float32)), SHAPES)
    assert not samples.inputs["pixels"].any()
    with pytest.raises(CompileError, match="every value"):
        check_ranges(samples)
    check_ranges(load_samples(saved(tmp_path, images=images()), SHAPES))


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int64])
def test_a_mask_of_booleans_or_integers(dtype: type, tmp_path: Path) -> None:
    mask: Array = np.array([[1, 1, 0, 0], [1, 0, 0, 0]], dtype)
    ranges = {"mask": (0, 1)}
    found = load_samples(saved(tmp_path, mask=mask), {"mask": (1, 4)}, ranges=ranges)
    assert found.inputs["mask"].dtype == np.int64 and np.array_equal(found.inputs["mask"], mask)
    assert np.array_equal(check_arrays({"mask": mask}, {"mask": (1, 4)}, ranges)["mask"], mask)


def test_bytes_for_a_float_input_are_never_scaled_silently(tmp_path: Path) -> None:
    pixels = (images() * 50).astype(np.uint8)
    (diagnostic,) = refusal(saved(tmp_path, images=pixels)).diagnostics
    assert diagnostic.code == "D011" and "--preprocess" in diagnostic.help
    with pytest.raises(CompileError, match="pixels"):
        check_arrays({"pixels": pixels}, SHAPES, {})
    found = load_samples(saved(tmp_path, images=pixels), SHAPES, ranges={"pixels": (0, 255)})
    assert np.array_equal(found.inputs["pixels"], pixels)


HEADERS = [
    *("{'descr': '<f4', 'fortran_order': False, 'shape': (True, 4)}", "(((", "{'descr': []}", "-" * 9000 + "1", "[" * 5000),
    *("{'descr': '<f4', 'fortran_order': False, 'shape': (-1,)}", "{1: 2, 'a': 3}", "{'descr': '<f4', 'shape': 3}"),
]


@pytest.mark.parametrize("header", HEADERS)
def test_headers_that_numpy_chokes_on(header: str, tmp_path: Path) -> None:
    data = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode()
    with zipfile.ZipFile(tmp_path / "data.npz", "w") as archive:
        archive.writestr("images.npy", data)
    assert codes(refusal(tmp_path / "data.npz")) == ["D002"]


def test_arrays_of_any_name_are_kept() -> None:
    arrays = {name: np.arange(3.0) + i for i, name in enumerate(("file", "allow_pickle", "self", "a/b", "x y", "ü\n", "."))}
    with np.load(io.BytesIO(npz(arrays))) as found:
        assert {name: found[name].tolist() for name in found.files} == {name: a.tolist() for name, a in arrays.items()}
    assert npz(arrays) == npz(arrays)
