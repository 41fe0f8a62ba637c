"""Whether hashing the attention of a model saves energy, for the terminal."""

from __future__ import annotations

from itertools import groupby

from edgewright.passes.hashing.energy import BITS, SUPPORTS, WORTH, HashingGain, HashingOutlook
from edgewright.passes.names import plain
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text


def hashing(console: Console, outlook: HashingOutlook) -> None:
    """Print what `--hash-attention` would save in arithmetic, equal layers in one line; nothing without attention."""
    if not outlook.gains:
        return
    console.print(Padding(Text.assemble(("hashed attention  ", "bold"), verdict(outlook)), (1, 0, 0, 0)))
    table = Table(box=None, padding=(0, 2), header_style="dim")
    for name in ("layers", "tokens", "softmax", "hashed", "saved of the block", "worth it"):
        table.add_column(name, justify="right" if name not in ("layers", "worth it") else "left")
    for (tokens, softmax, hashed, saved, pays), equal in groupby(outlook.gains, _row):
        indices = [gain.layer.index for gain in equal]
        span = str(indices[0]) if len(indices) == 1 else f"{indices[0]} to {indices[-1]}"
        table.add_row(span, tokens, softmax, hashed, saved, plain(pays))
    console.print(Padding(table, (0, 0), expand=False))
    note = (
        f"In microjoules, softmax with the keys' projection: multiplications and additions at EcoFormer's figures for floats "
        f"in 45 nm, hashed with {BITS} bits from {SUPPORTS} support samples."
    )
    console.print(Padding(Text(note, "dim"), (0, 2), expand=False))


def verdict(outlook: HashingOutlook) -> str:
    """Return one sentence on whether hashing pays, and what limits it."""
    share, faster = f"{outlook.bound:.1%}", 1 / max(1 - outlook.bound, 1e-9)
    if outlook.pays:
        layers = [str(gain.layer.index) for gain in outlook.gains if gain.pays]
        return (
            f"pays in layers {', '.join(layers)}: hashing all that can be saves {outlook.saved:.1%} of the arithmetic energy."
        )
    if outlook.bound == 0:
        return "does not apply: no layer can be hashed."
    return (
        f"does not pay: scores and their sums, which hashing makes linear, are {share} of the arithmetic energy ({faster:.2f} "
        f"times less at best), and a block's share has to reach {WORTH:.0%}. With the keys' projection, which is dropped too, "
        f"hashing every layer would save {outlook.saved:.1%}."
    )


def _row(gain: HashingGain) -> tuple[str, str, str, str, str]:
    layer = gain.layer
    tokens = f"{layer.tokens:,}" if layer.windows == 1 else f"{layer.windows:,} x {layer.tokens:,}"
    softmax = _energy(gain.softmax.energy_pj + gain.keys.energy_pj)
    if layer.obstacle is not None:
        return tokens, softmax, "", "", f"no: {layer.obstacle}"
    saved = f"{gain.saved_pj / max(gain.block.energy_pj, 1e-12):.1%}"
    return tokens, softmax, _energy(gain.hashed.energy_pj), saved, "yes" if gain.pays else "no"


def _energy(picojoule: float) -> str:
    return f"{picojoule / 1e6:,.2f}"
