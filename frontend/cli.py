"""The command `edgewright`. Commands import what they need when they run, so that `--help` is quick.

Exit codes: 1 the model or its data, 2 the usage or a missing tool or device, 3 a verification mismatch, 4 our bug,
128 + N ended by signal N (130 interrupted).
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from edgewright.frontend import cli_passes as passes
from edgewright.frontend import cli_split as splitting
from edgewright.frontend import cli_streams
from edgewright.frontend.cli_streams import given_path
from typer.core import TyperGroup

if TYPE_CHECKING:
    from edgewright.frontend.compiled import Compiled
    from edgewright.frontend.compiled_cpu import CompiledCpu

MODEL_HELP = "ONNX file of the model."
Stage = Literal["read", "reshape", "passes", "plan", "emit"]
Precision = Literal["int8", "fp32"]
Method = Literal["minmax", "percentile", "mse"]
Numerics = Literal["shared", "target"]


class _Guarded(TyperGroup):
    """Turns whatever a command raises into words and an exit code."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except (typer.Exit, typer.Abort, typer.TyperException):
            raise
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
            raise typer.Exit(130) from None
        except BrokenPipeError:
            cli_streams.abandon_stdout()
            raise typer.Exit(0) from None
        except Exception as failure:
            if (number := cli_streams.signalled()) is not None:  # an import or a library made something else of it
                print("interrupted", file=sys.stderr)
                raise typer.Exit(128 + number) from None
            raise typer.Exit(_explain_failure(failure)) from None


app = typer.Typer(
    cls=_Guarded,
    name="edgewright",
    help="Compile a transformer in ONNX for an FPGA (an engine proven bit-exact in simulation) or for an edge CPU.",
    epilog="Start with: edgewright inspect model.onnx",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main() -> None:
    """Entry point of the console script."""
    cli_streams.open_closed()
    cli_streams.handle_signals()
    code: object = 0
    try:
        app()
    except SystemExit as leave:
        code = leave.code
    except KeyboardInterrupt:
        code = 130
    except OSError as failure:  # while help was printed
        code = _explain_failure(failure)
        cli_streams.abandon_stdout()
    finally:
        cli_streams.ignore_interrupts()
    if code == 1 and cli_streams.signalled() is not None:  # interrupted before a command ran
        code = 128 + int(cli_streams.signalled() or 0)
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        cli_streams.abandon_stdout()
    except OSError as failure:
        code = _explain_failure(failure) if code in (0, None) else code
        cli_streams.abandon_stdout()
    sys.exit(code)  # type: ignore[arg-type]  # what SystemExit had


@app.callback()
def _root(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    if version:
        from edgewright import __version__

        print(f"edgewright {__version__}")
        raise typer.Exit()


# `--version` alone is a complete command, so the group has to run without a subcommand.
app.registered_callback.invoke_without_command = True  # type: ignore[union-attr]


@app.command(short_help="Compile a model for a board.")
def compile(
    model: Annotated[Path, typer.Argument(help=MODEL_HELP, show_default=False)],
    target: Annotated[str, typer.Option("--target", "-t", help="Board to compile for; `edgewright targets` lists them.")],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="DIR", parser=given_path, help="Write the result to this folder. [default: build/MODEL]"
        ),
    ] = None,
    calibration: Annotated[
        str | None,
        typer.Option(
            metavar="DATA.npz|random",
            help="Calibrate on these images (with labels, if any); 'random' makes accuracy meaningless.",
        ),
    ] = None,
    shape: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=1,3,224,224", help="Set the shape of an input that the file leaves open. Repeatable."),
    ] = None,
    precision: Annotated[Precision, typer.Option(help="Compute in these numbers; fp32 on CPUs only.")] = "int8",
    method: Annotated[Method, typer.Option(help="Choose the ranges of activations by this method.")] = "mse",
    numerics: Annotated[
        Numerics,
        typer.Option(help="Compute the same integers on every target (shared), or those this one computes fastest (target)."),
    ] = "shared",
    start_from: Annotated[
        Stage, typer.Option("--from", help="Start at this stage, from what the last run left in DIR.")
    ] = "read",
    simulate: Annotated[
        bool, typer.Option("--simulate", help="Simulate the engine afterwards, on calibration images.")
    ] = False,
    variant: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Use these CPU kernels instead of the target's own, for example avx2 or neon."),
    ] = None,
    gpu: Annotated[
        bool, typer.Option("--gpu", help="Also write CUDA code for a Jetson's GPU to DIR/cuda. It has never run on one.")
    ] = False,
    data: passes.Data = None,
    task: passes.Task = None,
    usage_threshold: passes.UsageThreshold = None,
    fuse_blocks: passes.FuseBlocks = None,
    hash_attention: passes.HashAttention = None,
    hash_bits: passes.HashBits = None,
    hash_supports: passes.HashSupports = None,
    hash_constant: passes.HashConstant = None,
    epochs: passes.Epochs = None,
    seed: passes.Seed = 0,
    checkpoints: passes.Checkpoints = None,
    resume: passes.Resume = False,
) -> None:
    """Compile a model for a board. FPGA: RTL, HLS C++, memory images; CPU: a library, weights, a runner; and a report."""
    shapes = dict(shape_of(text) for text in shape or [])
    from edgewright.frontend.compiled import compile as compile_model
    from edgewright.frontend.compiled_cpu import CompiledCpu
    from edgewright.frontend.report import render

    directory = output or Path("build") / _folder_name(model)
    reshaping = passes.reshaping(
        task,
        usage_threshold,
        fuse_blocks,
        hash_attention,
        hash_bits,
        hash_supports,
        hash_constant,
        epochs,
        seed,
        checkpoints,
        resume,
    )
    _, err = render.consoles()
    with render.Stages(err) as progress:
        compiled = compile_model(
            model,
            target=target,
            calibration=calibration,
            shapes=shapes,
            precision=precision,
            method=method,
            numerics=numerics,
            output=directory,
            start_from=start_from,
            variant=variant,
            gpu=gpu,
            reshaping=reshaping,
            data=data,
            checkpoints=checkpoints,
            resume=resume,
            progress=progress,
        )
    calibration = calibration or (None if data is None else str(data))
    if isinstance(compiled, CompiledCpu):
        if simulate:
            raise typer.BadParameter(
                "only FPGA engines can be simulated; use `edgewright run` for this model", param_hint="--simulate"
            )
        _show_cpu(compiled)
    elif simulate:
        images = None if calibration in (None, "random") else Path(str(calibration))
        _simulate(compiled, images, samples=4, wave=None)
    else:
        given = "" if calibration in (None, "random") else f" --images {calibration} --samples 4"
        _show(compiled, f"edgewright simulate {directory}{given}")


