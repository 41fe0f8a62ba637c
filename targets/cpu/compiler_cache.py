"""The C library that zig compiles for itself and keeps: checked before it is linked, since zig believes what it finds.

An emptied start file links without a word, into programs that crash.
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
    """zig's global cache while the body runs zig. What was damaged is gone; what the body adds is sealed, if it ends well.

    A folder that the user chose is theirs, and is not looked at. CompileError T057 when the cache cannot be used.
    """
    if chosen := os.environ.get(GLOBAL):
        yield Path(chosen)
        return
    folder = cache.root() / "zig"
    objects = folder / "o"  # named by content, never changed; the rest are lists of what went into them
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder.parent / "zig.lock", os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        cache.unusable(folder, error)
    try:
        cache.lock(handle, fcntl.LOCK_SH)
        if objects.is_dir() and not intact(objects):
            cache.lock(handle, fcntl.LOCK_EX)  # waits for those who use it
            if not intact(objects):
                shutil.rmtree(folder, ignore_errors=True)
            cache.lock(handle, fcntl.LOCK_SH)
        yield folder
        with contextlib.suppress(OSError):  # others still write: the last one seals
            cache.lock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if objects.is_dir() and not _known(objects):
                seal(objects)
    finally:
        os.close(handle)


def _known(objects: Path) -> bool:
    """Whether the seal has all files."""
    with contextlib.suppress(OSError, ValueError):
        there = {str(path.relative_to(objects)) for path in objects.rglob("*") if path.is_file()}
        return there - {SEAL} <= sealed_names(objects)
    return False
