"""Run a command that must not outlive the process that starts it: `python -IS lifeline.py FD COMMAND...`.

That process alone holds the other end of pipe FD. When it closes, as the system does even after SIGKILL, the whole process
group is killed: the command and everything that it started. Otherwise the exit code is the command's, or 128 plus the number
of the signal that ended it. Must lead its own process group; imports little, since it starts with every command.
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
    """Run the command until it or the pipe ends."""
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
