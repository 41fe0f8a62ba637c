"""Figures as text: units, ranges, percentages and durations, spelled alike on every page and in the terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence

from edgewright.passes.confidence import wilson

NOT_MEASURED, UNKNOWN = "not measured", "\N{EN DASH}"


def percent(value: float | None) -> str:
    """Format a fraction as a percentage with two decimals."""
    return NOT_MEASURED if value is None else f"{100 * value:.2f} %"


def interval(value: float | None, count: int | None) -> str:
    """Format the 95 % interval of a measured share: "91.2 to 96.0 %"; nothing where there is none."""
    if value is None or not count:
        return ""
    low, high = wilson(value, count)
    return f"{100 * low:.1f} to {100 * high:.1f} %"


def with_interval(value: float | None, count: int | None) -> str:
    """Format a measured share with its 95 % interval."""
    between_text = interval(value, count)
    return percent(value) + (f" ({between_text})" if between_text else "")


def points(value: float) -> str:
    """Format a difference of fractions in percentage points, with its sign."""
    return f"{100 * value:+.2f} points".replace("+0.00", "±0.00").replace("-0.00", "±0.00")


def si(value: float) -> str:
    """Format a count with three digits and a decimal prefix."""
    return _prefixed(value, ((1e9, " G"), (1e6, " M"), (1e3, " k"), (0, "")))


def bytes_of(count: float) -> str:
    """Format a size with three digits and a binary prefix; exactly below 1 KiB."""
    return f"{count:,.0f} bytes" if count < 1024 else _prefixed(count, ((2**30, " GiB"), (2**20, " MiB"), (2**10, " KiB")))


def _prefixed(value: float, prefixes: Sequence[tuple[float, str]]) -> str:
    size, prefix = next(pair for pair in prefixes if abs(value) >= pair[0])
    return f"{float(f'{value / (size or 1):.3g}'):,g}{prefix}"


def about(value: float) -> str:
    """Format an estimate with two digits: it is no more precise."""
    rounded = float(f"{value:.2g}")
    decimals = max(0, 1 - math.floor(math.log10(abs(rounded)))) if rounded else 0
    return f"{rounded:,.{decimals}f}"


def share(value: float) -> str:
    """Format a fraction of an estimate in whole percent."""
    return "<1 %" if 0 < value < 0.005 else f"{100 * value:.0f} %"


def between(low: float, high: float) -> str:
    """Format a range of estimates; one figure where both ends read the same."""
    first, last = about(low), about(high)
    return first if first == last else f"{first}\N{EN DASH}{last}"


def predicted_ms(low: float | None, high: float | None) -> str | None:
    """Format a predicted range of milliseconds with three digits; one figure where both ends are equal, None if unknown."""
    if low is None or high is None:
        return None
    return f"{low:.3g} ms" if low == high else f"{low:.3g} to {high:.3g} ms"


def duration(milliseconds: float) -> str:
    """Format a measured time with three digits, in µs below 0.1 ms."""
    if milliseconds < 0.1:
        return f"{milliseconds * 1e3:.3g} µs"
    return f"{milliseconds:,.3g} ms" if milliseconds < 1000 else f"{milliseconds:,.0f} ms"


def time_range(low_us: float | None, high_us: float | None) -> str:
    """Format a measured time (both ends equal) with three digits, or an estimated range with two."""
    if low_us is None or high_us is None:
        return ""
    if low_us == high_us:
        return duration(low_us / 1e3)
    return f"{between(low_us, high_us)} µs" if high_us < 100 else f"{between(low_us / 1e3, high_us / 1e3)} ms"


def count(value: int | None) -> str | None:
    """Format an exact count; None stays None."""
    return None if value is None else f"{value:,}"


def several(count: int, noun: str) -> str:
    """Format a count with its noun: "1 thread", "4 threads"."""
    return f"{count:,} {noun}{'s'[: count != 1]}"


def threads_of(count: int | None) -> str:
    """Format a thread count that a source may not state."""
    return "threads not stated" if count is None else several(count, "thread")


def kind_title(kind: str) -> str:
    """Format the kind of a fused step, with spaces between its operators."""
    return " + ".join(kind.split("+"))


def times_less(whole: float | None, part: float | None) -> str:
    """Format how many times smaller a part is."""
    return "" if not whole or not part else f"{whole / part:.1f} times less"


def short(name: str, longest: int = 44) -> str:
    """Shorten a name to fit in a plot, without characters that XML or one line of text cannot hold."""
    clean = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in name)
    return clean if len(clean) <= longest else f"{clean[: longest // 2 - 2]}…{clean[-longest // 2 :]}"
