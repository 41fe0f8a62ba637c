"""Runs Yosys commands through pyosys: `python synth_worker.py COMMAND...`.

A process of its own, started by synth.py: Yosys ends the process it runs in when it fails.
"""

from __future__ import annotations

import sys


def main(commands: list[str]) -> None:
    """Runs the commands one after the other on one design."""
    from pyosys import libyosys

    design = libyosys.Design()
    for command in commands:
        libyosys.run_pass(command, design)


if __name__ == "__main__":
    main(sys.argv[1:])
