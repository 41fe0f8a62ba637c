"""Runs a command that must not outlive the process that wants it: `python -IS lifeline.py FD COMMAND...`.

The other end of pipe FD is held by that process alone. When it closes, which the system sees to even after SIGKILL, the
whole process group goes: the command and whatever it has started. Otherwise the exit code is the command's, 128 and the
number of the signal that ended it. Must lead a process group of its own; imports little, since it starts every time.
"""

import os
import signal
import sys
import threading


def _end_with(lifeline: int) -> None:
    while os.read(lifeline, 1):
        pass
    os.killpg(0, signal.SIGKILL)


def main() -> None:
    """Run the command to its end, or to that of the pipe."""
    lifeline, command = int(sys.argv[1]), sys.argv[2:]
    os.set_inheritable(lifeline, False)
    threading.Thread(target=_end_with, args=(lifeline,), daemon=True).start()
    try:
        child = os.posix_spawnp(command[0], command, os.environ)
    except OSError as error:
        sys.exit(f"{command[0]}: {error.strerror}")
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    sys.stdout.flush()
    os._exit(code if code >= 0 else 128 - code)


if __name__ == "__main__":
    main()
