"""The cache on disk: complete entries only, made once, the least used dropped first."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from edgewright.passes import cache


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
