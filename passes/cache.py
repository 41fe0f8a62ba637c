"""Results of slow tools on disk, keyed by a hash of all that went into them, safe under several processes."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from edgewright.passes.diagnostics import CompileError, Diagnostic, Exit
from edgewright.passes.names import plain

DEFAULT_LIMIT_MB = 4096


def root() -> Path:
    """EDGEWRIGHT_CACHE, else $XDG_CACHE_HOME/edgewright, else ~/.cache/edgewright."""
    if chosen := os.environ.get("EDGEWRIGHT_CACHE"):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "edgewright"


def limit_bytes() -> int:
    """EDGEWRIGHT_CACHE_MB in bytes. CompileError U026 (exit 2) when it is no number of megabytes."""
    text = os.environ.get("EDGEWRIGHT_CACHE_MB") or str(DEFAULT_LIMIT_MB)
    if not re.fullmatch(r"[0-9]{1,12}", text):
        because = f"it is '{plain(text)[:40]}', and the largest size of the cache in megabytes"
        one = Diagnostic("U026", "a variable has no such value", "EDGEWRIGHT_CACHE_MB", because, "give a number like 4096")
        raise CompileError([one], Exit.USAGE)
    return int(text) << 20


def key(files: Mapping[str, str], parts: Iterable[str]) -> str:
    """Digest of named texts, in their order, and of further strings."""
    digest = hashlib.sha256()
    for text in (*(piece for item in files.items() for piece in item), "", *parts):
        encoded = text.encode()
        digest.update(len(encoded).to_bytes(8, "little"))
        digest.update(encoded)
    return digest.hexdigest()[:32]


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Holds an advisory lock on `path`, which dies with its process."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def entry(kind: str, name: str, make: Callable[[Path], None]) -> Path:
    """The folder `kind/name` of the cache; when absent, `make(folder)` fills it.

    A second process that asks for the same entry waits for the first. `make` works in a scratch folder that takes
    its final name in one rename, so that a folder of that name is always complete, whatever was killed when.
    """
    limit_bytes()  # refused before the work
    folder = root() / kind / name
    if folder.is_dir():
        _touch(folder)
        return folder
    with locked(root() / kind / f".{name}.lock"):
        if not folder.is_dir():
            for abandoned in (root() / kind).glob(f".{name}.*/"):
                shutil.rmtree(abandoned, ignore_errors=True)
            scratch = Path(tempfile.mkdtemp(prefix=f".{name}.", dir=root() / kind))
            try:
                make(scratch)
                _touch(scratch)
                scratch.rename(folder)
            finally:
                shutil.rmtree(scratch, ignore_errors=True)
            _evict(root() / kind, keep=folder)
    return folder


def _touch(folder: Path) -> None:
    (folder / ".used").touch()


def _evict(kind: Path, keep: Path) -> None:
    """Drops the entries unused for longest until the rest fit the limit."""
    limit = limit_bytes()
    entries = sorted(((path / ".used").stat().st_mtime, path) for path in kind.iterdir() if (path / ".used").exists())
    sizes = {path: sum(file.stat().st_size for file in path.rglob("*") if file.is_file()) for _, path in entries}
    total = sum(sizes.values())
    for _, path in entries:
        if total <= limit:
            return
        if path != keep and not path.name.startswith("."):
            shutil.rmtree(path, ignore_errors=True)
            total -= sizes[path]
