"""Arguments that several commands take."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from edgewright.frontend.cli.table import checked
from edgewright.frontend.option_table import specs
from edgewright.frontend.options import Options, given_path

if TYPE_CHECKING:
    from edgewright.frontend.bundle import Bundle

Model = Annotated[Path, typer.Argument(help="ONNX file of the model.", show_default=False)]
_SHAPE_HELP = "Set the shape of an input that the file leaves open. Repeatable."
Shapes = Annotated[list[str] | None, typer.Option("--shape", metavar="NAME=1,3,224,224", help=_SHAPE_HELP)]
Compiled = Annotated[Path, typer.Argument(metavar="DIR", help="Folder that `compile` wrote.", show_default=False)]
DATA_HELP = "Picture (PNG, JPEG, WebP), .wav file, folder or list of them, or .npz, .npy or .parquet file."
_OPTIONS = dict(specs(Options))
PreprocessOption = Annotated[
    Path | None, typer.Option("--preprocess", metavar="FILE", help=f"{_OPTIONS['preprocess'].help} [default: as compiled]")
]
LabelsOption = Annotated[
    Path | None, typer.Option("--labels", metavar="FILE", help="Name the classes by this file. [default: as compiled]")
]


def one_of(argument: Path | None, option: Path | None, flag: str) -> Path | None:
    """Return the data that was given, as an argument or by an older option; a usage error for both."""
    if argument is not None and option is not None:
        raise typer.BadParameter("the data was given as an argument too", param_hint=flag)
    return option if argument is None else argument


def read_by(bundle: Bundle[Any], preprocess: Path | None, labels: Path | None) -> None:
    """Let a bundle read data as these options say, instead of as it was compiled."""
    if preprocess is None and labels is None:
        return
    from edgewright.frontend.samples.readings import reading_of

    bundle.reading = reading_of(bundle.graph, preprocess, labels).completed(bundle.reading)


def path_option(*flags: str, metavar: str, help: str) -> typer.models.OptionInfo:
    """Return an option for a path that is written to; an empty one is a usage error."""
    option: typer.models.OptionInfo = typer.Option(*flags, metavar=metavar, help=help, parser=checked(given_path, flags[0]))
    return option
