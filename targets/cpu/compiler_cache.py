"""The C library that zig compiles and caches: checked before it is linked, since zig does not check its cache.

An emptied start file links without an error, into programs that crash.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from edgewright.passes import cache
from edgewright.passes.sealed_folder import SEAL, intact, seal, sealed_names

GLOBAL, LOCAL = "ZIG_GLOBAL_CACHE_DIR", "ZIG_LOCAL_CACHE_DIR"


@contextlib.contextmanager
def checked_library() -> Iterator[Path]:
    """Give the body zig's global cache: first remove it if it is damaged, and seal at the end what the body has added.

    A folder that the user chose is not checked. CompileError T057 when the cache cannot be used.
    """
    if chosen := os.environ.get(GLOBAL):
        yield Path(chosen)
        return
    folder = cache.root() / "zig"
    objects = folder / "o"  # named by content, never changed; the other files list what went into these
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder.parent / "zig.lock", os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        cache.unusable(folder, error)
    try:
        cache.lock(handle, fcntl.LOCK_SH)
        if objects.is_dir() and not intact(objects):
            cache.lock(handle, fcntl.LOCK_EX)  # waits for the processes that use it
            if not intact(objects):
                shutil.rmtree(folder, ignore_errors=True)
            cache.lock(handle, fcntl.LOCK_SH)
        yield folder
        with contextlib.suppress(OSError):  # other processes still write: the last one seals
            cache.lock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if objects.is_dir() and not _known(objects):
                seal(objects)
    finally:
        os.close(handle)


def _known(objects: Path) -> bool:
    """Return whether the seal lists all files."""
    with contextlib.suppress(OSError, ValueError):
        there = {str(path.relative_to(objects)) for path in objects.rglob("*") if path.is_file()}
        return there - {SEAL} <= sealed_names(objects)
    return False
