"""The README's ten figures, read off the full tables in docs/measured: `python -m benchmarks.headline` renews them."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks import pages
from benchmarks.bench import MEMORIES


def cells(name: str, label: str) -> dict[str, str]:
    """A row of a page's first table by the head of its columns. KeyError when there is no such row."""
    blocks = [block.splitlines() for block in pages.table(name).split("\n\n") if block.startswith("|")]
    head, _, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in blocks[0]]
    for row in rows:
        if row[0] == label:
            return dict(zip(head[1:], row[1:], strict=True))
    raise KeyError(f"{name} has no row {label!r}")


def section(name: str, title: str, label: str) -> str:
    """The measured figure of a row below a heading row, in the tables of `bench-passes`."""
    inside = False
    for line in pages.table(name).splitlines():
        row = [cell.strip() for cell in line.strip("|").split("|")]
        if row[0].startswith("**"):
            inside = row[0].strip("*").startswith(title)
        elif inside and row[0] == label:
            return row[1]
    raise KeyError(f"{name} has no row {label!r} below {title!r}")


def table() -> str:
    """The table as the README shows it."""
    rows = [*_fpga(), *_cpu(), *_passes()]
    return "\n".join(["| | |", "|---|---|", *(f"| {label} | {value} |" for label, value in rows)])


def _fpga() -> Iterator[tuple[str, str]]:
    def deit(label: str) -> str:
        return cells("bench", label)["deit_tiny"]

    board, faster, ideal = (deit(f"cycles simulated, {MEMORIES[name]}") for name in ("board", "read=60,write=40", "ideal"))
    title = "DeiT-Tiny's shape on the ZCU104 engine: cycles of the whole network at RTL"
    yield title, f"{board} with the board's memory; {faster} with latencies of 60 and 40; {ideal} with an ideal memory"
    equal = deit("images, bit-exact").split(", ")[1]
    yield "predicted cycles with the board's memory; all stored integers equal", f"{deit('cycles predicted')}; {equal}"
    yield "DSPs of 1,728 (Yosys estimate)", deit("DSPs (Yosys estimate)")


def _cpu() -> Iterator[tuple[str, str]]:
    titles = {"deit_tiny": "DeiT-Tiny", "vit_s_focus": "ViT-S/14", "minilm": "MiniLM-L6"}
    for name, title in titles.items():
        row = cells("bench-cpu", name)
        figures = f"{row['Edgewright int8']}; OpenVINO int8 {row['OpenVINO int8']}"
        yield f"{title} int8, 1 CPU thread, speed-up over onnxruntime fp32", figures


def _passes() -> Iterator[tuple[str, str]]:
    def measured(title: str, label: str) -> str:
        return section("bench-passes", title, label)

    yield (
        "mixture of 16 experts, 4 chosen, 197 tokens, fp32, 1 thread: speed-up over onnxruntime (dense)",
        measured("Experts: 16, top 4", "197 tokens, width 192: fp32 beside dense"),
    )
    lost = measured("Fused blocks: 3 of 12", "points lost by fusion")
    latency = measured("Fused blocks: latency", "latency of 9 blocks over 12, int8")
    yield "3 of 12 blocks fused: accuracy points lost; int8 latency over that of 12 blocks", f"{lost}; {latency}"
    yield "hashed attention, 196 tokens: accuracy points lost", measured("Hashed attention", "vit_fine: points lost")
    fewer, lost = (
        measured("Splitting", f"5 devices: {label}") for label in ("times fewer parameters per device", "points lost")
    )
    yield "split over 5 devices: times fewer parameters on each; accuracy points lost", f"{fewer}; {lost}"


if __name__ == "__main__":
    print(f"wrote {pages.put('headline', table())}")
