"""Rules for pixels and sounds: our TOML, and what timm and transformers save with a model."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from edgewright.frontend.samples.preprocess import Preprocess, Sound, load_preprocess
from edgewright.passes.diagnostics import CompileError
from hypothesis import given
from hypothesis import strategies as st

from tests.frontend.sample_files import only

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
VIT = {
    "do_normalize": True,
    "do_resize": True,
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.5, 0.5, 0.5],
    "resample": 2,
    "size": {"height": 224, "width": 224},
    "image_processor_type": "ViTImageProcessor",
}


def load(folder: Path, content: Any, name: str = "preprocessor_config.json") -> Preprocess:
    (folder / name).write_text(content if isinstance(content, str) else json.dumps(content))
    return load_preprocess(folder / name)


def refusal(folder: Path, content: Any, name: str = "preprocessor_config.json") -> str:
    with pytest.raises(CompileError) as caught:
        load(folder, content, name)
    assert caught.value.exit_code == 2
    found = only(caught.value)
    assert found.code == "D012" and found.help
    return found.because


def test_our_file(tmp_path: Path) -> None:
    text = (
        'resize = 256\ncrop = [224, 192]\ninterpolation = "bicubic"\nchannels = "BGR"\nscale = 0.5\nmean = 1\nstd = [1, 2, 3]\n'
    )
    rule = load(tmp_path, text + '[sound]\nrate = 8000\nlength = "fit"\n', "rule.toml")
    assert (rule.resize, rule.size, rule.interpolation, rule.depth) == (256, (224, 192), "bicubic", 3)
    assert (rule.means, rule.stds, rule.sound) == ((1.0,), (1.0, 2.0, 3.0), Sound(rate=8000, length="fit"))
    assert rule.describe() == (
        "resized (shorter side to 256, bicubic), cropped to 224 x 192, (pixel / 2 - 1) / (1, 2, 3), BGR, sounds at "
        "8,000 samples a second, cut or filled with zeros to the model's length"
    )
    assert load(tmp_path, rule.content().decode(), "preprocess.json") == rule  # what a bundle keeps


@pytest.mark.parametrize(
    ("text", "because"),
    [
        ("", "mean and std are missing"),
        ("mean = 0.5\n", "need each other"),
        ("mean = 0\nstd = 0\n", "other than 0"),
        ("mean = 0\nstd = 1\nscale = nan\n", "finite"),
        ("mean = inf\nstd = 1\n", "finite"),
        ("mean = [0, 0, 0]\nstd = [1, 1]\n", "different numbers of channels"),
        ("mean = 0\nstd = 1\nresize = 0\n", "resize is 0"),
        ("mean = 0\nstd = 1\ncrop = [4, 99999999]\n", "crop is"),
        ("mean = 0\nstd = 1\nflip = true\n", "flip"),
        ('mean = 0\nstd = 1\ninterpolation = "cubic"\n', "cubic"),
        ("mean = 0\nstd = 1\n[sound]\nrate = 0\n", "sound.rate"),
        ("mean = [\n", ""),
    ],
)
def test_what_our_file_must_not_say(text: str, because: str, tmp_path: Path) -> None:
    assert because in refusal(tmp_path, text, "rule.toml")


def test_no_file_and_no_json(tmp_path: Path) -> None:
    with pytest.raises(CompileError) as caught:
        load_preprocess(tmp_path / "absent.toml")
    assert only(caught.value).code == "D012"
    refusal(tmp_path, "{")
    assert "neither" in refusal(tmp_path, {"model_type": "vit"})


def test_timm(tmp_path: Path) -> None:
    settings = {"input_size": [3, 224, 224], "interpolation": "bicubic", "crop_pct": 0.9, "mean": MEAN, "std": STD}
    whole = {"architecture": "vit_tiny_patch16_224", "num_classes": 10, "pretrained_cfg": {**settings, "crop_mode": "center"}}
    rule = load(tmp_path, whole, "config.json")
    assert rule == load(tmp_path, settings) and (rule.resize, rule.crop, rule.middle) == (248, (224, 224), "round")
    assert (rule.means, rule.stds, rule.scale, rule.interpolation) == (MEAN, STD, 1 / 255, "bicubic")
    assert load(tmp_path, {**settings, "crop_pct": None}).resize == 256  # timm's 0.875
    squashed = load(tmp_path, {**settings, "crop_mode": "squash", "crop_pct": 1.0})
    assert (squashed.resize, squashed.size) == ((224, 224), (224, 224))
    assert "crop_pct" in refusal(tmp_path, {**settings, "crop_pct": 1e-320})
    assert "border" in refusal(tmp_path, {**settings, "crop_mode": "border"})
    assert "square" in refusal(tmp_path, {**settings, "input_size": [3, 224, 192]})
    assert "random" in refusal(tmp_path, {**settings, "interpolation": "random"})
    assert "`std`" in refusal(tmp_path, {key: value for key, value in settings.items() if key != "std"})


def test_transformers(tmp_path: Path) -> None:
    rule = load(tmp_path, VIT)
    assert (rule.resize, rule.crop, rule.interpolation) == ((224, 224), None, "bilinear")
    assert (rule.means, rule.scale, rule.middle, rule.channels) == ((0.5, 0.5, 0.5), 1 / 255, "floor", "RGB")
    assert load(tmp_path, {**VIT, "size": 224}) == rule  # as old files have it
    clip = {**VIT, "size": {"shortest_edge": 256}, "crop_size": {"height": 224, "width": 224}, "do_center_crop": True}
    assert (load(tmp_path, clip).resize, load(tmp_path, clip).crop) == (256, (224, 224))
    assert load(tmp_path, {**clip, "do_center_crop": False}).crop is None
    bare = load(tmp_path, {**VIT, "do_normalize": False, "do_rescale": False, "do_resize": False})
    assert (bare.means, bare.stds, bare.scale, bare.resize) == ((0.0,), (1.0,), 1.0, None)
    assert load(tmp_path, {**VIT, "do_flip_channel_order": True}).channels == "BGR"
    mobile = {key: value for key, value in VIT.items() if key != "do_normalize"}
    assert load(tmp_path, {**mobile, "image_processor_type": "MobileViTImageProcessor"}).means == (0.0,)
    assert "do_normalize" in refusal(tmp_path, mobile)
    next_of = {**VIT, "image_processor_type": "ConvNextImageProcessor", "size": {"shortest_edge": 224}, "crop_pct": 0.875}
    assert (load(tmp_path, next_of).resize, load(tmp_path, next_of).crop) == (256, 224)
    assert load(tmp_path, {**next_of, "size": {"shortest_edge": 384}}).resize == (384, 384)


@pytest.mark.parametrize(
    ("change", "because"),
    [
        ({"do_pad": True}, "do_pad"),
        ({"keep_aspect_ratio": True}, "keep_aspect_ratio"),
        ({"resample": None}, "resample"),
        ({"resample": 9}, "resample is 9"),
        ({"size": {"longest_edge": 800, "shortest_edge": 600}}, "size is"),
        ({"size": 224, "image_processor_type": "SomeImageProcessor"}, "both sides"),
        ({"image_processor_type": "LevitImageProcessor"}, "rule of its own"),
        ({"image_mean": "grey"}, "image_mean"),
        ({"size": {"height": "big", "width": 3}}, ""),
    ],
)
def test_steps_of_transformers_that_are_not_done_here(change: dict[str, Any], because: str, tmp_path: Path) -> None:
    assert because in refusal(tmp_path, {**VIT, **change})


WRONG: list[Any] = [
    None,
    True,
    -1,
    1e300,
    1 << 62,
    "x",
    "",
    [],
    {},
    [[]],
    {"height": 3},
    [1, 2, 3],
    [0, 0, 0],
    0.0,
    1e-320,
    {"shortest_edge": -3},
]
TIMM = {"input_size": [3, 8, 8], "interpolation": "bicubic", "crop_pct": 0.9, "crop_mode": "center", "mean": MEAN, "std": STD}


@given(st.sampled_from([VIT, TIMM, {**VIT, "sampling_rate": 8000}]), st.data())
def test_any_entry_may_be_wrong(config: dict[str, Any], data: st.DataObject) -> None:
    """A file is read, and is then what a bundle gives back, or refused with one reason."""
    changed = {**config, data.draw(st.sampled_from(sorted(config))): data.draw(st.sampled_from(WRONG))}
    with tempfile.TemporaryDirectory() as folder:
        try:
            rule = load(Path(folder), changed)
        except CompileError as error:
            assert only(error).code == "D012"
            return
        assert rule.describe() and load(Path(folder), rule.content().decode(), "preprocess.json") == rule


def test_sounds_of_transformers(tmp_path: Path) -> None:
    config = {
        "feature_extractor_type": "Wav2Vec2FeatureExtractor",
        "feature_size": 1,
        "sampling_rate": 16000,
        "do_normalize": True,
    }
    assert load(tmp_path, config).sound == Sound(rate=16000, length="fit", normalise=True)
    assert "spectra" in refusal(tmp_path, {**config, "feature_extractor_type": "WhisperFeatureExtractor", "feature_size": 80})
