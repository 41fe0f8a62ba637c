"""Colours of the pages. Plots use colours that nobody would draw with, each replaced by a CSS variable of the page, so that
they follow light, dark and print."""

from __future__ import annotations

from collections.abc import Iterable

_NAMES = ("ink", "muted", "line", "accent", "good", "warn", "bad", "paper")
CSS = {f"#0101{i:02x}": f"var(--{name})" for i, name in enumerate(_NAMES, 1)}
INK, MUTED, LINE, ACCENT, GOOD, WARN, BAD, PAPER = CSS
KINDS = tuple(f"#0102{i:02x}" for i in range(1, 9))
CSS |= {colour: f"var(--k{i})" for i, colour in enumerate(KINDS)}
_STATES = ("busy", "weights", "operands", "activations", "completion", "memory", "room", "input")
STATES = {state: f"var(--{state})" for state in _STATES}
"""CSS colours of what a unit does or waits for, in the order in which they are drawn one over the other: those of Okabe and Ito
(Color Universal Design, 2008), which the colour-blind can tell apart."""
PLACES = {"on chip": STATES["busy"], "spilled": STATES["activations"], "external": "var(--muted)", "host": STATES["memory"]}
"""CSS colours of memories; "host": external memory that a host writes or reads for each image."""


def palette(kinds: Iterable[str]) -> dict[str, str]:
    """Return a colour for each kind, in order of first appearance; from the eighth on all share the last one."""
    return {kind: KINDS[min(i, len(KINDS) - 1)] for i, kind in enumerate(dict.fromkeys(kinds))}


def legend(kinds: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """Return (kind, CSS colour) for a plot's legend; kinds that share a colour share one entry."""
    colours = palette(kinds)
    last = [kind for kind, colour in colours.items() if colour == KINDS[-1]]
    names = {kind: "other kinds" if len(last) > 1 and kind in last else kind for kind in colours}
    return tuple(dict((names[kind], CSS[colour]) for kind, colour in colours.items()).items())
