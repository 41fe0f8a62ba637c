"""Arguments that several commands take."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from edgewright.frontend.cli.table import checked
from edgewright.frontend.options import given_path

Model = Annotated[Path, typer.Argument(help="ONNX file of the model.", show_default=False)]
_SHAPE_HELP = "Set the shape of an input that the file leaves open. Repeatable."
Shapes = Annotated[list[str] | None, typer.Option("--shape", metavar="NAME=1,3,224,224", help=_SHAPE_HELP)]
Compiled = Annotated[Path, typer.Argument(metavar="DIR", help="Folder that `compile` wrote.", show_default=False)]


def path_option(*flags: str, metavar: str, help: str) -> typer.models.OptionInfo:
    """Return an option for a path that is written to; an empty one is a usage error."""
    option: typer.models.OptionInfo = typer.Option(*flags, metavar=metavar, help=help, parser=checked(given_path, flags[0]))
    return option
