"""Stops a child process in its tracks, as a machine that hangs would."""

from __future__ import annotations

import os
import signal
import subprocess


def pause(process: subprocess.Popen[bytes]) -> None:
    """Send SIGSTOP and wait until the process has stopped: it may answer for a moment after the signal was sent."""
    process.send_signal(signal.SIGSTOP)
    _, status = os.waitpid(process.pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status)
