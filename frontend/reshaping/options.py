"""Options of the approximate passes, for `optimise` and `compile`, checked before anything is read."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from typing import Any

from edgewright.frontend.option_table import option_field
from edgewright.passes.diagnostics import CompileError, Diagnostic, Exit

CONSTANTS = ("sum", "own")
LAYERS = r"all|auto|\d{1,6}(,\d{1,6})*|>=[1-9]\d{0,8}"


PANEL = "Passes that make a model smaller"


@dataclass(frozen=True, slots=True)
class Reshaping:
    """Which passes to run, by option; None: the pass does not run, or uses its own default."""

    task: str | None = option_field(
        None, "Keep only this task: its head, routers and reachable experts.", metavar="NAME", group=PANEL
    )
    usage_threshold: float | None = option_field(
        None, "Drop experts that a smaller share of the tokens chooses. Needs data.", metavar="SHARE", group=PANEL
    )
    fuse_blocks: str | None = option_field(
        None, "Fuse this share or number of blocks into their neighbours. Needs data.", metavar="25%|N", group=PANEL
    )
    hash_attention: str | None = option_field(
        None, "Hash attention in these layers: all, auto, 0,2,3 or '>=128' (tokens). Needs data.", metavar="LAYERS", group=PANEL
    )
    hash_bits: int | None = option_field(None, "Set the bits of a hash code. [default: 16]", metavar="N", group=PANEL)
    hash_supports: int | None = option_field(
        None, "Set the support samples of a hash function. [default: 25]", metavar="N", group=PANEL
    )
    hash_constant: str | None = option_field(
        None, "Use the paper's constant term (sum) or the released code's (own). [default: sum]", metavar="sum|own", group=PANEL
    )
    epochs: int | None = option_field(
        None, "Train for this many passes over the data; 0 trains nothing. [default: each pass's own]", metavar="N", group=PANEL
    )
    seed: int = option_field(0, "Seed for all random choices.", metavar="N", group=PANEL)

    def __post_init__(self) -> None:
        """CompileError U030 with every option that has an invalid value."""
        if wrong := self._wrong():
            raise CompileError(wrong, Exit.USAGE)

    @property
    def asks(self) -> bool:
        """Whether any pass runs."""
        return any(value is not None for value in (self.task, self.usage_threshold, self.fuse_blocks, self.hash_attention))

    @property
    def share_or_count(self) -> tuple[float | None, int | None]:
        """`fuse_blocks` as (share of the blocks, number of blocks); one of them is None."""
        text = self.fuse_blocks or "0"
        return (float(text[:-1]) / 100, None) if text.endswith("%") else (None, int(text))

    def manifest(self) -> dict[str, Any]:
        """Return the options as JSON, without those that were omitted."""
        options = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return {name: value for name, value in options.items() if value is not None} if self.asks else {}

    def _wrong(self) -> list[Diagnostic]:
        wrong: list[Diagnostic] = []

        def refuse(name: str, value: object, because: str, help_text: str) -> None:
            wrong.append(Diagnostic("U030", f"'{value}' is not a value of {name}", name, because, help_text))

        if self.usage_threshold is not None and not 0 <= self.usage_threshold < 1:
            because = "it is the share of a task's tokens below which an expert is dropped"
            refuse("--usage-threshold", self.usage_threshold, because, "give a share from 0 to below 1, like 0.01")
        if self.fuse_blocks is not None and not _is_share_or_count(self.fuse_blocks):
            because = "it is the number of blocks to fuse, at least one and not all of them"
            refuse("--fuse-blocks", self.fuse_blocks, because, "give a share like 25% or a number like 2")
        if self.hash_attention is not None and not re.fullmatch(LAYERS, self.hash_attention):
            because = "it names the layers whose attention is hashed, counted from 0"
            refuse("--hash-attention", self.hash_attention, because, "give all, auto, layers like 0,2,3 or tokens like '>=128'")
        if self.hash_constant is not None and self.hash_constant not in CONSTANTS:
            help_text = "give sum (the paper's) or own (the released code's)"
            refuse("--hash-constant", self.hash_constant, "it is the form of the constant term", help_text)
        for name, number in (("--hash-bits", self.hash_bits), ("--hash-supports", self.hash_supports)):
            if number is not None and number < 1:
                refuse(name, number, "nothing would be left", "give a number from 1")
        if self.epochs is not None and self.epochs < 0:
            because = "it is the number of times that passes train on the data"
            refuse("--epochs", self.epochs, because, "give a number from 0; 0 trains nothing")
        if self.seed < 0:
            refuse("--seed", self.seed, "random generators take no negative seed", "give a number from 0")
        hashes = {"--hash-bits": self.hash_bits, "--hash-supports": self.hash_supports, "--hash-constant": self.hash_constant}
        for name, value in hashes.items() if self.hash_attention is None else ():
            if value is not None:
                refuse(name, value, "no attention is hashed", "add --hash-attention all, or omit it")
        return wrong


def _is_share_or_count(text: str) -> bool:
    if re.fullmatch(r"\d{1,2}(\.\d{1,6})?%", text):
        return 0 < float(text[:-1]) < 100
    return bool(re.fullmatch(r"[1-9]\d{0,5}", text))
