"""Names that come from a model, made safe for generated code, files and pages.

A model's names are data: they may hold quotes, path separators, newlines or another language's keywords.  Reports
show them escaped; everything that is generated uses `safe_identifier`.
"""

from __future__ import annotations

import hashlib
import re

_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9]*(_[A-Za-z0-9]+)*")
_DIGEST = re.compile(r"_h[0-9a-f]{12}$")
_LONGEST = 48


def plain(text: object) -> str:
    """Return a text of one line in which every control character, bidirectional override or lone surrogate is spelled out."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in str(text))


def safe_identifier(name: str, prefix: str = "n_") -> str:
    """`prefix` and a C, SystemVerilog, Tcl and file-name safe spelling of `name`: letters, digits, single underscores.

    Depends on `name` only.  Different names get different identifiers: what is not plain already (or is too long, or
    looks like the result of this function) carries 48 bits of its SHA-256.  The prefix keeps keywords away.
    """
    if _PLAIN.fullmatch(name) and len(name) <= _LONGEST and not _DIGEST.search(name):
        return prefix + name
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:12]
    readable = "_".join(part for part in re.split(r"[^A-Za-z0-9]+", name) if part)[: _LONGEST - 14].strip("_")
    return f"{prefix}{readable or 'x'}_h{digest}"
