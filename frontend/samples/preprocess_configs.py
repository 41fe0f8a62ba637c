"""The preprocessing that timm and transformers save with a model, as our rule; what is not done here is refused by name."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import msgspec
from edgewright.frontend.samples.preprocess import Preprocess, Sound
from edgewright.passes.documents import Unreadable
from edgewright.passes.names import plain

RESAMPLING = ("nearest", "lanczos", "bilinear", "bicubic", "box", "hamming")
"""By Pillow's numbers, which transformers saves."""
_SQUARE = ("ViT", "DeiT", "Beit")
_SHORTEST = ("CLIP", "ConvNext")
_OTHER_STEPS = ("do_pad", "keep_aspect_ratio", "size_divisor", "rescale_offset", "include_top", "do_thumbnail")
"""Steps of transformers that change pixels and that are not done here."""
_OWN_GEOMETRY = ("Levit", "PoolFormer", "PerceiverImage")
_PLAIN = ("MobileViT",)
"""Processors that do not normalise, although their files may hold a mean."""
TIMM_CROP = 0.875
CONVNEXT_CROP = 224 / 256
SMALLEST_SHARE = 0.01


def from_config(config: Mapping[str, Any]) -> Preprocess:
    """Return the rule of a JSON file. `Unreadable` with the reason for what is not done here, ValueError for wrong values."""
    if "pretrained_cfg" in config or ("input_size" in config and "mean" in config):
        return _timm({**config, **_table(config, "pretrained_cfg")})
    if "sampling_rate" in config:
        return _transformers_sound(config)
    if any(name in config for name in ("image_mean", "do_normalize", "do_resize", "image_processor_type")):
        return _transformers(config)
    raise Unreadable("it is JSON, but has neither timm's input_size and mean nor transformers' image_mean or sampling_rate")


def _timm(config: Mapping[str, Any]) -> Preprocess:
    """timm.data.create_transform for evaluation: the shorter side to size / crop_pct, then the middle."""
    sizes = _value(config, "input_size", tuple[int, int, int])
    depth, height, width = sizes
    share = _share(config, TIMM_CROP)
    mode = _value(config, "crop_mode", str | None, "center") or "center"
    larger = (math.floor(height / share), math.floor(width / share))
    if mode not in ("center", "squash"):
        raise Unreadable(f"crop_mode is '{plain(mode)}', which is not done here")
    if mode == "center" and height != width:
        raise Unreadable("its pictures are not square, and it keeps their proportions (crop_mode center)")
    mean, std = (_value(config, name, tuple[float, ...]) for name in ("mean", "std"))
    return Preprocess(
        resize=larger if mode == "squash" else larger[0],
        crop=(height, width),
        interpolation=_interpolation(_value(config, "interpolation", str, "bilinear")),
        channels="L" if depth == 1 else "RGB",
        mean=mean,
        std=std,
    )


