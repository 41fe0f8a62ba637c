"""The command `edgewright`. Commands import what they need when they run, so that `--help` is quick.

Exit codes: 1 the model or its data, 2 the usage or a missing tool or device, 3 a verification mismatch, 4 our bug,
128 + N ended by signal N (130 interrupted).
"""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer
from edgewright.frontend.cli import compare, compiling, deploying, facts, optimise, split, streams
from edgewright.frontend.cli.failures import explain_failure
from edgewright.frontend.cli.output import answering
from edgewright.frontend.cli.table import command
from edgewright.frontend.options import OptimiseOptions, Options
from typer.core import TyperGroup


class _Guarded(TyperGroup):
    """Turns whatever a command raises into a message and an exit code."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except (typer.Exit, typer.Abort, typer.TyperException):
            raise
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
            raise typer.Exit(130) from None
        except BrokenPipeError:
            streams.abandon_stdout()
            raise typer.Exit(0) from None
        except Exception as failure:
            if (number := streams.signalled()) is not None:  # an import or a library made something else of it
                print("interrupted", file=sys.stderr)
                raise typer.Exit(128 + number) from None
            raise typer.Exit(explain_failure(failure)) from None


app = typer.Typer(
    cls=_Guarded,
    name="edgewright",
    help="Compile a transformer in ONNX for an FPGA (an engine proven bit-exact in simulation) or for an edge CPU.",
    epilog="Start with: edgewright inspect model.onnx",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
_COMMANDS = (
    ("compile", "Compile a model for a board or for this machine.", command(Options, compiling.compile)),
    ("optimise", "Make a model smaller, without compiling it.", command(OptimiseOptions, optimise.optimise)),
    ("split", "Split a classifier over several devices.", split.split),
    ("simulate", "Simulate a compiled model at RTL.", compiling.simulate),
    ("run", "Run a compiled or split model on pictures or arrays.", deploying.run),
    ("compare", "Compare two compiled models, or one with its ONNX file.", compare.compare),
    ("profile", "Measure a model compiled for a CPU, where it runs.", deploying.profile),
    ("inspect", "Show what a model is, what it costs, and what runs it.", facts.inspect),
    ("targets", "List the boards.", facts.targets),
    ("doctor", "Check which tools are installed.", facts.doctor),
)
for _name, _help, _run in _COMMANDS:
    app.command(_name, short_help=_help)(answering(_run))
app.command(short_help="Explain an error code.")(facts.explain)


@app.callback(invoke_without_command=True)  # `--version` alone is a complete command
def _root(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    if version:
        from edgewright import __version__

        print(f"edgewright {__version__}")
        raise typer.Exit()


def main() -> None:
    """Entry point of the console script."""
    streams.open_closed()
    streams.handle_signals()
    code: object = 0
    try:
        app(prog_name="edgewright")
    except SystemExit as leave:
        code = leave.code
    except KeyboardInterrupt:
        code = 130
    except OSError as failure:  # while help was printed
        code = explain_failure(failure)
        streams.abandon_stdout()
    finally:
        streams.ignore_interrupts()
    if code == 1 and streams.signalled() is not None:  # interrupted before a command ran
        code = 128 + int(streams.signalled() or 0)
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        streams.abandon_stdout()
    except OSError as failure:
        code = explain_failure(failure) if code in (0, None) else code
        streams.abandon_stdout()
    sys.exit(code)  # type: ignore[arg-type]  # what SystemExit had
