"""Pictures and sounds become inputs exactly as the rule says, and whatever does not fit is refused by name."""

from __future__ import annotations

import io
import tempfile
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from edgewright.frontend.samples.pictures import Pictures, picture_input
from edgewright.frontend.samples.preprocess import Preprocess, Sound
from edgewright.frontend.samples.sounds import Sounds, sound_input
from edgewright.passes.diagnostics import CompileError, Exit
from edgewright.passes.ir import Array
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tests.frontend.sample_files import only, picture, pixels, sound

PLAIN_RULE = Preprocess(mean=0.0, std=1.0, scale=1.0)


def refused(code: str, act: object, *arguments: object) -> str:
    with pytest.raises(CompileError) as caught:
        act(*arguments)  # type: ignore[operator]
    assert only(caught.value).code == code, caught.value
    return only(caught.value).because


@given(
    st.tuples(st.integers(1, 9), st.integers(1, 9)),
    st.sampled_from([1, 3]),
    st.booleans(),
    st.sampled_from(["png", "webp"]),
    st.integers(0, 99),
)
def test_a_file_of_the_right_size_is_normalised_channel_by_channel(
    size: tuple[int, int], depth: int, first: bool, kind: str, seed: int
) -> None:
    height, width = size
    if not first and height in (1, 3):
        height = 2  # else the height would be taken for the channels
    mean, std = (0.1, 0.2, 0.3)[:depth], (0.5, 0.6, 0.7)[:depth]
    shape = (1, depth, height, width) if first else (1, height, width, depth)
    source = pixels(height, width, depth, seed)
    with tempfile.TemporaryDirectory() as folder:
        found = Pictures("x", shape, False, Preprocess(mean=mean, std=std)).file(
            picture(Path(folder) / f"a.{kind}", source), "a"
        )
    expected = (source.reshape(height, width, depth) / 255 - np.array(mean)) / np.array(std)
    assert found.dtype == np.float32 and found.shape == shape[1:]
    assert np.array_equal(found, (expected.transpose(2, 0, 1) if first else expected).astype(np.float32))


