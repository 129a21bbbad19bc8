"""Runs a program that ends with the process that asked for it. A program of its own: it imports nothing of this pack.

    PYTHON leash.py PROGRAM ARGUMENT ...

Its standard input stays open as long as somebody wants the program. When that closes, also because the process that
held it was killed, the program is ended, and what it has started is with it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading


def end(program: subprocess.Popen[bytes]) -> None:
    """End a program and all that it started."""
    if sys.platform == "win32":
        program.kill()
        return
    with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS says the latter of a group that has ended
        os.killpg(program.pid, signal.SIGKILL)


def end_when_left(program: subprocess.Popen[bytes]) -> None:
    while os.read(0, 4096):
        pass
    end(program)


def main() -> None:
    command = sys.argv[1:]
    program = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)  # noqa: S603 - the user's own
    threading.Thread(target=end_when_left, args=(program,), daemon=True).start()
    code = program.wait()
    end(program)
    os._exit(code if code >= 0 else 128 - code)  # the thread still waits


if __name__ == "__main__":
    main()
