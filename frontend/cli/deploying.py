"""`run` and `profile`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer
from edgewright.frontend.cli import split
from edgewright.frontend.cli.arguments import (
    DATA_HELP,
    Compiled,
    LabelsOption,
    PreprocessOption,
    one_of,
    path_option,
    read_by,
)


def run(
    directory: Annotated[
        Path, typer.Argument(metavar="DIR", help="Folder that `compile` or `split` wrote.", show_default=False)
    ],
    data: Annotated[
        Path | None,
        typer.Argument(metavar="DATA", help=f"{DATA_HELP} [default: samples in DIR]", show_default=False),
    ] = None,
    inputs: Annotated[Path | None, typer.Option("--input", "-i", metavar="DATA", help="The same as the argument.")] = None,
    output: Annotated[
        Path | None,
        path_option("--output", "-o", metavar="OUT.npz", help="Write the outputs to this file, as real numbers."),
    ] = None,
    preprocess: PreprocessOption = None,
    labels: LabelsOption = None,
    samples: Annotated[int | None, typer.Option(min=1, help="Run this many samples. [default: all]")] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Use this many threads. [default: all cores]")] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Compare with the interpreter, integers bit for bit; exit code 3 if they differ.")
    ] = False,
) -> None:
    """Run a compiled model, or a split one, on a picture, a folder or arrays, and print the classes.

    Code for this machine runs as it is; for other targets the interpreter computes the same bits."""
    from edgewright.frontend.splitting.folder import is_split

    inputs = one_of(data, inputs, "--input")
    if is_split(directory):
        if check or threads is not None:
            raise typer.BadParameter(
                "a split model runs in the interpreter, on one thread, and has nothing to be compared with"
            )
        split.run_split(directory, inputs, output, samples, preprocess)
        return
    from edgewright.frontend.bundle import open_bundle
    from edgewright.frontend.files.publish import check_file, replace_file
    from edgewright.frontend.report import render
    from edgewright.frontend.report.mode import answer
    from edgewright.passes.diagnostics import Exit

    if output is not None:
        check_file(output, {} if inputs is None else {inputs: "data"})
    bundle = open_bundle(directory)
    read_by(bundle, preprocess, labels)
    out, err = render.consoles()
    with render.Stages(err) as progress:
        bundle.progress = progress
        ran = bundle.run(inputs, samples=samples, threads=threads, check=check)
    if output is not None:
        from edgewright.frontend.files.npz import npz

        replace_file(output, npz(ran.outputs))
    render.ran(out, ran, output)
    answer(lambda: ran.summary() | {"written": None if output is None else str(output)})
    if ran.agrees is False:
        raise typer.Exit(Exit.MISMATCH)


def profile(
    directory: Compiled,
    device: Annotated[
        str,
        typer.Option(
            "--device",
            "-d",
            metavar="WHERE",
            help="Measure on local, qemu, ssh://user@host or rpc://host:port[?tracker=...&key=...].",
        ),
    ] = "local",
    inputs: Annotated[
        Path | None,
        typer.Option("--input", "-i", metavar="DATA", help=f"{DATA_HELP} [default: a sample in DIR]"),
    ] = None,
    threads: Annotated[
        str | None,
        typer.Option(metavar="1,2,4", help="Measure with these numbers of threads. [default: 1, 2, 4 ... all cores]"),
    ] = None,
    repeat: Annotated[int, typer.Option(min=1, help="Time this many runs for each number of threads, if time allows.")] = 100,
    timeout: Annotated[float, typer.Option(min=1, metavar="SECONDS", help="Abort after this many seconds.")] = 600,
    output: Annotated[
        Path | None,
        path_option(
            "--output", "-o", metavar="FOLDER", help="Write profile.html and profile.json to this folder. [default: DIR]"
        ),
    ] = None,
    estimate: Annotated[
        bool, typer.Option("--estimate", help="Estimate a range of latency from a model of the target, without measuring.")
    ] = False,
) -> None:
    """Measure a compiled model on a device, check what it computes there, and write profile.html and profile.json."""
    from edgewright.frontend.bundle import open_bundle
    from edgewright.frontend.report import render
    from edgewright.frontend.report.mode import answer

    counts = None if threads is None else _counts(threads)
    bundle = open_bundle(directory)
    out, err = render.consoles()
    if estimate:
        estimated = bundle.estimates(counts)
        render.estimates(out, estimated)
        answer(lambda: estimated)
        return
    with render.Stages(err) as progress:
        progress(f"measuring on {device}", 0, 0)
        measured = bundle.profile(device, inputs, threads=counts, repeat=repeat, timeout_s=timeout, output=output)
    render.profile(out, measured, (output or directory) / "profile.html")
    answer(lambda: measured)
    from edgewright.targets.cpu.profile import mismatch

    if (wrong := mismatch(measured)) is not None:
        raise wrong


def _counts(text: str) -> tuple[int, ...]:
    if not re.fullmatch(r"[1-9][0-9]*(,[1-9][0-9]*)*", text):
        raise typer.BadParameter(f"'{text}' is not of the form 1,2,4", param_hint="--threads")
    return tuple(dict.fromkeys(int(number) for number in text.split(",")))
