"""What is written is whole or absent, and nothing that this program did not write is removed or overwritten.

Folders: `check_place` before the work, `publish` after it. Files: `check_file` and `replace_files`. Results inside a
bundle: `write_results`.
"""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from edgewright.frontend.files import staging
from edgewright.frontend.files.ownership import RESULTS, Contents, contents, sealed
from edgewright.passes.diagnostics import CompileError, Diagnostic, Exit
from edgewright.passes.manifest import MANIFEST
from edgewright.passes.names import plain

ALWAYS = (MANIFEST, "report.html", "report.json")
ELSEWHERE = "choose a folder you can write to with -o"
ANOTHER = "choose a new folder with -o, or remove this one"
_LONGEST_INSIDE = 120
_TAKEN = "it was changed or is yours, and the result has a file of this name"
_PAGES = frozenset(f"{stem}{ending}" for stem in RESULTS for ending in (".html", ".json"))
_TAKEN_PAGE = "it has no seal that fits: it was changed, is yours, or an earlier version of Edgewright wrote it, without a seal"
_KINDS = (
    (stat.S_ISREG, "a file"),
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def publish(files: Mapping[str, bytes], directory: Path, programs: Collection[str] = ()) -> None:
    """Write ``files`` (relative path -> content) to ``directory``, ``programs`` executable, in place of an earlier result.

    Files of the user's in it stay where they are. A failure or interruption leaves what was there before. Raises
    ``CompileError`` (exit 2): U020 when nothing can be written there, U024 when a file of the user's would be lost.
    """
    files = sealed(files)
    with refusing(directory, ELSEWHERE):
        place = check_place(directory)
        place.parent.mkdir(parents=True, exist_ok=True)
        with staging.Staging(place) as beside:
            beside.write(files, programs)
            with staging.locked_parent(place.parent):
                beside.take_place(_others(directory, place, files))


def check_place(directory: Path) -> Path:
    """Return the folder that will be written, links followed, and refuse early what could not be published later.

    CompileError (exit 2): U020 for files, devices, links that lead nowhere, folders of somebody else's, the current folder
    and unwritable places; U024 for files of ours that were changed since. Cleans up what dead processes left."""
    with refusing(directory, ELSEWHERE):
        place = _resolved(directory)
        here = Path(os.path.realpath(Path.cwd()))
        if place == here or place in here.parents:
            because = "this command runs in it, so another folder cannot take its place"
            raise refusal(directory, because, "name a folder inside it, like -o ./model (or was a variable empty?)")
        os.stat(_existing(place))
        with contextlib.suppress(FileNotFoundError):  # the longest path inside, as the file system would see it
            os.lstat(place.parent / f"{staging.PREFIX}{'x' * 8}" / "bundle" / ("x" * _LONGEST_INSIDE))
        if os.path.lexists(place):
            if not place.is_dir():
                raise refusal(directory, f"it is {kind_of(place)}, not a folder", "choose a new folder with -o")
            if os.path.ismount(place):
                because = "something is mounted there, so another folder cannot take its place"
                raise refusal(directory, because, "name a folder inside it")
            if not os.access(place, os.R_OK | os.W_OK | os.X_OK):
                raise refusal(directory, "it cannot be written to", ELSEWHERE)
        parent = _existing(place.parent)
        if not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
            raise refusal(directory, f"{parent} cannot be written to", ELSEWHERE)
        if parent == place.parent:
            with staging.locked_parent(parent):
                staging.recover_moved(place)
                staging.recover(parent)
        probe = tempfile.mkdtemp(prefix=staging.PREFIX, dir=parent)  # the only proof that it can be written to
        with contextlib.suppress(FileNotFoundError):  # another process may clean it up first, as if a dead one had left it
            os.rmdir(probe)
        if os.path.lexists(place):
            with staging.reading(place):
                _others(directory, place, dict.fromkeys(ALWAYS))
    return place


def check_file(path: Path, inputs: Mapping[Path, str] | None = None) -> Path:
    """Return the file that will be written, links followed. CompileError U020 (exit 2) for folders, devices, pipes, links
    that lead nowhere, unwritable places, and for files that the same command reads (``inputs``: what each of them is)."""
    help_text = "choose another file with -o"
    with refusing(path, help_text):
        place = _resolved(path)
        for read, role in (inputs or {}).items():
            if place.exists() and read.exists() and read.samefile(place):
                raise refusal(path, f"it is the {role} that is read", "write the result elsewhere with -o")
        if os.path.lexists(place) and not place.is_file():
            raise refusal(path, f"it is {kind_of(place)}", "name a file, like small.onnx")
        if not place.parent.is_dir():
            raise refusal(path, f"there is no folder {place.parent}", "make it, or choose another with -o")
        if not os.access(place.parent, os.W_OK | os.X_OK):
            raise refusal(path, f"{place.parent} cannot be written to", help_text)
        with staging.temporary_file(place.parent):  # the only proof that it can be written to
            pass
    return place


def check_results(directory: Path, stem: str) -> None:
    """Refuse early what `write_results` could not do later, in a folder that may not exist yet. CompileError U020 (exit 2)."""
    with refusing(directory, ELSEWHERE):
        nearest = _existing(_resolved(directory))
        if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
            raise refusal(directory, f"{nearest} is not a folder that can be written to", ELSEWHERE)
    if directory.is_dir():
        for ending in (".html", ".json"):
            check_file(directory / f"{stem}{ending}")


def replace_file(path: Path, content: bytes) -> None:
    """Replace one file at once."""
    replace_files({path: content})


def replace_files(files: Mapping[Path, bytes]) -> None:
    """Replace files: all are on the disk under other names before the first takes its own. CompileError U020 (exit 2)."""
    path = Path()
    try:
        with contextlib.ExitStack() as stack:
            written: dict[Path, Path] = {}
            for path, content in files.items():
                place = check_file(path)
                written[place], handle = stack.enter_context(staging.temporary_file(place.parent))
                with os.fdopen(handle, "wb", closefd=False) as file:
                    file.write(content)
                os.fchmod(handle, 0o644)
                os.fsync(handle)
            for place, temporary in written.items():
                temporary.replace(place)
            for folder in {place.parent for place in written}:
                staging.flush(folder)
    except OSError as error:
        raise refusal(path, error.strerror or str(error), "choose a folder you can write to") from error


@contextlib.contextmanager
def written_beside(path: Path) -> Iterator[Path]:
    """Yield a path next to ``path`` for a tool that writes by itself; what it wrote takes its place in the end, even after
    a failure, when somebody will look at it."""
    place = check_file(path)
    with staging.Staging(place) as beside:
        folder = beside.writing
        try:
            yield folder / place.name
        finally:
            for written in folder.iterdir():
                written.replace(place.with_name(written.name))


def write_results(files: Mapping[str, bytes], directory: Path) -> None:
    """Renew a page and its figures (see `ownership.RESULTS`) in a folder. CompileError U020 (exit 2)."""
    with refusing(directory, ELSEWHERE):
        directory.mkdir(parents=True, exist_ok=True)
    with staging.reading(directory):
        replace_files({directory / name: content for name, content in sealed(files, directory).items()})


def refusal(path: Path, because: str, help_text: str) -> CompileError:
    """Return the error for a place that cannot be written."""
    at, because = plain(path), plain(because)
    return CompileError([Diagnostic("U020", "the output cannot be written", at, because, help_text)], Exit.USAGE)


@contextlib.contextmanager
def refusing(path: Path, help_text: str) -> Iterator[None]:
    """Turn what the file system says against a place into its refusal (CompileError U020, exit 2)."""
    try:
        yield
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise refusal(path, getattr(error, "strerror", None) or str(error), help_text) from error


def kind_of(path: Path) -> str:
    """Return what a path is, in words."""
    mode = path.lstat().st_mode
    return next((words for test, words in _KINDS if test(mode)), "something else")


def _others(directory: Path, place: Path, files: Mapping[str, bytes | None]) -> tuple[str, ...]:
    """Return the user's files in a place. CompileError: U020 for a folder that is not ours, U024 for lost files."""
    if not os.path.lexists(place):
        return ()
    inside = contents(place)
    if inside is None:
        raise refusal(directory, "it exists and is not a bundle", ANOTHER)
    lost = [(name, "it was changed since it was written") for name in inside.changed]
    lost += [(name, _TAKEN_PAGE if name in _PAGES else _TAKEN) for name in _collisions(inside, place, files)]
    if lost:
        message, help_text = (
            "a file in the output folder would be lost",
            "move it away, or choose a new folder with -o; delete it if it may go",
        )
        refusals = [Diagnostic("U024", message, plain(place / name), because, help_text) for name, because in lost[:8]]
        raise CompileError(refusals, Exit.USAGE)
    return inside.others


def _collisions(inside: Contents, place: Path, files: Mapping[str, bytes | None]) -> Iterator[str]:
    """Yield the user's entries where a file or a folder of the result is to be, unless it is the same file."""
    folders = {str(parent) for name in files for parent in Path(name).parents[:-1]}
    for name in inside.others:
        path = place / name
        if any(str(parent) in files for parent in Path(name).parents[:-1]):
            yield name
        elif name in files:
            content = files[name]
            if content is None or path.is_symlink() or not path.is_file() or path.read_bytes() != content:
                yield name
        elif name in folders and not (path.is_dir() and not path.is_symlink()):
            yield name


def _resolved(path: Path) -> Path:
    """Return an absolute path without links and `..`. CompileError U020 for links that lead nowhere."""
    for part in (path.absolute(), *path.absolute().parents):
        if part.is_symlink() and not part.exists():
            raise refusal(path, f"{part} is a link that leads nowhere", "remove the link, or make what it leads to")
    return Path(os.path.realpath(path))


def _existing(path: Path) -> Path:
    """Return a path, or the nearest folder above it that exists. OSError for names that the file system does not take."""
    while True:
        try:
            path.lstat()
        except FileNotFoundError:
            path = path.parent
        else:
            return path