app.command(short_help="Make a model smaller, without compiling it.")(passes.optimise)
app.command(short_help="Split a classifier over several devices.")(splitting.split)


@app.command(short_help="Simulate a compiled model at RTL.")
def simulate(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Folder that `compile` wrote.", show_default=False)],
    images: Annotated[
        Path | None,
        typer.Option(metavar="DATA.npz", help="Simulate these images, with labels if any. [default: the calibration images]"),
    ] = None,
    samples: Annotated[int, typer.Option(min=1, help="Simulate this many images.")] = 1,
    wave: Annotated[
        Path | None,
        typer.Option(metavar="OUT.fst", parser=given_path, help="Write waveforms (VCD where the FST headers are missing)."),
    ] = None,
    hls: Annotated[bool, typer.Option("--hls", help="Also run the HLS C++, compiled with g++.")] = False,
) -> None:
    """Simulate a compiled model at RTL and compare every stored tensor with the integer model, bit for bit."""
    from edgewright.frontend.compiled import Compiled

    _simulate(Compiled.open(directory), images, samples, wave, hls)


@app.command(short_help="Run a model compiled for this machine's CPU, or a split one.")
def run(
    directory: Annotated[
        Path, typer.Argument(metavar="DIR", help="Folder that `compile` or `split` wrote.", show_default=False)
    ],
    inputs: Annotated[
        Path | None,
        typer.Option(
            "--input", "-i", metavar="DATA.npz", help="Run on these arrays, named like the inputs. [default: samples in DIR]"
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="OUT.npz", parser=given_path, help="Write the outputs to this file, as real numbers."
        ),
    ] = None,
    samples: Annotated[int | None, typer.Option(min=1, help="Run this many samples. [default: all]")] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Use this many threads. [default: all cores]")] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Compare with the interpreter, integers bit for bit; exit code 3 if they differ.")
    ] = False,
) -> None:
    """Run a model compiled for this machine's CPU, or a split one."""
    from edgewright.frontend.splitting.folder import is_split

    if is_split(directory):
        if check or threads is not None:
            raise typer.BadParameter(
                "a split model runs in the interpreter, on one thread, and has nothing to be compared with"
            )
        splitting.run_split(directory, inputs, output, samples)
        return
    from edgewright.frontend.compiled_cpu import CompiledCpu
    from edgewright.frontend.publish import check_file, replace_file
    from edgewright.frontend.report import render

    if output is not None:
        check_file(output, {} if inputs is None else {inputs: "data"})
    compiled = CompiledCpu.open(directory)
    ran = compiled.run(inputs, samples=samples, threads=threads, check=check)
    if output is not None:
        from edgewright.frontend.npz import npz

        replace_file(output, npz(ran.outputs))
    out, _ = render.consoles()
    render.ran(out, ran, output)
    if ran.agrees is False:
        raise typer.Exit(3)


