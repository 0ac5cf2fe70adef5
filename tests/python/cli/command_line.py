"""`timmy-dispatch` as a process, with pipes or on a terminal of its own."""

import fcntl
import os
import pty
import select
import struct
import subprocess
import sys
import sysconfig
import termios
import time
from contextlib import contextmanager
from pathlib import Path

# Where the tests run in the background, SIGINT is ignored, and who is started inherits that.
INTERRUPTIBLE = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)
os.execv(sys.argv[1], sys.argv[1:])
"""
COMMAND = [str(Path(sysconfig.get_path("scripts")) / "timmy-dispatch")]
#: What a machine's or a shell's settings could change.
_LEFT_OUT = (
    *("GITEA_", "COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "TIMMY_", "PYTHON", "TERM", "XDG_"),
)


def environment(**changes):
    kept = {k: v for k, v in os.environ.items() if not k.startswith(_LEFT_OUT)}
    return kept | {"TERM": "xterm-256color", "PYTHONWARNINGS": "error"} | changes


class Command:
    """Runs `timmy-dispatch` in an empty folder."""

    def __init__(self, folder):
        self.folder = folder

    def __call__(self, *arguments, **variables):
        return subprocess.run(
            [*COMMAND, *arguments],
            cwd=self.folder,
            env=environment(**variables),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    @contextmanager
    def started(self, *arguments, **variables):
        process = subprocess.Popen(
            [sys.executable, "-c", INTERRUPTIBLE, *COMMAND, *arguments],
            cwd=self.folder,
            env=environment(**variables),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        with process:
            try:
                yield process
            finally:
                if process.poll() is None:
                    process.kill()

    def on_terminal(self, *arguments, columns=80, lines=24, stop_at=None, **variables):
        """Return the exit code and everything that the terminal got.

        With *stop_at* it is asked to end once the terminal has got all of those texts.
        """
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        process = subprocess.Popen(
            [*COMMAND, *arguments],
            cwd=self.folder,
            env=environment(**variables),
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
        )
        os.close(theirs)
        got = b""
        try:
            end = time.monotonic() + 60
            while select.select([ours], [], [], max(end - time.monotonic(), 0))[0]:
                try:
                    part = os.read(ours, 65536)
                except OSError:  # Linux says EIO when the last writer has gone
                    break
                if not part:
                    break
                got += part
                if stop_at and all(text in got.decode(errors="replace") for text in stop_at):
                    process.terminate()
                    stop_at = None
        finally:
            os.close(ours)
            if process.poll() is None:
                process.terminate()
            code = process.wait(60)
        return code, got.decode()
