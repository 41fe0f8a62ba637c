"""Results of slow tools on disk, keyed by a hash of all that went into them, safe under several processes.

An entry is a folder. It is sealed when it is made and compared with its seal on every use; a damaged one (full disk, power
cut, manual change) is made again. A process that uses an entry holds a shared lock on it, so that no other process evicts
it.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import platform
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from edgewright.passes.diagnostics import Exit, fail
from edgewright.passes.sealed_folder import intact, seal, sync, to_disk

DEFAULT_LIMIT_MB = 4096
LIMIT_VARIABLE = "EDGEWRIGHT_CACHE_MB"
_USED = ".used"  # its time is that of the last use, its lock that of the users
_HELD_MAX = 64
_NO_ROOM_BYTES = 1 << 20
_NO_ROOM_WORDS = ("No space left", "NoSpaceLeft", "quota exceeded", "DiskQuota")  # of compilers
_UNSUPPORTED = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS)  # locks on some network file systems

_held: dict[Path, int] = {}  # entry -> descriptor with the shared lock; the oldest go beyond _HELD_MAX
_held_guard = threading.Lock()


def root() -> Path:
    """EDGEWRIGHT_CACHE, else $XDG_CACHE_HOME/edgewright, else ~/.cache/edgewright; absolute. CompileError T057 without home."""
    if chosen := os.environ.get("EDGEWRIGHT_CACHE"):
        return Path(chosen).absolute()
    if chosen := os.environ.get("XDG_CACHE_HOME"):
        return Path(chosen).absolute() / "edgewright"
    try:
        return Path.home() / ".cache" / "edgewright"
    except RuntimeError as error:
        unusable(Path("~"), error)


def key(files: Mapping[str, str], parts: Iterable[str]) -> str:
    """Digest of named texts, in their order, of further strings, and of the architecture that runs the tools."""
    digest = hashlib.sha256()
    for text in (*(piece for item in files.items() for piece in item), "", platform.machine(), *parts):
        encoded = text.encode()
        digest.update(len(encoded).to_bytes(8, "little"))
        digest.update(encoded)
    return digest.hexdigest()[:32]


@contextmanager
def locked(path: Path) -> Iterator[bool]:
    """Hold an advisory lock on `path`, which ends with its process. Return False where the file system has no locks."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w") as handle:
        yield lock(handle.fileno(), fcntl.LOCK_EX)


def entry(kind: str, name: str, make: Callable[[Path], None]) -> Path:
    """Return the folder `kind/name` of the cache; when it is absent or damaged, `make(folder)` fills it.

    A second process that asks for the same entry waits for the first. `make` works in a scratch folder that takes
    its final name in one rename, so that a folder of that name is always complete, whatever was killed when. No other
    process evicts the entry before this one ends or has asked for many others. CompileError T057 when the cache's
    folder cannot be used, T058 when its limit is no number; a cache that cannot be written still gives what it has.
    """
    limit = _limit_bytes()
    folder = root() / kind / name
    if _hold(folder):
        return folder
    with contextlib.ExitStack() as stack:
        try:
            alone = stack.enter_context(locked(folder.parent / f".{name}.lock"))
        except OSError as error:
            unusable(folder.parent, error)
        if not _hold(folder):
            _build(folder, make, alone)
            _evict(folder.parent, limit, keep=folder)
    return folder


def existing(kind: str, name: str) -> Path | None:
    """Return the folder `kind/name` of the cache, as `entry`; None when it is absent or damaged."""
    folder = root() / kind / name
    return folder if _hold(folder) else None


def _limit_bytes() -> int:
    text = os.environ.get(LIMIT_VARIABLE) or str(DEFAULT_LIMIT_MB)
    if not (text.isascii() and text.isdecimal() and len(text) <= 12):
        fail(
            "T058",
            f"{LIMIT_VARIABLE} is not a whole number",
            LIMIT_VARIABLE,
            f"it is {text[:80]!r}",
            f"give the cache's limit in MB, e.g. {DEFAULT_LIMIT_MB}, or unset it",
            exit=Exit.USAGE,
        )
    return int(text) << 20