@app.command(short_help="Measure a model compiled for a CPU, where it runs.")
def profile(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Folder that `compile` wrote.", show_default=False)],
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
        typer.Option(
            "--input", "-i", metavar="DATA.npz", help="Run on these arrays, named like the inputs. [default: a sample in DIR]"
        ),
    ] = None,
    threads: Annotated[
        str | None,
        typer.Option(metavar="1,2,4", help="Measure with these numbers of threads. [default: 1, 2, 4 ... all cores]"),
    ] = None,
    repeat: Annotated[int, typer.Option(min=1, help="Time this many runs for each number of threads, if time allows.")] = 100,
    timeout: Annotated[float, typer.Option(min=1, metavar="SECONDS", help="Abort after this many seconds.")] = 600,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FOLDER",
            parser=given_path,
            help="Write profile.html and profile.json to this folder. [default: DIR]",
        ),
    ] = None,
    estimate: Annotated[
        bool, typer.Option("--estimate", help="Estimate a range of latency from a model of the target, without measuring.")
    ] = False,
) -> None:
    """Measure a compiled model on a device, check what it computes there, and write profile.html and profile.json."""
    from edgewright.frontend.compiled_cpu import CompiledCpu
    from edgewright.frontend.report import render

    counts = None if threads is None else _counts(threads)
    compiled = CompiledCpu.open(directory)
    out, err = render.consoles()
    if estimate:
        render.estimates(out, compiled.estimates(counts))
        return
    with render.Stages(err) as progress:
        progress(f"measuring on {device}", 0, 0)
        found = compiled.profile(device, inputs, threads=counts, repeat=repeat, timeout_s=timeout, output=output)
    render.profile(out, found, (output or directory) / "profile.html")
    from edgewright.targets.cpu.profile import mismatch

    if (wrong := mismatch(found)) is not None:
        raise wrong


def _counts(text: str) -> tuple[int, ...]:
    if not re.fullmatch(r"[1-9][0-9]*(,[1-9][0-9]*)*", text):
        raise typer.BadParameter(f"'{text}' is not of the form 1,2,4", param_hint="--threads")
    return tuple(dict.fromkeys(int(number) for number in text.split(",")))


@app.command(short_help="Show what a model is, what it costs, and what runs it.")
def inspect(
    model: Annotated[Path, typer.Argument(help=MODEL_HELP, show_default=False)],
    shape: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=1,3,224,224", help="Set the shape of an input that the file leaves open. Repeatable."),
    ] = None,
    target: Annotated[str | None, typer.Option("--target", "-t", help="Check this board only.", show_default=False)] = None,
    precision: Annotated[Precision | None, typer.Option(help="Check this precision only.", show_default=False)] = None,
) -> None:
    """Show what a model is and what it costs, and which target runs it at which precision, or why not."""
    shapes = dict(shape_of(text) for text in shape or [])
    from edgewright.frontend import support
    from edgewright.frontend.inspect_model import inspect as inspect_model
    from edgewright.frontend.report import render

    out, _ = render.consoles()
    render.inspection(out, model.name, inspect_model(model, shapes, support.checks(target, precision)))


@app.command(short_help="List the boards.")
def targets(
    name: Annotated[str | None, typer.Argument(help="Show this board in full.", show_default=False)] = None,
) -> None:
    """List the boards, or everything about one of them, with the source of every figure."""
    from edgewright.frontend.report import render
    from edgewright.targets import device

    out, _ = render.consoles()
    if name is None:
        render.targets(out, device.list_devices())
    else:
        render.target(out, device.load(name))


