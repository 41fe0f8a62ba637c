"""Folders that are written next to their place and take it at once, whatever process is killed when.

    PLACE/../.edgewright-XXXXXXXX/     locked (flock) as long as its process lives
        mark.json                      whose place it is to take
        writing/                       files of ours, not complete yet
        bundle/                        complete; after the exchange: what was in the place before
        old/                           as bundle/, where the system cannot exchange two names

What a dead process left is put back or cleaned up by the next one. All of this happens under a lock on the parent folder.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import re
import shutil
import tempfile
import time
from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
from edgewright.frontend.files.ownership import contents, entries, vouches
from edgewright.passes.documents import Unreadable, digest, read_json

PREFIX = ".edgewright-"
MARK = "mark.json"
FLUSHED_AT_ONCE = 16
PARENT_PATIENCE_S = 60.0
READER_PATIENCE_S = 20.0
_NAME = re.compile(r"\.edgewright-[a-z0-9_]{8}")
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2
_NO_EXCHANGE = (errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP)


class Mark(msgspec.Struct, frozen=True):
    """What a staging folder is for: the name that it takes in its parent. inode: of what is to take it."""

    place: str
    inode: int


class Staging:
    """A folder on its way to ``place``, an absolute path whose parent exists. OSError as the file system says."""

    def __init__(self, place: Path) -> None:
        self.place = place
        with locked_parent(place.parent):
            self.folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=place.parent))
            self._handle = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY)
            try:
                _flock(self._handle, fcntl.LOCK_EX, 0.0)
                self.writing.mkdir()
                self.mark = Mark(place.name, self.writing.stat().st_ino)
                (self.folder / MARK).write_bytes(msgspec.json.encode(self.mark))
            except BaseException:
                os.close(self._handle)
                shutil.rmtree(self.folder)
                raise

    def __enter__(self) -> Staging:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            with locked_parent(self.place.parent):
                clear(self.folder, self.place, self.mark)
        finally:
            os.close(self._handle)

    def write(self, files: Mapping[str, bytes], programs: Collection[str]) -> None:
        """Write all files; they are on the disk when this returns."""
        writing = self.writing
        folders = {writing}
        for name, content in files.items():
            path = writing / name
            path.parent.mkdir(parents=True, exist_ok=True)
            folders.update(writing / parent for parent in Path(name).parents)
            path.write_bytes(content)
            if name in programs:
                path.chmod(0o755)
        with ThreadPoolExecutor(FLUSHED_AT_ONCE) as pool:  # a disk commits many at once
            list(pool.map(flush, [*(writing / name for name in files), *folders]))
        writing.rename(self.folder / "bundle")

    @property
    def writing(self) -> Path:
        """The folder for files that are not complete; what stays in it is removed in the end."""
        return self.folder / "writing"

    def take_place(self, others: Collection[str]) -> None:
        """Exchange with what is in the place, whose files ``others`` come along. To be called under `locked_parent`."""
        ready, place = self.folder / "bundle", self.place
        if not os.path.lexists(place):
            ready.rename(place)
            flush(place.parent)
            return
        adopt(others, place, ready)
        shutil.copymode(place, ready)
        with locked(place, fcntl.LOCK_EX, READER_PATIENCE_S):
            if not exchange(ready, place):
                place.rename(self.folder / "old")
                try:
                    ready.rename(place)
                except OSError:
                    (self.folder / "old").rename(place)
                    raise
            flush(place.parent)


@contextlib.contextmanager
def locked_parent(parent: Path) -> Iterator[None]:
    """Let one process at a time change what lies in a folder. OSError ETIMEDOUT when another one does not end."""
    with locked(parent, fcntl.LOCK_EX, PARENT_PATIENCE_S) as held:
        if held is False:
            raise OSError(errno.ETIMEDOUT, "another process has been writing there for a minute", str(parent))
        yield


@contextlib.contextmanager
def temporary_file(parent: Path) -> Iterator[tuple[Path, int]]:
    """Yield a new file in a folder with its handle, removed in the end where it has not taken another name."""
    with locked(parent, fcntl.LOCK_SH, PARENT_PATIENCE_S):  # or it would be cleaned up before it has its own lock
        handle, name = tempfile.mkstemp(prefix=PREFIX, dir=parent)
        _flock(handle, fcntl.LOCK_EX, 0.0)
    try:
        yield Path(name), handle
    finally:
        Path(name).unlink(missing_ok=True)
        os.close(handle)


@contextlib.contextmanager
def reading(directory: Path) -> Iterator[None]:
    """Keep what is in a folder there until this ends: nobody takes its place. Do nothing where there is no such folder."""
    handle = None
    with contextlib.suppress(OSError):
        while handle is None:
            handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
            _flock(handle, fcntl.LOCK_SH, READER_PATIENCE_S)
            if not os.path.samestat(os.fstat(handle), os.stat(directory)):  # it was exchanged while this waited
                os.close(handle)
                handle = None
    try:
        yield
    finally:
        if handle is not None:
            os.close(handle)


@contextlib.contextmanager
def locked(path: Path, kind: int, patience_s: float) -> Iterator[bool | None]:
    """Hold an advisory lock on a file or folder that ends with its process; yield whether it is held, None where the file
    system has no such locks."""
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
    try:
        yield _flock(handle, kind, patience_s)
    finally:
        os.close(handle)


def _flock(handle: int, kind: int, patience_s: float) -> bool | None:
    end = time.monotonic() + patience_s
    while True:
        try:
            fcntl.flock(handle, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= end:
                return False
            time.sleep(0.01)
        except OSError:
            return None
        else:
            return True


def exchange(path: Path, other: Path) -> bool:
    """Swap two names at once (Linux 3.15); False where the system or the file system cannot."""
    call = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if call is None:
        return False
    if call(_AT_FDCWD, os.fsencode(path), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE) == 0:
        return True
    number = ctypes.get_errno()
    if number in _NO_EXCHANGE:
        return False
    raise OSError(number, os.strerror(number), str(path))


def adopt(names: Collection[str], place: Path, ready: Path) -> None:
    """Give ``ready`` the files of ``place`` too, as further links to them, so that no moment has them in neither."""
    for name in names:
        source, target = place / name, ready / name
        if os.path.lexists(target):
            continue
        for parent in reversed(Path(name).parents[:-1]):
            if not (ready / parent).is_dir():
                (ready / parent).mkdir()
                shutil.copystat(place / parent, ready / parent)
        if source.is_dir() and not source.is_symlink():
            target.mkdir()
            shutil.copystat(source, target)
        else:
            with contextlib.suppress(OSError):  # no second names on this file system: `retire` moves it
                os.link(source, target, follow_symlinks=False)


def recover(parent: Path) -> None:
    """Put back or clean up what dead processes left in a folder. To be called under `locked_parent`."""
    for folder in sorted(parent.glob(f"{PREFIX}*")):
        if not _NAME.fullmatch(folder.name):
            continue
        with contextlib.suppress(OSError), locked(folder, fcntl.LOCK_EX, 0.0) as dead:
            if not dead:
                continue
            if folder.is_file():
                folder.unlink()
                continue
            try:
                mark = read_json(folder / MARK, Mark)
            except Unreadable:
                _remove_unmarked(folder)
                continue
            if Path(mark.place).name == mark.place:
                clear(folder, parent / mark.place, mark)


def recover_moved(place: Path) -> None:
    """Put back a bundle that an older version had moved aside when it was killed."""
    for old in sorted(place.parent.glob(".*-old-*/bundle")):
        name = old.parent.name
        if re.fullmatch(re.escape(f".{place.name}-old-") + "[a-z0-9_]{8}", name) and not os.path.lexists(place):
            inside = contents(old)
            if inside is not None and inside.ours:
                old.rename(place)
                old.parent.rmdir()


def clear(folder: Path, place: Path, mark: Mark) -> None:
    """Remove a staging folder; what is not ours in it goes to ``place``, or keeps the folder where it is."""
    old, bundle = folder / "old", folder / "bundle"
    if old.is_dir() and not os.path.lexists(place):
        old.rename(place)
    for left in (folder / "writing", bundle):
        if left.is_dir() and left.stat().st_ino == mark.inode:  # it never took its place: all of it is ours, or a second link
            shutil.rmtree(left)
    for left in (old, bundle):
        if left.is_dir():
            retire(left, place)
    if {path.name for path in folder.iterdir()} <= {MARK}:
        (folder / MARK).unlink(missing_ok=True)
        folder.rmdir()


def retire(old: Path, place: Path) -> None:
    """Remove what is ours of a folder, and links to what ``place`` has; move what came in the meantime to ``place``."""
    place.mkdir(exist_ok=True)
    inside = contents(old)
    ours = frozenset[str]() if inside is None else inside.ours
    for name in sorted(entries(old), key=vouches):  # what says that others are ours goes after them
        with contextlib.suppress(OSError):  # it stays, and the next one tries again
            _retire_entry(old, place, name, name in ours)
    with contextlib.suppress(OSError):
        old.rmdir()


def _retire_entry(old: Path, place: Path, name: str, is_ours: bool) -> None:
    path, other = old / name, place / name
    if not os.path.lexists(path):
        return
    if path.is_dir() and not path.is_symlink():
        if not os.path.lexists(other):
            other.mkdir(parents=True)
        path.rmdir()
    elif is_ours or _same(path, other):
        path.unlink()
    elif not os.path.lexists(other):
        other.parent.mkdir(parents=True, exist_ok=True)
        path.rename(other)
    _remove_empty(path.parent, old)


def flush(path: Path) -> None:
    """Write what a file or folder holds to the disk, so that it survives a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):  # a file system that cannot do this for folders
            raise
    finally:
        os.close(handle)


def _same(path: Path, other: Path) -> bool:
    """Return whether two names are one file, or two links to the same place, or files with the same bytes."""
    if not os.path.lexists(other):
        return False
    if os.path.samestat(path.lstat(), other.lstat()):
        return True
    if path.is_symlink() and other.is_symlink():
        return path.readlink() == other.readlink()
    hashed = digest(path)
    return hashed is not None and hashed == digest(other)


def _remove_empty(folder: Path, top: Path) -> None:
    while folder != top:
        try:
            folder.rmdir()
        except OSError:
            return
        folder = folder.parent


def _remove_unmarked(folder: Path) -> None:
    """Remove what a process left that was killed before it wrote the mark: at most an empty mark and an empty folder."""
    writing, mark = folder / "writing", folder / MARK
    if {path.name for path in folder.iterdir()} <= {MARK, "writing"} and not (mark.exists() and mark.stat().st_size):
        if writing.is_dir():
            writing.rmdir()
        mark.unlink(missing_ok=True)
        folder.rmdir()
