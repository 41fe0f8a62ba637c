"""What a command that failed prints, and its exit code."""

from __future__ import annotations

import os
import sys


def explain_failure(failure: Exception) -> int:
    """Print why a command failed and return its exit code; a bug of ours leaves a log."""
    from edgewright.frontend.report import render
    from edgewright.passes.diagnostics import CompileError, Diagnostic, Exit
    from edgewright.passes.names import plain

    if isinstance(failure, CompileError):
        error = failure
    elif isinstance(failure, MemoryError):
        because = "the model, its data and what compiling them needs are larger than this machine's memory"
        help_text = "use a machine with more memory, or fewer calibration images"
        error = CompileError([Diagnostic("C001", "out of memory", because=because, help=help_text)])
    elif isinstance(failure, OSError) and (failure.filename is not None or failure.errno is not None):
        because = failure.strerror or type(failure).__name__
        help_text = "check that the path exists, that you may use it, and that its disk has room"
        at = "" if failure.filename is None else plain(failure.filename)
        error = CompileError([Diagnostic("C002", "a file or folder cannot be used", at, because, help_text)], Exit.USAGE)
    else:
        import tempfile
        import traceback

        handle, log = tempfile.mkstemp(prefix="edgewright-", suffix=".log")
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(f"{sys.argv}\n\n{''.join(traceback.format_exception(failure))}")
        because = f"{type(failure).__name__}: {plain(failure)[:300]}"
        help_text = f"please report it with {log}"
        error = CompileError([Diagnostic("C004", "internal error, a bug in Edgewright", "", because, help_text)], Exit.BUG)
    _, err = render.consoles()
    render.error(err, error)
    return error.exit_code
