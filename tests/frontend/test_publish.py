"""What is written takes its place at once, and nothing of the user's is lost."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from edgewright.frontend.files import publish, staging
from edgewright.frontend.files.ownership import contents
from edgewright.passes.diagnostics import CompileError

ROOT = Path(__file__).parents[2]
WRITER = """
import sys
import tempfile
from pathlib import Path
from edgewright.frontend.files.publish import publish
from tests.frontend.test_publish import bundle
for number in range(int(sys.argv[3])):
    publish(bundle(f"{sys.argv[2]} {number}"), Path(sys.argv[1]))
    print("done", flush=True)
"""


def bundle(text: str, files: int = 12) -> dict[str, bytes]:
    """Files with a manifest, as `compile` makes them."""
    found = {f"rtl/part{i}.sv": f"{text} {i}".encode() for i in range(files)}
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in found.items()}
    manifest = {"format": 1, "edgewright": "0", "options": {}, "engine": {"tokens": 12}, "files": hashes}
    found["manifest.json"] = json.dumps(manifest).encode()
    return found | {"report.html": f"<p>{text}</p>\n".encode(), "report.json": json.dumps({"text": text}).encode()}


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def holds(folder: Path, files: dict[str, bytes]) -> bool:
    """Exactly these files, pages with the seal behind them."""
    found = tree(folder)
    return set(found) == set(files) and all(found[name].startswith(content) for name, content in files.items())


def whole(folder: Path) -> bool:
    """One bundle, nothing of another."""
    found = contents(folder)
    return found is not None and not found.changed and not found.others and len(found.ours) == len(bundle(""))


def refused(act: Callable[[], object]) -> tuple[str, str]:
    with pytest.raises(CompileError) as caught:
        act()
    assert caught.value.exit_code == 2
    first = caught.value.diagnostics[0]
    return first.code, first.because


def test_an_earlier_result_is_replaced_and_others_stay(tmp_path: Path) -> None:
    place = tmp_path / "model"
    publish.publish(bundle("one"), place)
    publish.write_results({"report.html": b"simulated", "report.json": b"{}"}, place)
    (place / "notes.txt").write_text("mine")
    (place / "hls" / "vivado" / "runs").mkdir(parents=True)
    (place / "hls" / "vivado" / "project.xpr").write_text("hours of work")
    (place / ".git").mkdir()
    (place / ".git" / "HEAD").write_text("ref")
    (place / "link").symlink_to("notes.txt")
    (place / "lost").symlink_to("nowhere")
    os.mkfifo(place / "pipe")
    inode = (place / "hls" / "vivado" / "project.xpr").stat().st_ino
    fewer = bundle("two", files=5)
    publish.publish(fewer, place)
    assert (place / "hls" / "vivado" / "project.xpr").stat().st_ino == inode
    assert (place / "hls" / "vivado" / "runs").is_dir() and (place / ".git" / "HEAD").read_text() == "ref"
    assert os.readlink(place / "link") == "notes.txt" and os.readlink(place / "lost") == "nowhere"
    assert (place / "pipe").is_fifo()
    for name in ("link", "lost", "pipe", "notes.txt"):
        (place / name).unlink()
    shutil.rmtree(place / "hls")
    shutil.rmtree(place / ".git")
    assert holds(place, fewer)
    assert os.listdir(tmp_path) == ["model"]


@pytest.mark.parametrize(
    "manifest",
    [
        b"{}",
        b"[]",
        b'{"name": "my browser extension", "manifest_version": 3}',
        b"\xff",
        b"[" * 100_000,
        b'{"files": {}}',
        b'{"format": 1, "edgewright": "0", "options": {}, "engine": {}, "files": {}}',
        b'{"format": 1, "edgewright": "0", "options": {}, "files": {"a": "' + b"0" * 64 + b'"}}',
        b'{"kind": "split", "schema_version": 1, "edgewright": "0", "sub_models": [], "fusion": {"file": "a", "sha256": ""}}',
    ],
)
def test_a_manifest_of_someone_else_s_is_no_mark(manifest: bytes, tmp_path: Path) -> None:
    place = tmp_path / "project"
    place.mkdir()
    (place / "manifest.json").write_bytes(manifest)
    (place / "thesis.txt").write_text("years of work")
    before = tree(place)
    for act in (lambda: publish.check_place(place), lambda: publish.publish(bundle("one"), place)):
        assert refused(act) == ("U020", "it exists and is not a bundle")
    assert tree(place) == before and os.listdir(tmp_path) == ["project"]


def test_a_copied_manifest_takes_nothing_with_it(tmp_path: Path) -> None:
    """A manifest of ours among files that it does not list."""
    place = tmp_path / "project"
    place.mkdir()
    (place / "manifest.json").write_bytes(bundle("one")["manifest.json"])
    (place / "src").mkdir()
    (place / "src" / "main.c").write_text("int main;")
    publish.publish(bundle("two"), place)
    assert (place / "src" / "main.c").read_text() == "int main;"


@pytest.mark.parametrize("name", ["rtl/part3.sv", "report.html", "report.json"])
def test_a_changed_file_of_ours_is_not_lost(name: str, tmp_path: Path) -> None:
    place = tmp_path / "model"
    publish.publish(bundle("one"), place)
    (place / name).write_bytes((place / name).read_bytes() + b"my remark")
    before = tree(place)
    assert refused(lambda: publish.check_place(place))[0] == "U024"
    assert refused(lambda: publish.publish(bundle("two"), place))[0] == "U024"
    assert tree(place) == before and os.listdir(tmp_path) == ["model"]
    for one in {name, "report.html", "report.json"}:
        (place / one).unlink()
    publish.publish(bundle("two"), place)
    assert holds(place, bundle("two"))


def test_pages_of_earlier_versions_are_told_from_changed_files(tmp_path: Path) -> None:
    """They have no seal, so nobody knows whose they are: the refusal says what may be done."""
    place = tmp_path / "model"
    publish.publish(bundle("one"), place)
    for name in ("report.html", "report.json"):
        (place / name).write_bytes(bundle("one")[name])
    with pytest.raises(CompileError) as caught:
        publish.check_place(place)
    assert [(d.code, Path(d.at).name) for d in caught.value.diagnostics] == [("U024", "report.html"), ("U024", "report.json")]
    assert all("an earlier version" in d.because and "delete it" in d.help for d in caught.value.diagnostics)
    for name in ("report.html", "report.json"):
        (place / name).unlink()
    publish.publish(bundle("two"), place)
    assert holds(place, bundle("two"))


@pytest.mark.parametrize(("name", "folder"), [("new.bin", False), ("new.bin", True), ("model", False)])
def test_files_of_the_user_in_the_way(name: str, folder: bool, tmp_path: Path) -> None:
    place = tmp_path / "place"
    publish.publish(bundle("one"), place)
    if folder:
        (place / name).mkdir()
        (place / name / "inner").write_text("mine")
    else:
        (place / name).write_text("mine")
    before = tree(place)
    more = bundle("two") | {"new.bin": b"x", "model/a.onnx": b"y"}
    assert refused(lambda: publish.publish(more, place))[0] == "U024"
    assert tree(place) == before and os.listdir(tmp_path) == ["place"]


def test_the_same_file_in_the_way_is_none(tmp_path: Path) -> None:
    place = tmp_path / "place"
    publish.publish(bundle("one"), place)
    (place / "new.bin").write_bytes(b"x")
    publish.publish(bundle("two") | {"new.bin": b"x"}, place)
    assert (place / "new.bin").read_bytes() == b"x"
    assert os.listdir(tmp_path) == ["place"]


def test_a_link_to_a_folder_stays(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    link = tmp_path / "link"
    link.symlink_to("disk")
    publish.publish(bundle("one"), link)
    publish.publish(bundle("two"), link)
    assert link.is_symlink() and holds(tmp_path / "disk", bundle("two"))


@pytest.fixture
def odd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with everything that is no folder to write, which is also the current one."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("mine")
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "loop").symlink_to("loop")
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as one:
        one.bind("socket")
        yield tmp_path


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "/",
        "/dev/null",
        "/proc/model",
        "file",
        "file/model",
        "dangling",
        "dangling/model",
        "loop",
        "pipe",
        "socket",
        "x" * 256,
        "x/" * 2100 + "x",
        "a\0b",
        "\udcff" * 300,
    ],
    ids=range(17),
)
def test_odd_places_are_refused_before_the_work(name: str, odd: Path) -> None:
    before = sorted(os.listdir(odd))
    assert refused(lambda: publish.check_place(Path(name)))[0] == "U020"
    assert refused(lambda: publish.publish(bundle("one"), Path(name)))[0] == "U020"
    assert sorted(os.listdir(odd)) == before and (odd / "file").read_text() == "mine"


@pytest.mark.parametrize(
    "name", ["", ".", "/dev/null", "file/a", "none/a", "dangling", "loop", "pipe", "socket", "x" * 256, "a\0b"], ids=range(11)
)
def test_odd_files_are_refused_before_the_work(name: str, odd: Path) -> None:
    before = sorted(os.listdir(odd))
    assert refused(lambda: publish.check_file(Path(name)))[0] == "U020"
    assert refused(lambda: publish.replace_file(Path(name), b"x"))[0] == "U020"
    assert sorted(os.listdir(odd)) == before


def test_a_name_as_long_as_the_file_system_takes(tmp_path: Path) -> None:
    for _ in range(2):
        publish.publish(bundle("one"), tmp_path / ("x" * 255))
    publish.replace_file(tmp_path / ("y" * 255), b"y")
    assert sorted(map(len, os.listdir(tmp_path))) == [255, 255]


def test_a_file_that_is_read_is_not_written(tmp_path: Path) -> None:
    (tmp_path / "data.npz").write_bytes(b"x")
    (tmp_path / "link.npz").symlink_to("data.npz")
    assert refused(lambda: publish.check_file(tmp_path / "link.npz", {tmp_path / "data.npz": "data"})) == (
        "U020",
        "it is the data that is read",
    )


def test_a_link_to_a_file_stays(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"old")
    (tmp_path / "b").symlink_to("a")
    publish.replace_file(tmp_path / "b", b"new")
    assert (tmp_path / "b").is_symlink() and (tmp_path / "a").read_bytes() == b"new"


def test_files_are_replaced_together_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in "ab":
        (tmp_path / name).write_bytes(b"old")
    flushed = []

    def full(handle: int) -> None:
        flushed.append(handle)
        if len(flushed) == 2:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    code, because = refused(lambda: publish.replace_files({tmp_path / name: b"new" for name in "ab"}))
    assert (code, because) == ("U020", "No space left on device")
    assert tree(tmp_path) == {"a": b"old", "b": b"old"}


def test_without_an_exchange_of_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on file systems that have none: also when the second rename fails, or the process dies between the two."""
    monkeypatch.setattr(staging, "exchange", lambda one, other: False)
    place = tmp_path / "model"
    publish.publish(bundle("one"), place)
    (place / "notes.txt").write_text("mine")
    publish.publish(bundle("two"), place)
    assert holds(place, bundle("two") | {"notes.txt": b"mine"})
    rename = Path.rename

    def failing(path: Path, target: Path) -> Path:
        if path.name == "bundle":
            raise OSError(5, "Input/output error")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", failing)
    assert refused(lambda: publish.publish(bundle("three"), place))[0] == "U020"
    monkeypatch.setattr(Path, "rename", rename)
    assert holds(place, bundle("two") | {"notes.txt": b"mine"})
    assert os.listdir(tmp_path) == ["model"]
    left = tmp_path / ".edgewright-dead0000"
    left.mkdir()
    (left / "mark.json").write_text('{"place": "model", "inode": 0}')
    place.rename(left / "old")
    publish.check_place(place)
    assert holds(place, bundle("two") | {"notes.txt": b"mine"})
    assert os.listdir(tmp_path) == ["model"]


