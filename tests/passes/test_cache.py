"""The cache on disk: complete entries only, made once, the least used dropped first."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from edgewright.passes import cache
from edgewright.passes.diagnostics import CompileError, Diagnostic, Exit

from tests.fuzz import cache_races


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEWRIGHT_CACHE", str(tmp_path / "cache"))


def fill(folder: Path) -> None:
    (folder / "data").write_bytes(bytes(600_000))


def test_an_entry_is_made_once() -> None:
    made: list[Path] = []
    for _ in range(3):
        folder = cache.entry("kind", "name", made.append)
        assert folder == cache.root() / "kind" / "name"
    assert len(made) == 1


def test_a_failure_leaves_nothing() -> None:
    def fail(folder: Path) -> None:
        fill(folder)
        raise RuntimeError("half way")

    with pytest.raises(RuntimeError):
        cache.entry("kind", "name", fail)
    assert [path.name for path in (cache.root() / "kind").iterdir()] == [".name.lock"]
    assert (cache.entry("kind", "name", fill) / "data").exists()


def test_what_a_killed_process_left_is_removed() -> None:
    abandoned = cache.root() / "kind" / ".name.x1y2"
    abandoned.mkdir(parents=True)
    cache.entry("kind", "name", fill)
    assert not abandoned.exists()


def test_the_least_used_entries_go_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEWRIGHT_CACHE_MB", "2")
    for age, name in ((300, "a"), (200, "b"), (100, "c")):
        used = cache.entry("kind", name, fill) / ".used"
        os.utime(used, (used.stat().st_mtime - age,) * 2)
    cache.entry("kind", "a", fill)  # used again
    cache.entry("kind", "d", fill)
    assert sorted(path.name for path in (cache.root() / "kind").iterdir() if path.name[0] != ".") == ["a", "c", "d"]


def test_keys_tell_texts_apart() -> None:
    keys = {
        cache.key({"a": "b"}, ["c"]),
        cache.key({"ab": ""}, ["c"]),
        cache.key({"a": "bc"}, []),
        cache.key({}, ["a", "b", "c"]),
        cache.key({"a": "b", "x": "y"}, ["c"]),
        cache.key({"x": "y", "a": "b"}, ["c"]),
    }
    assert len(keys) == 6


def test_where_the_cache_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EDGEWRIGHT_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert cache.root() == Path("/somewhere/edgewright")


def test_the_cache_is_an_absolute_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EDGEWRIGHT_CACHE", "here")
    assert cache.root() == tmp_path / "here"


# Damage

PROGRAM = b"#!/bin/sh\nexit 0\n"


def tool(folder: Path) -> None:
    (folder / "src").mkdir()
    (folder / "src" / "text").write_text("source")
    (folder / "tool").write_bytes(PROGRAM)
    (folder / "tool").chmod(0o755)


def replaced(name: str, content: bytes) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes(content)


@pytest.mark.parametrize(
    "damage",
    [
        replaced("tool", b""),
        replaced("tool", PROGRAM[:-3]),
        replaced("tool", PROGRAM.replace(b"0", b"1")),
        replaced("tool", PROGRAM + b"x"),
        replaced("src/text", b"sourcf"),
        replaced(".sealed.json", b""),
        replaced(".sealed.json", b"[3]"),
        replaced(".sealed.json", b"{" * 100_000),
        replaced(".sealed.json", b'{"tool": [1, true]}'),
        lambda folder: (folder / "tool").unlink(),
        lambda folder: (folder / "tool").chmod(0o644),
        lambda folder: (folder / "src" / "text").unlink(),
        lambda folder: (folder / ".sealed.json").unlink(),
        lambda folder: (folder / ".used").unlink(),
        lambda folder: ((folder / "tool").unlink(), (folder / "tool").mkdir()),
    ],
)
def test_a_damaged_entry_is_made_anew(damage: Callable[[Path], object]) -> None:
    damage(cache.entry("kind", "name", tool))
    assert cache.existing("kind", "name") is None
    folder = cache.entry("kind", "name", tool)
    assert (folder / "tool").read_bytes() == PROGRAM and subprocess.run([folder / "tool"]).returncode == 0
    assert (folder / "src" / "text").read_text() == "source"
    assert cache.entry("kind", "name", lambda _: pytest.fail("made again")) == cache.existing("kind", "name") == folder
    assert {path.name for path in folder.parent.iterdir()} == {"name", ".name.lock"}


def test_files_that_come_later_are_no_damage() -> None:
    (cache.entry("kind", "name", tool) / "log").write_text("x")
    cache.entry("kind", "name", lambda _: pytest.fail("made again"))


# Several processes

HOLDER = """
import sys
from edgewright.passes import cache
cache.entry("kind", "a", lambda folder: (folder / "data").write_bytes(bytes(600_000)))
print("held", flush=True)
sys.stdin.read()
"""


def test_what_another_process_uses_is_not_evicted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEWRIGHT_CACHE_MB", "1")
    other = subprocess.Popen([sys.executable, "-c", HOLDER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert other.stdin is not None and other.stdout is not None
    assert other.stdout.readline() == "held\n"
    for name in ("b", "c", "d"):
        cache.entry("kind", name, fill)

    def names() -> list[str]:
        return sorted(path.name for path in (cache.root() / "kind").iterdir() if path.name[0] != ".")

    assert names() == ["a", "d"]
    other.stdin.close()
    assert other.wait(timeout=30) == 0
    cache.entry("kind", "e", fill)
    assert names() == ["e"]


def test_many_entries_do_not_use_up_the_files(monkeypatch: pytest.MonkeyPatch) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for i in range(150):
        cache.entry("kind", f"n{i}", tool)
    assert len(os.listdir("/proc/self/fd")) < before + 80


def test_an_entry_that_vanishes_while_it_is_measured_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process may evict it at any moment: listing it then fails."""

    def vanished(folder: Path, _: str) -> Iterator[Path]:
        yield folder / "a"
        raise FileNotFoundError(2, "No such file or directory", str(folder))

    monkeypatch.setattr(Path, "rglob", vanished)
    (tmp_path / "a").write_bytes(b"four")
    assert cache._size(tmp_path) == 4


