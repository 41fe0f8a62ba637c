"""The options of `compile` and `optimise`, each in one place: command line, Python signature and manifest follow from here."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgewright.frontend.option_table import NESTED, OptionRefusal, check_choices, option, option_field, stored
from edgewright.frontend.reshaping.options import PANEL, Reshaping
from edgewright.passes.diagnostics import Exit, fail

if TYPE_CHECKING:
    from edgewright.frontend.samples.preprocess import Preprocess
    from edgewright.frontend.samples.stores import DataSource
else:  # the command line evaluates these hints, and would wait for numpy
    DataSource = Preprocess = Any

CALIBRATION_SAMPLES = 32
"""As in RepQ-ViT; more made no difference on the example models."""
STAGES = ("read", "reshape", "passes", "plan", "emit")
Progress = Callable[[str, int, int], None]
NO_GPU = OptionRefusal(
    "T025",
    "'{target}' has no GPU that code is made for",
    "CUDA code is made for the Jetsons' GPUs",
    "omit {option}, or name a Jetson as the target",
)


class BadText(ValueError):
    """A text on the command line that an option does not take: what it has to look like."""


def given_path(text: str) -> Path:
    """Return a path option's value. `BadText` when it is empty, for it comes from a variable that is not set."""
    if isinstance(text, str) and not text:
        raise BadText("it is empty: was a variable not set?")
    return Path(text)


def input_shapes(texts: list[str]) -> dict[str, tuple[int, ...]]:
    """Return the shapes of inputs by name from texts like NAME=1,3,224,224; names may hold '=' themselves."""
    shapes = {}
    for text in texts:
        name, _, numbers = text.rpartition("=")
        if not name or not re.fullmatch(r"[1-9][0-9]*(,[1-9][0-9]*)*", numbers):
            raise BadText(f"'{text}' is not of the form NAME=1,3,224,224")
        shapes[name] = tuple(int(number) for number in numbers.split(","))
    return shapes


def board_names(beginning: str = "") -> list[str]:
    """Return the names of boards that begin so, for a shell to offer."""
    from edgewright.targets.device import list_devices

    return [device.name for device in list_devices() if device.name.startswith(beginning)]


SHAPES = option(
    "Set the shape of an input that the file leaves open. Repeatable.",
    "--shape",
    kind=list[str] | None,
    collect=input_shapes,
    metavar="NAME=1,3,224,224",
)
DATA = option(
    "Learn from and measure on these samples, never the same ones for both; with `labels`, if any.",
    kind=Path | None,
    metavar="DATA",
    group=PANEL,
)
PREPROCESS = option(
    "Make inputs of pictures or sounds by this file: TOML, or the JSON that timm or transformers saved with the model.",
    kind=Path | None,
    metavar="FILE",
)
LABELS = option(
    "Name the classes by this file: one a line, or a config.json with id2label. [default: by folders]",
    kind=Path | None,
    metavar="FILE",
)
CHECKPOINTS = option(
    "Save progress in this folder, to continue an interrupted run.",
    kind=Path | None,
    parser=given_path,
    metavar="DIR",
    group=PANEL,
)
RESUME = option("Continue the run in --checkpoints; the result is the same.", group=PANEL)
PROGRESS = option("Called with the name of a stage, what is done of it and how much there is.", hidden=True)


