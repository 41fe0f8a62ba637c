"""`optimise`."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Annotated

from edgewright.frontend.cli.arguments import Model, path_option
from edgewright.frontend.options import OptimiseOptions, check_lonely


def optimise(
    options: OptimiseOptions,
    model: Model,
    output: Annotated[Path, path_option("--output", "-o", metavar="SMALL.onnx", help="Write the result to this file.")],
) -> None:
    """Make a model smaller without compiling it: ONNX in, ONNX out, with a report of what that cost."""
    from edgewright.frontend.optimise import optimise as optimise_model
    from edgewright.frontend.report import render, render_changes
    from edgewright.frontend.report.mode import answer
    from edgewright.passes.results import to_data

    check_lonely(options)
    out, err = render.consoles()
    with render.Stages(err) as progress:
        values = {entry.name: getattr(options, entry.name) for entry in fields(options)}
        made = optimise_model(model, output, **(values | {"progress": progress}))
    calibration = "random" if options.data is None else options.data
    engine = not {"MoE", "HashAttention"} & {node.op.kind for node in made.graph.nodes()}
    board = options.target if options.target != "host" else "zcu104" if engine else "rpi5"
    step = f"edgewright compile {output} --target {board} --calibration {calibration}"
    step += "" if options.preprocess is None else f" --preprocess {options.preprocess}"
    render_changes.optimised(out, made.report, made.page, made.path, step)
    answer(lambda: {"model": str(made.path), "page": str(made.page), "next": step, "report": to_data(made.report)})
