"""Run Yosys commands through pyosys: `python synth_worker.py COMMAND...`.

synth.py starts it as a separate process, since Yosys ends its process when it fails.
"""

from __future__ import annotations

import sys


def main(commands: list[str]) -> None:
    """Run the commands in order on one design."""
    from pyosys import libyosys

    design = libyosys.Design()
    for command in commands:
        libyosys.run_pass(command, design)


if __name__ == "__main__":
    main(sys.argv[1:])
