"""The long texts of the codes this room raises: first line the title, then what it means and what to do."""

from __future__ import annotations

TEXTS: dict[str, str] = {
    "T010": """the C compiler is missing
The CPU kernels are C, compiled for the target by the clang of PyPI's package ziglang, which needs no installation
besides `pip install ziglang` and also compiles for other architectures.""",
    "T011": """the C compiler failed
The kernels of this compiler and the glue it prints always compile; what the C compiler said is in the message. A full
disk or a broken installation of ziglang are the usual reasons: `python -m ziglang version` should print a version.
Otherwise it is a bug in Edgewright.""",
}
