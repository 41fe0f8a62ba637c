"""The table of orders of the documentation: which pass may follow which, and why the others may not.

python -m tests.orders_table          # print it
"""

from __future__ import annotations

from edgewright.passes import orders

WORDS = {
    orders.EXACT: "exact passes",
    "SelectExperts": "`--task`",
    "FuseBlocks": "`--fuse-blocks`",
    "HashAttentionLayers": "`--hash-attention`",
    "SplitClasses": "`split`",
    "QuantiseGraph": "quantisation",
}


def table() -> str:
    """Markdown: rows are the first pass, columns the second; then the reason behind each code."""
    lines = [
        f"| first, then | {' | '.join(WORDS[name] for name in orders.PASSES)} |",
        f"|---|{'---|' * len(orders.PASSES)}",
    ]
    for first in orders.PASSES:
        cells = (orders.refused(first, second) for second in orders.PASSES)
        lines.append(f"| {WORDS[first]} | {' | '.join('yes' if cell is None else cell.code for cell in cells)} |")
    reasons = {refusal.code: refusal for refusal in orders.REFUSED.values()}
    lines += ["", *(f"- {code}, {one.message}: {one.because}. Instead: {one.help}." for code, one in sorted(reasons.items()))]
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())