def test_what_an_older_version_moved_aside_comes_back(tmp_path: Path) -> None:
    publish.publish(bundle("one"), tmp_path / "model")
    (tmp_path / ".model-old-abcd1234").mkdir()
    (tmp_path / "model").rename(tmp_path / ".model-old-abcd1234" / "bundle")
    publish.check_place(tmp_path / "model")
    assert holds(tmp_path / "model", bundle("one")) and os.listdir(tmp_path) == ["model"]


def test_what_lives_or_is_not_ours_is_not_cleaned_up(tmp_path: Path) -> None:
    other = tmp_path / ".edgewright-mine0000"
    other.mkdir()
    (other / "diary.txt").write_text("mine")
    with staging.Staging(tmp_path / "model") as alive:
        publish.publish(bundle("one"), tmp_path / "model")
        assert alive.folder.is_dir()
    assert sorted(os.listdir(tmp_path)) == [".edgewright-mine0000", "model"]
    assert (other / "diary.txt").read_text() == "mine"


def test_files_that_arrive_in_the_meantime_come_along(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "model"
    publish.publish(bundle("one"), place)
    exchange = staging.exchange

    def late(one: Path, other: Path) -> bool:
        (other / "late.txt").write_text("mine")
        return exchange(one, other)

    monkeypatch.setattr(staging, "exchange", late)
    publish.publish(bundle("two"), place)
    assert holds(place, bundle("two") | {"late.txt": b"mine"})
    assert os.listdir(tmp_path) == ["model"]


def start(place: Path, text: str, count: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(place), text, str(count)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{ROOT / '.src'}:{ROOT}"},
    )


def test_killed_at_any_moment_one_bundle_is_whole(tmp_path: Path) -> None:
    """SIGKILL while bundles are written one after the other: always a whole one, with the user's file; no litter after the
    next."""
    place = tmp_path / "model"
    publish.publish(bundle("first"), place)
    (place / "notes.txt").write_text("mine")
    random_moment = random.Random(3)
    for _ in range(6):
        process = start(place, "killed", 10_000)
        assert process.stdout is not None
        process.stdout.readline()  # it has begun
        time.sleep(random_moment.uniform(0, 0.1))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        found = contents(place)
        assert found is not None and not found.changed and found.others == ("notes.txt",)
        assert len(found.ours) == len(bundle(""))
        assert (place / "notes.txt").read_text() == "mine"
    publish.publish(bundle("last"), place)
    assert holds(place, bundle("last") | {"notes.txt": b"mine"})
    assert os.listdir(tmp_path) == ["model"]


DYING = """
import os, signal, sys
from pathlib import Path
from edgewright.frontend.files.publish import publish
from tests.frontend.test_publish import bundle
seen, last = 0, int(sys.argv[2])
def count(event, arguments):
    global seen
    if event in CHANGES and any("edgewright-" in str(one) for one in arguments[:2]):
        seen += 1
        if seen == last:
            os.kill(os.getpid(), signal.SIGKILL)
CHANGES = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "shutil.rmtree", "tempfile.mkdtemp")
sys.addaudithook(count)
publish(bundle("killed", 2), Path(sys.argv[1]))
"""


@pytest.mark.parametrize("earlier", [True, False])
def test_killed_before_any_change_nothing_stays(tmp_path: Path, earlier: bool) -> None:
    """SIGKILL before the first, second ... change to the file system: the next run leaves one bundle and no litter."""
    place = tmp_path / "model"
    kills = 0
    while True:
        if earlier:
            publish.publish(bundle("first", 2), place)
            (place / "notes.txt").write_text("mine")
        process = subprocess.run(
            [sys.executable, "-c", DYING, str(place), str(kills + 1)],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": f"{ROOT / '.src'}:{ROOT}"},
        )
        publish.publish(bundle("next", 2), place)
        assert holds(place, bundle("next", 2) | ({"notes.txt": b"mine"} if earlier else {})), kills
        assert os.listdir(tmp_path) == ["model"], kills
        if process.returncode == 0:
            break
        assert process.returncode == -signal.SIGKILL
        kills += 1
        if not earlier:
            shutil.rmtree(place)
    assert kills > 8


def test_several_at_once_leave_one_whole_bundle(tmp_path: Path) -> None:
    place = tmp_path / "model"
    processes = [start(place, text, 8) for text in ("one", "two", "three")]
    while any(process.poll() is None for process in processes):
        if (place / "manifest.json").is_file():
            with staging.reading(place):
                assert whole(place)
        time.sleep(0.01)
    assert [process.wait() for process in processes] == [0, 0, 0]
    assert whole(place) and os.listdir(tmp_path) == ["model"]
    for process in processes:
        process.communicate()


def test_its_probe_may_be_cleaned_up_by_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = tempfile.mkdtemp

    def made_and_gone(*arguments: object, **options: object) -> str:
        """What another process sees is a folder without a lock: left by a dead one."""
        folder = made(*arguments, **options)  # type: ignore[call-overload]
        staging.recover(tmp_path)
        return str(folder)

    monkeypatch.setattr(tempfile, "mkdtemp", made_and_gone)
    assert publish.check_place(tmp_path / "model") == tmp_path / "model" and not os.listdir(tmp_path)


def test_results_in_odd_places(odd: Path) -> None:
    files = {"profile.html": b"p", "profile.json": b"{}"}
    for name in ("/dev/null", "file", "file/a", "dangling", "pipe", "x" * 256):
        place = Path(name)
        assert refused(partial(publish.check_results, place, "profile"))[0] == "U020"
        assert refused(partial(publish.write_results, files, place))[0] == "U020"
    publish.check_results(odd / "a" / "b", "profile")
    assert not (odd / "a").exists()
    publish.write_results(files, odd / "a" / "b")
    assert sorted(os.listdir(odd / "a" / "b")) == ["profile.html", "profile.json"]
