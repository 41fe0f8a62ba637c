"""The command `split`, and `run` of what it made."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer
from edgewright.frontend.cli.arguments import Shapes, path_option
from edgewright.frontend.cli.table import shapes_of


def split(
    model: Annotated[Path, typer.Argument(help="ONNX file of a model that ends in a classifier.", show_default=False)],
    fleet: Annotated[
        Path,
        typer.Option(metavar="FLEET.toml", help="Split over the devices in this file; `edgewright explain K009` shows one."),
    ],
    data: Annotated[
        Path, typer.Option(metavar="DATA", help="Learn from and measure on these samples, with labels of every class.")
    ],
    output: Annotated[Path, path_option("--output", "-o", metavar="DIR", help="Write the sub-models to this folder.")],
    preprocess: Annotated[
        Path | None, typer.Option("--preprocess", metavar="FILE", help="Make inputs of pictures by this file, as in `compile`.")
    ] = None,
    partition: Annotated[
        Literal["even", "confusion"], typer.Option(help="Group neighbouring classes, or those that the model confuses.")
    ] = "even",
    size: Annotated[
        float | None,
        typer.Option(metavar="SHARE", help="Keep this share of the model's parameters on each device. [default: 1 / devices]"),
    ] = None,
    epochs: Annotated[
        float | None,
        typer.Option(metavar="N", help="Train the last stage for this many passes over the data. [default: 100,000 images]"),
    ] = None,
    seed: Annotated[int, typer.Option(metavar="N", help="Seed for all random choices.")] = 0,
    resume: Annotated[bool, typer.Option("--resume", help="Continue an interrupted run; the result is the same.")] = False,
    shape: Shapes = None,
) -> None:
    """Split a classifier by classes over several devices: an ONNX file for each, one to fuse their results, and a report."""
    from edgewright.frontend.report import render, render_split
    from edgewright.frontend.report.mode import answer
    from edgewright.frontend.splitting.model import SplitOptions, split_model
    from edgewright.passes.results import to_data

    out, err = render.consoles()

    def say(line: str) -> None:
        err.print(line, markup=False, highlight=False, soft_wrap=True)

    with render.Stages(err) as progress:
        report = split_model(
            model,
            fleet,
            data,
            output,
            options=SplitOptions(partition, size, epochs, seed),
            preprocess=preprocess,
            resume=resume,
            shapes=shapes_of(shape),
            progress=progress,
            say=say,
        )
    render_split.split(out, report, output)
    answer(lambda: {"directory": str(output), "report": to_data(report)})


def run_split(
    directory: Path, inputs: Path | None, output: Path | None, samples: int | None, preprocess: Path | None = None
) -> None:
    """Run a split folder on this machine."""
    from edgewright.frontend.files.npz import npz
    from edgewright.frontend.files.publish import check_file, replace_file
    from edgewright.frontend.report import formats, render
    from edgewright.frontend.report.mode import answer
    from edgewright.frontend.splitting.folder import SplitFolder

    if inputs is None:
        raise typer.BadParameter("a split folder holds no samples: give some", param_hint="--input")
    if output is not None:
        check_file(output, {inputs: "data"})
    ran = SplitFolder.open(directory).run(inputs, samples, preprocess)
    if output is not None:
        replace_file(output, npz(ran.outputs))
    out, _ = render.consoles()
    out.print(f"{len(ran.logits):,} samples through {len(ran.features)} sub-models and the fusion, interpreted on this machine")
    if ran.accuracy is not None:
        out.print(f"top-1 {formats.with_interval(ran.accuracy, len(ran.logits))}")
    if output is not None:
        out.print(f"outputs: {output}", markup=False, soft_wrap=True)
    answer(
        lambda: {
            "samples": len(ran.logits),
            "classes": ran.logits.argmax(axis=-1).tolist(),
            "accuracy": ran.accuracy,
            "written": None if output is None else str(output),
        }
    )
