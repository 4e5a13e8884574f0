"""Run a command so that Ctrl-C reaches it alone: ``python foreground.py COMMAND…``.

Make ends with an error whenever its own process group is interrupted, however cleanly its command stopped. On a
terminal the command therefore gets a foreground group of its own, as a shell gives one to each job; its exit code
is passed on. Elsewhere this process becomes the command.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys


def main() -> None:
    """Run the command that the arguments name."""
    command = sys.argv[1:]
    terminal = sys.stdin.fileno() if sys.stdin is not None and sys.stdin.isatty() else None
    if terminal is None or os.tcgetpgrp(terminal) != os.getpgrp():
        os.execv(command[0], command)  # noqa: S606 - a command of the Makefile
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)  # else taking the terminal back would stop this process
    signal.signal(signal.SIGTSTP, signal.SIG_IGN)  # the command too: no shell is there to continue it after Ctrl-Z
    with subprocess.Popen(command, process_group=0) as child:  # noqa: S603 - a command of the Makefile
        for sig in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(sig, lambda number, _: child.send_signal(number))
        os.tcsetpgrp(terminal, child.pid)
        try:
            code = child.wait()
        finally:
            os.tcsetpgrp(terminal, os.getpgrp())
    sys.exit(128 - code if code < 0 else code)


if __name__ == "__main__":
    main()
