"""`compile` and `simulate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from edgewright.frontend.cli.arguments import DATA_HELP, Compiled, Model, one_of, path_option
from edgewright.frontend.options import Options

if TYPE_CHECKING:
    from edgewright.frontend.bundle import Bundle


def compile(
    options: Options,
    model: Model,
    simulate: Annotated[
        bool, typer.Option("--simulate", help="Simulate the engine afterwards, on calibration images.")
    ] = False,
) -> None:
    """Compile a model for a board. FPGA: RTL, HLS C++, memory images; CPU: a library, weights, a runner; and a report."""
    from dataclasses import replace

    from edgewright.frontend.build import compile_with
    from edgewright.frontend.report import render

    out, err = render.consoles()
    with render.Stages(err) as progress:
        bundle = compile_with(model, replace(options, progress=progress))
    if simulate:
        _simulate(bundle, samples=4)
    else:
        bundle.show(out, options.given_file)
        _answer(bundle, options.given_file)


def simulate(
    directory: Compiled,
    data: Annotated[
        Path | None,
        typer.Argument(metavar="DATA", help=f"{DATA_HELP} [default: the calibration images]", show_default=False),
    ] = None,
    images: Annotated[Path | None, typer.Option(metavar="DATA", help="The same as the argument.")] = None,
    samples: Annotated[int, typer.Option(min=1, help="Simulate this many images.")] = 1,
    wave: Annotated[
        Path | None,
        path_option("--wave", metavar="OUT.fst", help="Write waveforms (VCD where the FST headers are missing)."),
    ] = None,
    hls: Annotated[bool, typer.Option("--hls", help="Also run the HLS C++, compiled with g++.")] = False,
    memory: Annotated[
        str,
        typer.Option(
            metavar="board|ideal|KEY=N,...",
            help="Count cycles behind this memory; read, write (latencies), outstanding and bandwidth change the board's.",
        ),
    ] = "board",
) -> None:
    """Simulate a compiled model at RTL and compare every stored tensor with the integer model, bit for bit."""
    from edgewright.frontend.bundle import open_bundle

    images = one_of(data, images, "--images")
    _simulate(open_bundle(directory), images, samples=samples, wave=wave, hls=hls, memory=memory)


def _simulate(bundle: Bundle[Any], images: Path | None = None, **options: Any) -> None:
    from edgewright.frontend.report import render
    from edgewright.passes.diagnostics import CompileError, Exit

    out, err = render.consoles()
    with render.Stages(err) as progress:
        bundle.simulate(images, **options, progress=progress, write=False)
    bundle.show(out)
    simulated = getattr(bundle, "simulated", None)
    if images is not None and simulated is not None and simulated.agrees:
        render.answers(out, simulated)
    try:
        bundle.write_report()
    except CompileError as failure:  # the verdict stands
        render.error(err, failure)
    _answer(bundle)
    if bundle.report.bit_exact is False:
        raise typer.Exit(Exit.MISMATCH)


def _answer(bundle: Bundle[Any], data: str | None = None) -> None:
    from edgewright.frontend.report.mode import answer
    from edgewright.passes.results import to_data

    answer(lambda: {"directory": str(bundle.directory), "next": bundle.next_step(data), "report": to_data(bundle.report)})
