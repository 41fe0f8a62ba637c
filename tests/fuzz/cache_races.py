"""Processes that want the same entries of one cache at once, some killed, some on damaged entries, with evictions.

`python -m tests.fuzz.cache_races --count 300`. Each round starts three processes that ask for three entries in random
order, with room for about two. Whoever got an entry has to find it whole then and still a moment later.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PROCESSES, NAMES = 3, ("a", "b", "c")
SIZE_BYTES = 700_000
WORKER = """
import random, sys, time
from pathlib import Path
from edgewright.passes import cache

SIZE = int(sys.argv[2])
draw = random.Random(int(sys.argv[1]))

def make(folder):
    (folder / "parts").mkdir()
    for i in range(2):
        (folder / "parts" / str(i)).write_bytes(bytes([i]) * (SIZE // 2))
        time.sleep(draw.random() * 0.01)

for name in draw.choices(sys.argv[3:], k=5):
    folder = cache.entry("kind", name, make)
    for pause in (0, draw.random() * 0.03):
        time.sleep(pause)
        for i in range(2):
            content = (folder / "parts" / str(i)).read_bytes()
            assert content == bytes([i]) * (SIZE // 2), (name, i, len(content))
"""


def damage(folder: Path, draw: random.Random) -> None:
    """Empties, cuts, changes or removes one file of the entry."""
    path = draw.choice(sorted(path for path in folder.rglob("*") if path.is_file()))
    content = bytearray(path.read_bytes())
    how = draw.randrange(4)
    if how == 0 or not content:
        path.unlink()
        return
    if how == 1:
        content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
    path.write_bytes(content if how == 1 else content[: len(content) // 2] if how == 2 else b"")


def round_of(seed: int, root: Path) -> list[str]:
    """What went wrong in one round: texts of the processes that nobody killed."""
    draw = random.Random(seed)
    entries = [root / "kind" / name for name in NAMES if (root / "kind" / name).is_dir()]
    for entry in draw.sample(entries, draw.randrange(len(entries) + 1)):
        damage(entry, draw)
    environment = {**os.environ, "EDGEWRIGHT_CACHE": str(root), "EDGEWRIGHT_CACHE_MB": "2"}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, str(seed * PROCESSES + i), str(SIZE_BYTES), *NAMES],
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        for i in range(PROCESSES)
    ]
    killed = draw.randrange(PROCESSES) if draw.random() < 0.5 else None
    if killed is not None:
        time.sleep(0.05 + draw.random() * 0.2)
        processes[killed].send_signal(signal.SIGKILL)
    said = [process.communicate(timeout=60)[1] for process in processes]
    return [f"round {seed}, process {i}: {said[i]}" for i, p in enumerate(processes) if p.returncode and i != killed]


def races(count: int, first: int = 0) -> list[str]:
    """Failures of `count` rounds on one cache."""
    with tempfile.TemporaryDirectory(prefix="edgewright-races-") as root:
        return [text for seed in range(first, first + count) for text in round_of(seed, Path(root))]


def main() -> None:
    """Prints failures; exit status 1 when there are any."""
    parser = argparse.ArgumentParser(description="processes that race for entries of one cache")
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0, help="the first round's")
    options = parser.parse_args()
    found = races(options.count, options.seed)
    print("\n".join([*found, f"{options.count} rounds, {len(found)} failures"]))
    raise SystemExit(bool(found))


if __name__ == "__main__":
    main()