@app.command(short_help="Explain an error code.")
def explain(
    code: Annotated[str | None, typer.Argument(help="Code as in error[N014]; without one, list all codes.")] = None,
) -> None:
    """Explain an error code: what happened, an example, why, and what to do."""
    from edgewright.frontend import explain as explanations
    from edgewright.frontend.report import render

    out, _ = render.consoles()
    if code and out.is_terminal:
        explanations.show(out, code)
    else:
        print(explanations.text(code) if code else explanations.overview())


@app.command(short_help="Check which tools are installed.")
def doctor() -> None:
    """Check which tools this machine has, and say what to install."""
    from edgewright.frontend import doctor as checks
    from edgewright.frontend.report import render

    out, _ = render.consoles()
    found = checks.examine()
    healthy = checks.healthy(found)
    render.doctor(out, found, healthy)
    if not healthy:
        raise typer.Exit(2)


def _simulate(compiled: Compiled, images: Path | None, samples: int, wave: Path | None, hls: bool = False) -> None:
    from edgewright.frontend.report import render
    from edgewright.passes.diagnostics import CompileError

    _, err = render.consoles()
    with render.Stages(err) as progress:
        compiled.simulate(images, samples=samples, wave=wave, hls=hls, progress=progress, write=False)
    _show(compiled, "open the report; rtl/ and hls/ next to it hold the design for Vivado and Vitis")
    try:
        compiled.write_report()
    except CompileError as failure:  # the verdict stands
        render.error(err, failure)
    if compiled.report.bit_exact is False:
        raise typer.Exit(3)


def _show_cpu(compiled: CompiledCpu) -> None:
    from edgewright.frontend.report import render

    out, _ = render.consoles()
    manifest = compiled.artifact.manifest
    here = compiled.report.target == "host"
    device = "local" if here else "qemu (here) or ssh://user@board"
    step = f"edgewright profile {compiled.directory} --device {device}"
    ports = [*(("input", port) for port in manifest.inputs), *(("output", port) for port in manifest.outputs)]
    render.summary(out, compiled.report, compiled.directory, step, ports)


def _show(compiled: Compiled, next_step: str) -> None:
    from edgewright.frontend.report import render

    out, _ = render.consoles()
    render.summary(out, compiled.report, compiled.directory, next_step)


def shape_of(text: str) -> tuple[str, tuple[int, ...]]:
    """NAME=1,3,224,224; names may hold '=' themselves."""
    name, _, numbers = text.rpartition("=")
    if not name or not re.fullmatch(r"[1-9][0-9]*(,[1-9][0-9]*)*", numbers):
        raise typer.BadParameter(f"'{text}' is not of the form NAME=1,3,224,224", param_hint="--shape")
    return name, tuple(int(number) for number in numbers.split(","))


def _folder_name(model: Path) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", model.stem).strip(".-_") or "model"


def _explain_failure(failure: Exception) -> int:
    from edgewright.frontend.report import render
    from edgewright.passes.diagnostics import CompileError, Diagnostic
    from edgewright.passes.names import plain

    _, err = render.consoles()
    if isinstance(failure, CompileError):
        render.error(err, failure)
        return failure.exit_code
    if isinstance(failure, MemoryError):
        because = "the model, its data and what compiling them needs are larger than this machine's memory"
        help_text = "use a machine with more memory, or fewer calibration images"
        one = Diagnostic("C001", "out of memory", because=because, help=help_text)
        render.error(err, CompileError([one], 1))
        return 1
    if isinstance(failure, OSError) and (failure.filename is not None or failure.errno is not None):
        because = failure.strerror or type(failure).__name__
        help_text = "check that the path exists, that you may use it, and that its disk has room"
        at = "" if failure.filename is None else plain(failure.filename)
        one = Diagnostic("C002", "a file or folder cannot be used", at, because, help_text)
        render.error(err, CompileError([one], 2))
        return 2
    handle, log = tempfile.mkstemp(prefix="edgewright-", suffix=".log")
    with os.fdopen(handle, "w", encoding="utf-8") as stream:
        stream.write(f"{sys.argv}\n\n{''.join(traceback.format_exception(failure))}")
    because = f"{type(failure).__name__}: {plain(failure)[:300]}"
    one = Diagnostic("C004", "internal error, a bug in Edgewright", "", because, f"please report it with {log}")
    render.error(err, CompileError([one], 4))
    return 4


if __name__ == "__main__":
    main()