def _transformers(config: Mapping[str, Any]) -> Preprocess:
    """A transformers image processor: resize, crop, rescale, normalise, each where `do_...` says so."""
    kind = _value(config, "image_processor_type", str, "") or _value(config, "feature_extractor_type", str, "")
    if kind.startswith(_OWN_GEOMETRY):
        raise Unreadable(f"{plain(kind)} resizes by a rule of its own, which is not done here")
    for name in _OTHER_STEPS:
        if config.get(name) and (name != "size_divisor" or _value(config, "do_resize", bool, True)):
            raise Unreadable(f"{name} is set, which is not done here")
    resize: int | tuple[int, int] | None = None
    crop: int | tuple[int, int] | None = None
    if _value(config, "do_resize", bool, True) and config.get("size") is not None:
        resize = _side(config["size"], kind)
    if _value(config, "do_center_crop", bool, "crop_size" in config) and config.get("crop_size") is not None:
        crop = _exact(config["crop_size"], "crop_size")
    if kind.startswith("ConvNext") and isinstance(resize, int):  # ConvNextImageProcessor.resize
        share = _share(config, CONVNEXT_CROP)
        resize, crop = (int(resize / share), resize) if resize < 384 else ((resize, resize), None)
    if resize is not None and config.get("resample") is None:
        raise Unreadable("it resizes, and `resample` does not say how")
    resample = _value(config, "resample", int | None, None)
    if resample is not None and not 0 <= resample < len(RESAMPLING):
        raise Unreadable(f"resample is {resample}, which Pillow does not have")
    if "do_normalize" not in config and not kind.startswith(_PLAIN):
        raise Unreadable("it has no `do_normalize`, and processors differ in what that means")
    normalises = _value(config, "do_normalize", bool, False)
    rescales = _value(config, "do_rescale", bool, True)
    return Preprocess(
        resize=resize,
        crop=crop,
        interpolation=RESAMPLING[2 if resample is None else resample],  # type: ignore[arg-type]
        channels="BGR" if _value(config, "do_flip_channel_order", bool, False) else "RGB",
        scale=_value(config, "rescale_factor", float, 1 / 255) if rescales else 1.0,
        mean=_value(config, "image_mean", float | tuple[float, ...]) if normalises else 0.0,
        std=_value(config, "image_std", float | tuple[float, ...]) if normalises else 1.0,
        middle="floor",
    )


def _transformers_sound(config: Mapping[str, Any]) -> Preprocess:
    kind = _value(config, "feature_extractor_type", str, "Wav2Vec2FeatureExtractor")
    if not kind.startswith(("Wav2Vec2", "Hubert")) or _value(config, "feature_size", int, 1) != 1:
        raise Unreadable(f"{plain(kind)} computes spectra, which is not done here: save them as an array")
    rate, normalises = _value(config, "sampling_rate", int), _value(config, "do_normalize", bool, True)
    return Preprocess(sound=Sound(rate=rate, length="fit", normalise=normalises))


def _side(size: Any, kind: str) -> int | tuple[int, int]:
    """Return `size` of transformers: a side as a number where the shorter one is meant."""
    if isinstance(size, dict) and set(size) == {"shortest_edge"}:
        return msgspec.convert(size["shortest_edge"], int)
    if type(size) is int and not kind.startswith(_SQUARE):
        if kind.startswith(_SHORTEST):
            return size
        raise Unreadable(f"size is {size}: both sides, or the shorter one? Write {{height, width}} or {{shortest_edge}}")
    return _exact(size, "size")


def _exact(size: Any, name: str) -> tuple[int, int]:
    if isinstance(size, dict) and set(size) == {"height", "width"}:
        return msgspec.convert((size["height"], size["width"]), tuple[int, int])
    if type(size) is int:
        return size, size
    raise Unreadable(f"{name} is {plain(size)[:80]}, which is neither a number nor height and width")


def _share(config: Mapping[str, Any], default: float) -> float:
    """Return the share of a side that a crop keeps."""
    share: float = _value(config, "crop_pct", float | None, default) or default
    if not SMALLEST_SHARE <= share <= 1:
        raise Unreadable(f"crop_pct is {share:g}; it has to be above 0 and at most 1")
    return share


def _interpolation(name: str) -> Any:
    if name not in RESAMPLING:
        raise Unreadable(f"interpolation is '{plain(name)}', which Pillow does not have")
    return name


def _table(config: Mapping[str, Any], name: str) -> dict[str, Any]:
    table: dict[str, Any] = _value(config, name, dict[str, Any], {})
    return table


_NOTHING = object()


def _value(config: Mapping[str, Any], name: str, kind: Any, default: Any = _NOTHING) -> Any:
    """Return an entry, of this type. `Unreadable` where it is missing or of another."""
    if name not in config:
        if default is _NOTHING:
            raise Unreadable(f"it has no `{name}`")
        return default
    try:
        return msgspec.convert(config[name], kind)
    except msgspec.ValidationError as error:
        raise Unreadable(f"{name}: {error}") from error
