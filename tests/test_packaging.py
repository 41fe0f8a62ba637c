"""Links, hatch's sources and its only-include lists agree, and the wheel holds the data files."""

from __future__ import annotations

import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("frontend", "passes", "hw", "sim", "targets")


def hatch() -> dict[str, dict[str, dict[str, object]]]:
    build: dict[str, dict[str, dict[str, object]]] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))[
        "tool"
    ]["hatch"]["build"]
    return build


def test_every_room_is_linked() -> None:
    package = ROOT / ".src" / "edgewright"
    for room in ROOMS:
        assert (package / room).resolve() == ROOT / room, f".src/edgewright/{room} must link to ../../{room}"
    extra = {p.name for p in package.iterdir()} - {*ROOMS, "__init__.py", "py.typed", "__pycache__"}
    assert not extra


def test_sources_and_only_include_agree() -> None:
    targets = hatch()["targets"]
    own = [".src/edgewright/__init__.py", ".src/edgewright/py.typed"]
    assert targets["wheel"]["only-include"] == [*own, *ROOMS]
    assert targets["wheel"]["sources"] == {
        ".src/edgewright": "edgewright",
        **{room: f"edgewright/{room}" for room in ROOMS},
    }
    included = targets["sdist"]["only-include"]
    assert isinstance(included, list)
    assert set(included) >= {*own, *ROOMS, "tests", "benchmarks", "examples"}
    assert all((ROOT / path).exists() for path in included), "the sdist lists a file that is not there"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Names of the files in a wheel that was built through an sdist."""
    out = tmp_path_factory.mktemp("dist")
    for target, source in (("sdist", ROOT), ("wheel", None)):
        if source is None:
            archive = next(out.glob("*.tar.gz"))
            subprocess.run(["tar", "-xzf", archive, "-C", out], check=True)
            source = out / archive.name.removesuffix(".tar.gz")
        command = [sys.executable, "-m", "hatchling", "build", "-t", target, "-d", str(out)]
        subprocess.run(command, cwd=source, check=True, capture_output=True)
    with zipfile.ZipFile(next(out.glob("*.whl"))) as archive_file:
        return archive_file.namelist()


def tracked(room: str) -> list[str]:
    done = subprocess.run(["git", "ls-files", room], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode or not done.stdout:
        pytest.skip("not in a git checkout")
    return [name for name in done.stdout.splitlines() if (ROOT / name).exists()]


@pytest.mark.parametrize("room", ROOMS)
def test_the_wheel_holds_the_room(room: str, wheel: list[str]) -> None:
    wanted = {f"edgewright/{name}" for name in tracked(room)}
    assert wanted <= set(wheel), sorted(wanted - set(wheel))


def test_the_wheel_is_the_package_and_nothing_else(wheel: list[str]) -> None:
    assert {name.split("/")[0] for name in wheel} == {
        "edgewright",
        next(name.split("/")[0] for name in wheel if ".dist-info" in name),
    }
    assert "edgewright/py.typed" in wheel
    assert any(name.endswith("licenses/LICENSE") for name in wheel)
    assert "edgewright/targets/boards/zcu104.toml" in wheel
