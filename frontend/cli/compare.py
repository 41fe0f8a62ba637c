"""`compare`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from edgewright.frontend.cli.arguments import DATA_HELP, PreprocessOption

_SIDE = "Folder that `compile` wrote, or an ONNX file, which onnxruntime runs."


def compare(
    first: Annotated[Path, typer.Argument(metavar="A", help=_SIDE, show_default=False)],
    second: Annotated[Path, typer.Argument(metavar="B", help="The same, for what it is compared with.", show_default=False)],
    data: Annotated[
        Path | None, typer.Option("--data", "-d", metavar="DATA", help=f"{DATA_HELP} [default: samples in a folder]")
    ] = None,
    samples: Annotated[
        int | None, typer.Option(min=1, help="Compare on this many samples, of all classes. [default: all]")
    ] = None,
    preprocess: PreprocessOption = None,
    labels: Annotated[
        Path | None, typer.Option("--labels", metavar="FILE", help="Name the classes by this file. [default: as compiled]")
    ] = None,
) -> None:
    """Compare two compiled models, or one with an ONNX file, on the same samples: agreement, accuracy with intervals, cost."""
    from edgewright.frontend.comparing import compare as compare_models
    from edgewright.frontend.report import render, render_compared
    from edgewright.frontend.report.mode import answer

    out, err = render.consoles()
    with render.Stages(err) as progress:
        compared = compare_models(first, second, data, samples=samples, preprocess=preprocess, labels=labels, progress=progress)
    render_compared.compared(out, compared)
    answer(lambda: compared)