@dataclass(frozen=True, slots=True)
class Options:
    """What `compile` was asked for."""

    target: str = option_field(
        "zcu104",
        "Board to compile for; `edgewright targets` lists them.",
        "--target",
        "-t",
        required=True,
        stored=True,
        complete=board_names,
    )
    calibration: DataSource | None = option_field(
        None,
        "Calibrate on samples from a folder, .npz, .npy, .parquet or list; 'random' makes accuracy meaningless.",
        kind=str | None,
        metavar="DATA|random",
    )
    calibration_samples: int = option_field(
        CALIBRATION_SAMPLES,
        "Calibrate on this many samples, drawn over the classes; accuracy is measured on others.",
        metavar="N",
        stored=True,
    )
    preprocess: str | Path | Preprocess | None = field(default=None, metadata=PREPROCESS)
    labels: str | Path | Sequence[str] | None = field(default=None, metadata=LABELS)
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict, metadata=SHAPES)
    precision: str = option_field("int8", "Compute in these numbers; fp32 on CPUs only.", choices=("int8", "fp32"), stored=True)
    method: str = option_field(
        "mse", "Choose the ranges of activations by this method.", choices=("minmax", "percentile", "mse"), stored=True
    )
    numerics: str = option_field(
        "shared",
        "Compute the same integers on every target (shared), or those this one computes fastest (target).",
        choices=("shared", "target"),
        stored=True,
    )
    output: str | Path | None = option_field(
        None,
        "Write the result to this folder. [default: build/MODEL]",
        "--output",
        "-o",
        kind=Path | None,
        parser=given_path,
        metavar="DIR",
    )
    start_from: str = option_field("read", "Start at this stage, from what the last run left in DIR.", "--from", choices=STAGES)
    variant: str | None = option_field(
        None, "Use these CPU kernels instead of the target's own, for example avx2 or neon.", metavar="NAME", targets=("cpu",)
    )
    gpu: bool = option_field(
        False, "Also write CUDA code for a Jetson's GPU to DIR/cuda. It has never run on one.", targets=("cpu",), refusal=NO_GPU
    )
    clock: int | None = field(
        default=None,
        metadata=option(
            "Make the engine's pipelines for this clock in MHz instead of the board's.",
            metavar="MHZ",
            targets=("fpga",),
            stored=True,
        ),
    )
    reshaping: Reshaping = field(default_factory=Reshaping, metadata=NESTED)
    data: DataSource | None = field(default=None, metadata=DATA)
    checkpoints: str | Path | None = field(default=None, metadata=CHECKPOINTS)
    resume: bool = field(default=False, metadata=RESUME)
    progress: Progress | None = field(default=None, metadata=PROGRESS)

    def __post_init__(self) -> None:
        check_choices(self)
        if self.calibration_samples < 1:
            message = f"'{self.calibration_samples}' is not a value of --calibration-samples"
            because, help_text = "ranges come from at least one sample", "give a number from 1"
            fail("U030", message, "--calibration-samples", because, help_text, Exit.USAGE)

    def starts_by(self, stage: str) -> bool:
        """Return whether this stage runs, or one before it."""
        return STAGES.index(self.start_from) <= STAGES.index(stage)

    @property
    def is_random(self) -> bool:
        """Whether made-up samples calibrate."""
        return isinstance(self.calibration, str) and self.calibration == "random"

    @property
    def calibration_data(self) -> DataSource | None:
        """The calibration samples; None when they are random, or there are none."""
        return None if self.is_random else self.calibration

    @property
    def material(self) -> DataSource | None:
        """The data that passes learn from."""
        return self.calibration_data if self.data is None else self.data

    @property
    def given_file(self) -> str | None:
        """The file or folder of samples that the user has, for what to do next; None for arrays, random ones or none."""
        source = self.calibration_data if self.calibration is not None else self.data
        return str(source) if isinstance(source, str | Path) else None

    def manifest(self, passes: Mapping[str, Any]) -> dict[str, Any]:
        """Return the options that decide the bundle's content, with those of the passes that ran; no paths, so that the same
        data elsewhere gives the same bytes."""
        return stored(self) | ({"passes": dict(passes)} if passes else {})


@dataclass(frozen=True, slots=True)
class OptimiseOptions:
    """What `optimise` was asked for."""

    data: DataSource | None = field(default=None, metadata=DATA)
    preprocess: str | Path | Preprocess | None = field(default=None, metadata=PREPROCESS)
    reshaping: Reshaping = field(default_factory=Reshaping, metadata=NESTED)
    checkpoints: str | Path | None = field(default=None, metadata=CHECKPOINTS)
    resume: bool = field(default=False, metadata=RESUME)
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict, metadata=SHAPES)
    target: str = option_field(
        "host", "Estimate memory and latency for this board; nothing is compiled.", "--target", "-t", complete=board_names
    )
    precision: str | None = option_field(None, "Estimate for this precision. [default: fp32 on CPUs]", choices=("int8", "fp32"))
    progress: Progress | None = field(default=None, metadata=PROGRESS)

    def __post_init__(self) -> None:
        check_choices(self)


def check_lonely(options: Options | OptimiseOptions) -> None:
    """CompileError U034 (exit 2) for an option without the one that it belongs to."""
    if options.resume and options.checkpoints is None:
        _lonely("--resume", "it continues what a folder of checkpoints holds", "add --checkpoints DIR")
    for name, value in (("--epochs", options.reshaping.epochs), ("--checkpoints", options.checkpoints)):
        if value is not None and not options.reshaping.asks:
            _lonely(name, "no pass that learns was asked for", "add --fuse-blocks, --hash-attention or --task")


def _lonely(name: str, because: str, help_text: str) -> None:
    fail("U034", f"{name} has no effect here", name, because, help_text, Exit.USAGE)
