"""An option is one field of a table: command line, Python signature, check against the target and manifest follow."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, field
from typing import Any

import edgewright
import pytest
import typer
from edgewright.frontend.cli.table import command
from edgewright.frontend.option_table import check_targets, option, specs, tables, with_options
from edgewright.frontend.options import OptimiseOptions, Options
from edgewright.passes.diagnostics import CompileError
from typer.testing import CliRunner


@dataclass(frozen=True, slots=True)
class More(Options):
    """The options with one more, as an edit of the table would add it."""

    rounds: int = field(
        default=3, metadata=option("Repeat this often.", "--rounds", metavar="N", stored=True, targets=("cpu",))
    )


def test_a_new_field_is_an_option_of_the_command_line() -> None:
    given: list[Any] = []

    def act(options: More, name: str, loud: bool = False) -> None:
        """Do it."""
        given.append((options, name, loud))

    app = typer.Typer(rich_markup_mode=None)
    app.command()(command(More, act))
    shown = " ".join(CliRunner().invoke(app, ["--help"]).output.split())
    assert "--rounds N Repeat this often. [default: 3]" in shown and "Do it." in shown
    arguments = ["x", "-t", "rpi5", "--rounds", "5", "--shape", "a=1,2", "--shape", "b=3", "--fuse-blocks", "25%", "--loud"]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    ((options, name, loud),) = given
    assert (options.rounds, options.target, options.shapes) == (5, "rpi5", {"a": (1, 2), "b": (3,)})
    assert options.reshaping.fuse_blocks == "25%" and (name, loud) == ("x", True)


def test_a_new_field_is_an_argument_of_the_python_function() -> None:
    @with_options(More)
    def act(source: str, options: More) -> int:
        """Do it."""
        return options.rounds

    assert act("x", rounds=7) == 7 and act("x") == 3
    assert inspect.signature(act).parameters["rounds"].default == 3
    assert ":param rounds: Repeat this often." in (act.__doc__ or "")


def test_a_new_field_is_in_the_manifest_and_checked_against_the_target() -> None:
    assert More(rounds=4).manifest({})["rounds"] == 4
    assert More(rounds=4).manifest({"fuse_blocks": "1"})["passes"] == {"fuse_blocks": "1"}
    check_targets(More(rounds=4), "cpu", "rpi5")
    check_targets(More(), "fpga", "zcu104")
    with pytest.raises(CompileError) as caught:
        check_targets(More(rounds=4), "fpga", "zcu104")
    (error,) = caught.value.diagnostics
    assert (error.code, error.at, caught.value.exit_code) == ("U035", "--rounds", 2)


def test_compile_has_the_table_s_signature() -> None:
    parameters = inspect.signature(edgewright.compile).parameters
    assert list(parameters) == ["source", *inspect.signature(Options).parameters]
    assert parameters["target"].default == "zcu104" and parameters["gpu"].default is False
    with pytest.raises(TypeError):
        edgewright.compile("model.onnx", targt="zcu104")  # type: ignore[call-arg]  # so that mypy sees the signature too


@pytest.mark.parametrize("table", [Options, OptimiseOptions])
def test_every_field_says_what_it_is_for(table: type) -> None:
    described = {name for name, _ in (*specs(table), *tables(table))}
    assert described == set(inspect.signature(table).parameters)


@pytest.mark.parametrize(
    ("name", "value", "option"),
    [("precision", "fp16", "--precision"), ("start_from", "end", "--from"), ("numerics", "own", "--numerics")],
)
def test_values_that_an_option_does_not_have(name: str, value: str, option: str) -> None:
    with pytest.raises(CompileError) as caught:
        Options(**{name: value})  # type: ignore[arg-type]  # a name that only runs know
    (error,) = caught.value.diagnostics
    assert (error.code, error.at, caught.value.exit_code) == ("U030", option, 2)