def test_races() -> None:
    assert cache_races.races(20) == []


# A folder that cannot be used


def refusal(act: Callable[[], object]) -> Diagnostic:
    with pytest.raises(CompileError) as caught:
        act()
    (one,) = caught.value.diagnostics
    assert caught.value.exit_code == Exit.USAGE and one.at and one.because and one.help
    return one


def test_a_folder_that_cannot_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file", tmp_path / "file" / "below", Path("/proc/nothing")):
        monkeypatch.setenv("EDGEWRIGHT_CACHE", str(place))
        one = refusal(lambda: cache.entry("kind", "name", fill))
        assert one.code == "T057" and one.at == str(place / "kind") and "EDGEWRIGHT_CACHE" in (one.help or "")


def test_a_folder_that_cannot_be_written_gives_what_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = cache.entry("kind", "name", tool)

    def denied(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(os, "utime", denied)  # root may write everywhere, so no mode of a folder tests this
    monkeypatch.setattr(tempfile, "mkdtemp", denied)
    assert cache.entry("kind", "name", fill) == folder
    one = refusal(lambda: cache.entry("kind", "other", fill))
    assert one.code == "T057" and one.because == "Permission denied"


@pytest.mark.parametrize(
    "failure",
    [
        OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
        CompileError([Diagnostic("T011", "the C compiler failed", because="error: unable to write: NoSpaceLeft")], Exit.BUG),
    ],
)
def test_a_full_disk(failure: Exception) -> None:
    def make(folder: Path) -> None:
        raise failure

    one = refusal(lambda: cache.entry("kind", "name", make))
    assert one.code == "T057" and one.because == "No space left on device"
    assert [path.name for path in (cache.root() / "kind").iterdir()] == [".name.lock"]


@pytest.mark.parametrize("text", ["x", "-1", "1.5", "1e3", "٣", " 7", "9" * 5000])
def test_a_limit_that_is_no_number(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("EDGEWRIGHT_CACHE_MB", text)
    one = refusal(lambda: cache.entry("kind", "name", lambda _: pytest.fail("made first")))
    assert one.code == "T058" and one.at == "EDGEWRIGHT_CACHE_MB"


def test_where_there_are_no_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on some network file systems: two may make the same entry, and both get it whole."""

    def unsupported(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", unsupported)

    def make(folder: Path) -> None:
        tool(folder)
        if not (cache.root() / "kind" / "name").exists():
            cache.entry("kind", "name", tool)  # somebody else is faster

    folder = cache.entry("kind", "name", make)
    assert (folder / "tool").read_bytes() == PROGRAM and cache.existing("kind", "name") == folder