def _build(folder: Path, make: Callable[[Path], None], alone: bool) -> None:
    """Make, seals, publishes and holds an entry. alone: the caller has its lock, so what others left is abandoned."""
    try:
        for abandoned in folder.parent.glob(f".{folder.name}.*/") if alone else ():
            shutil.rmtree(abandoned, ignore_errors=True)
        scratch = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    except OSError as error:
        unusable(folder.parent, error)
    try:
        try:
            make(scratch)
        except Exception as error:
            if _no_room(scratch, error):
                unusable(folder.parent, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), error)
            raise
        try:
            (scratch / _USED).touch()
            seal(scratch)
            to_disk(scratch)
            handle = os.open(scratch / _USED, os.O_RDONLY)
            lock(handle, fcntl.LOCK_SH)  # before others can see it
            _keep(folder, handle)
            _publish(scratch, folder)
        except OSError as error:
            unusable(folder.parent, error)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _publish(scratch: Path, folder: Path) -> None:
    if folder.exists():
        if _hold(folder):  # somebody was faster, where there are no locks
            return
        _discard(folder)
    try:
        scratch.rename(folder)
        sync(folder.parent)
    except OSError:
        if not _hold(folder):
            raise


def _hold(folder: Path) -> bool:
    """Return whether the entry is there and whole; it is then kept from eviction by other processes."""
    try:
        handle = os.open(folder / _USED, os.O_RDONLY)
    except OSError:
        return False
    try:
        lock(handle, fcntl.LOCK_SH)
        there = os.path.samestat(os.fstat(handle), os.stat(folder / _USED))  # not evicted while we waited
        if there and intact(folder):
            with contextlib.suppress(OSError):  # of another user, or on a read-only disk
                os.utime(handle)
            _keep(folder, handle)
            return True
    except OSError:
        pass
    os.close(handle)
    return False


def _keep(folder: Path, handle: int) -> None:
    with _held_guard:
        dropped = [_held.pop(folder)] if folder in _held else []
        _held[folder] = handle
        dropped += [_held.pop(next(iter(_held))) for _ in range(len(_held) - _HELD_MAX)]
    for unused in dropped:
        os.close(unused)


def _evict(kind: Path, limit: int, keep: Path) -> None:
    """Drop the entries unused for longest until the rest fit the limit, but for those that other processes use."""
    _sweep(kind)
    entries = []
    for path in kind.iterdir():
        with contextlib.suppress(OSError):  # gone meanwhile
            if not path.name.startswith("."):
                entries.append((path in _held, (path / _USED).stat().st_mtime, path))
    sizes = {path: _size(path) for *_, path in entries}
    total = sum(sizes.values())
    for *_, path in sorted(entries):
        if total <= limit:
            return
        if path != keep and _evict_one(path):
            total -= sizes[path]


def _evict_one(folder: Path) -> bool:
    """Remove an entry that no other process uses; return whether it was removed."""
    with _held_guard:
        ours = _held.pop(folder, None)
    if ours is not None:
        os.close(ours)
    with contextlib.suppress(OSError):
        handle = os.open(folder / _USED, os.O_RDONLY)
        try:
            free = lock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if free and os.path.samestat(os.fstat(handle), os.stat(folder / _USED)):
                _discard(folder)
                return True
        finally:
            os.close(handle)
    return False


def _discard(folder: Path) -> None:
    """Remove an entry, whose name is free at once."""
    away = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    folder.rename(away / "old")
    shutil.rmtree(away, ignore_errors=True)


def _sweep(kind: Path) -> None:
    """Remove what killed processes left of entries that no process is making."""
    for path in kind.glob(".*.*/"):
        with contextlib.suppress(OSError), open(kind / f"{path.name.rpartition('.')[0]}.lock", "a") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(path, ignore_errors=True)


def _size(folder: Path) -> int:
    total = 0
    with contextlib.suppress(OSError):  # another process evicts it meanwhile
        for path in folder.rglob("*"):
            with contextlib.suppress(OSError):
                total += path.stat().st_size if path.is_file() else 0
    return total


def lock(handle: int, how: int) -> bool:
    """flock(2); False where the file system has none: then two processes may make the same, and one wins."""
    try:
        fcntl.flock(handle, how)
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise
        return False
    return True


def _no_room(folder: Path, error: Exception) -> bool:
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return True
    with contextlib.suppress(OSError):
        disk = os.statvfs(folder)
        if disk.f_bavail * disk.f_frsize < _NO_ROOM_BYTES:
            return True
    return says_no_room(str(error))


def says_no_room(text: str) -> bool:
    """Return whether a tool's message says that the disk is full."""
    return any(word in text for word in _NO_ROOM_WORDS)


def unusable(folder: Path, error: Exception, cause: Exception | None = None) -> NoReturn:
    """Raise CompileError T057: `folder` of the cache cannot be used because of `error`."""
    because = getattr(error, "strerror", None) or str(error)
    help_text = "free some space or give write permission there, or set EDGEWRIGHT_CACHE to another folder"
    message = "the cache of compiled files cannot be used"
    fail("T057", message, str(folder), because, help_text, Exit.USAGE, cause or error)