@given(st.integers(8, 40), st.integers(8, 40), st.integers(4, 8), st.sampled_from(["round", "floor"]))
def test_the_shorter_side_is_resized_and_the_middle_cut(
    height: int, width: int, side: int, middle: Literal["round", "floor"]
) -> None:
    rule = Preprocess(resize=side, crop=4, interpolation="bicubic", mean=0.0, std=1.0, scale=1.0, middle=middle)
    source = pixels(height, width)
    found = Pictures("x", (1, 3, 4, 4), False, rule).pixels(source, "a")
    longer = int(side * max(height, width) / min(height, width))
    rows, columns = (side, longer) if height <= width else (longer, side)
    whole = np.asarray(Image.fromarray(source).resize((columns, rows), Image.Resampling.BICUBIC))
    down, right = rows - 4, columns - 4
    y, x = (down // 2, right // 2) if middle == "floor" else (round(down / 2), round(right / 2))
    assert np.array_equal(found, whole[y : y + 4, x : x + 4].transpose(2, 0, 1))


def test_stretching_channel_orders_and_grey(tmp_path: Path) -> None:
    source = pixels(8, 8)
    rule = Preprocess(resize=(4, 6), mean=0.0, std=1.0, scale=1.0)
    stretched = Pictures("x", (1, 3, 4, 6), False, rule).pixels(source, "a")
    assert np.array_equal(
        stretched, np.asarray(Image.fromarray(source).resize((6, 4), Image.Resampling.BILINEAR)).transpose(2, 0, 1)
    )
    blue_first = Preprocess(channels="BGR", mean=0.0, std=1.0, scale=1.0)
    assert np.array_equal(
        Pictures("x", (1, 3, 8, 8), False, blue_first).pixels(source, "a"), source[:, :, ::-1].transpose(2, 0, 1)
    )
    grey = Pictures("x", (1, 1, 8, 8), False, PLAIN_RULE).pixels(source, "a")
    assert np.array_equal(grey[0], np.asarray(Image.fromarray(source).convert("L")))
    white = Pictures("x", (1, 3, 8, 8), False, PLAIN_RULE).file(picture(tmp_path / "g.png", pixels(8, 8, 1)), "g")
    assert np.array_equal(white, np.stack([pixels(8, 8, 1)] * 3))
    turned = Pictures("x", (1, 3, 8, 8), False, PLAIN_RULE)
    assert np.array_equal(turned.pixels(source.transpose(2, 0, 1), "a"), turned.pixels(source, "a"))


def test_a_model_of_integers_takes_the_pixels_themselves() -> None:
    source = pixels(5, 6)
    assert np.array_equal(Pictures("x", (1, 5, 6, 3), True, None).pixels(source, "a"), source)
    assert np.array_equal(Pictures("x", (1, 3, 5, 6), True, None).pixels(source, "a"), source.transpose(2, 0, 1))
    assert "normalises" in refused("D013", Pictures, "x", (1, 5, 6, 3), True, Preprocess(mean=0.5, std=0.5))


def test_a_rule_is_asked_for_and_has_to_be_the_model_s() -> None:
    with pytest.raises(CompileError) as caught:
        Pictures("x", (1, 3, 8, 8), False, None)
    assert (only(caught.value).code, caught.value.exit_code) == ("D011", Exit.USAGE)
    assert "--preprocess" in only(caught.value).help and "D011" in only(caught.value).help
    for rule, because in (
        (Preprocess(mean=(0.1, 0.2, 0.3), std=1.0), "3 channels"),
        (Preprocess(mean=0.0, std=1.0, channels="RGB"), "3 channels"),
        (Preprocess(mean=0.0, std=1.0, crop=224), "224 x 224"),
        (Preprocess(mean=0.0, std=1.0, resize=(8, 9)), "8 x 9"),
    ):
        assert because in refused("D013", Pictures, "x", (1, 1, 8, 8), False, rule)


def test_pictures_that_cannot_be_used(tmp_path: Path) -> None:
    maker = Pictures("x", (1, 3, 8, 8), False, PLAIN_RULE)
    whole = picture(tmp_path / "a.png", pixels(8, 8)).read_bytes()
    assert refused("D014", maker.file, whole[: len(whole) // 2], "half")
    assert "neither PNG" in refused("D014", maker.file, b"GIF89a" + bytes(64), "gif")
    assert "neither PNG" in refused("D014", maker.file, b"", "empty")
    content = io.BytesIO()
    Image.fromarray(np.zeros((8, 8), np.uint16)).save(content, "PNG")
    assert "8 bits" in refused("D014", maker.file, content.getvalue(), "deep")
    assert refused("D014", maker.file, tmp_path / "absent.png", "absent")
    assert "its shape" in refused("D014", maker.pixels, np.zeros((8, 8, 4), np.uint8), "rgba")
    assert "7 x 8" in refused("D015", maker.pixels, pixels(7, 8), "small")
    cutting = Pictures("x", (1, 3, 8, 8), False, Preprocess(crop=8, mean=0.0, std=1.0))
    assert "before it is cropped" in refused("D015", cutting.pixels, pixels(7, 8), "small")


@given(
    st.sampled_from(["png", "jpg", "webp"]),
    st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), max_size=6),
    st.floats(0, 1),
)
def test_damaged_pictures_are_decoded_or_refused(kind: str, changes: list[tuple[float, int]], kept: float) -> None:
    maker = Pictures("x", (1, 3, 8, 8), False, Preprocess(resize=(8, 8), mean=0.0, std=1.0))
    with tempfile.TemporaryDirectory() as folder:
        content = bytearray(picture(Path(folder) / f"a.{kind}", pixels(12, 12)).read_bytes())
    for place, byte in changes:
        content[int(place * (len(content) - 1))] = byte
    try:
        values = maker.file(bytes(content[: round(kept * len(content))] if not changes else content), "a")
    except CompileError as error:
        assert only(error).code == "D014"
    else:
        assert values.shape == (3, 8, 8) and np.isfinite(values).all()


def test_inputs_of_pictures_and_of_sounds() -> None:
    assert picture_input({"a": (1, 3, 8, 8), "ids": (1, 8)}) == "a"
    assert picture_input({"a": (1, 3, 8, 8), "b": (1, 8, 8, 1)}) is None
    assert picture_input({"a": (1, 2, 8, 8)}) is None
    assert sound_input({"a": (1, 16000)}) == "a" and sound_input({"a": (1, 1, 16000)}) == "a"
    assert sound_input({"a": (1, 80, 3000)}) is None


@given(st.sampled_from([1, 2, 3, 4]), st.integers(1, 30), st.integers(1, 40), st.integers(0, 9))
def test_sounds_are_read_scaled_and_fitted(width: int, count: int, wanted: int, seed: int) -> None:
    values: Array = np.random.default_rng(seed).uniform(-1, 1, count)
    with tempfile.TemporaryDirectory() as folder:
        path = sound(Path(folder) / "a.wav", values, width=width)
        found = Sounds("x", (1, wanted), Sound(rate=16000, length="fit")).file(path, "a")
        normal = Sounds("x", (1, 1, wanted), Sound(rate=16000, length="fit", normalise=True)).file(path, "a")
    kept = min(count, wanted)
    assert found.shape == (wanted,) and normal.shape == (1, wanted) and not found[kept:].any()
    assert np.abs(found[:kept] - values[:kept]).max() <= 1.6 / 2.0 ** (8 * width - 1) + 1e-6
    expected = found[:kept].astype(np.float64)
    expected = (expected - expected.mean()) / np.sqrt(expected.var() + 1e-7)
    assert np.allclose(normal[0, :kept], expected, atol=1e-5) and not normal[0, kept:].any()


def test_sounds_that_cannot_be_used(tmp_path: Path) -> None:
    values = np.linspace(-1, 1, 20)
    maker = Sounds("x", (1, 20), Sound(rate=16000))
    assert refused("D011", Sounds, "x", (1, 20), None)
    assert maker.file(sound(tmp_path / "a.wav", values), "a").shape == (20,)
    assert "8,000" in refused("D015", maker.file, sound(tmp_path / "b.wav", values, rate=8000), "b")
    assert "19 samples" in refused("D015", maker.file, sound(tmp_path / "c.wav", values[:19]), "c")
    assert "2 channels" in refused("D014", maker.file, sound(tmp_path / "d.wav", values, channels=2), "d")
    (tmp_path / "e.wav").write_bytes((tmp_path / "a.wav").read_bytes()[:50])
    assert refused("D014", maker.file, tmp_path / "e.wav", "e")
    (tmp_path / "f.wav").write_bytes(b"RIFF")
    assert refused("D014", maker.file, tmp_path / "f.wav", "f")
