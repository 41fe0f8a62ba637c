"""Commands that only tell: `inspect`, `targets`, `explain` and `doctor`."""

from __future__ import annotations

from typing import Annotated, Literal

import typer
from edgewright.frontend.cli.arguments import Model, Shapes
from edgewright.frontend.cli.table import shapes_of
from edgewright.frontend.options import board_names


def _codes(beginning: str = "") -> list[str]:
    from edgewright.passes.error_texts import codes

    return [code for code in codes() if code.startswith(beginning.upper())]


def inspect(
    model: Model,
    shape: Shapes = None,
    target: Annotated[
        str | None,
        typer.Option("--target", "-t", help="Check this board only.", show_default=False, autocompletion=board_names),
    ] = None,
    precision: Annotated[
        Literal["int8", "fp32"] | None, typer.Option(help="Check this precision only.", show_default=False)
    ] = None,
    passes: Annotated[bool, typer.Option("--passes", help="Show what each group of passes does to the graph.")] = False,
) -> None:
    """Show what a model is and what it costs, and which target runs it at which precision, or why not."""
    shapes = shapes_of(shape)
    from edgewright.frontend import support
    from edgewright.frontend.inspect_model import as_data
    from edgewright.frontend.inspect_model import inspect as inspect_model
    from edgewright.frontend.report import render
    from edgewright.frontend.report.mode import answer

    out, _ = render.consoles()
    inspected = inspect_model(model, shapes, support.checks(target, precision), passes)
    render.inspection(out, model.name, inspected)
    answer(lambda: as_data(inspected))


def targets(
    name: Annotated[
        str | None, typer.Argument(help="Show this board in full.", show_default=False, autocompletion=board_names)
    ] = None,
) -> None:
    """List the boards, or everything about one of them, with the source of every figure."""
    from edgewright.frontend.report import render
    from edgewright.frontend.report.mode import answer
    from edgewright.targets import device

    out, _ = render.consoles()
    if name is None:
        devices = device.list_devices()
        render.targets(out, devices)
        answer(lambda: devices)
    else:
        one = device.load(name)
        render.target(out, one)
        answer(lambda: one)


def explain(
    code: Annotated[
        str | None, typer.Argument(help="Code as in error[N014]; without one, list all codes.", autocompletion=_codes)
    ] = None,
) -> None:
    """Explain an error code: what happened, an example, why, and what to do."""
    from edgewright.frontend import explain as explanations
    from edgewright.frontend.report import render

    out, _ = render.consoles()
    if code and out.is_terminal:
        explanations.show(out, code)
    else:
        print(explanations.text(code) if code else explanations.overview())


def doctor() -> None:
    """Check which tools this machine has, and say what to install."""
    from edgewright.frontend import doctor as checks
    from edgewright.frontend.report import render
    from edgewright.frontend.report.mode import answer

    out, _ = render.consoles()
    examined = checks.examine()
    healthy = checks.healthy(examined)
    render.doctor(out, examined, healthy)
    answer(lambda: {"healthy": healthy, "checks": examined})
    if not healthy:
        raise typer.Exit(2)
