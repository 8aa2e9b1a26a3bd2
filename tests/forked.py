"""`manage.py` in processes that are forked from one in which Django and our modules are loaded.

Most of a short command's time goes into starting Python and importing everything.
"""

from __future__ import annotations

import atexit
import json
import os
import select
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING, TextIO

from tests.project.processes import CLONE, ENVIRONMENT

if TYPE_CHECKING:
    from collections.abc import Mapping

MANAGE = "from manage import main; main()"
# Settings that decide which apps are installed: each combination needs a process that has loaded just these.
DECIDE_APPS = ("AGENTSTATE_CONTRACT", "AGENTSTATE_TASKS_BACKEND")


@cache
def _fork_server(*decide_apps: str) -> socket.socket:
    """Start a process that forks, and return the socket that asks it to."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.fork_server", str(theirs.fileno())],
        cwd=CLONE,
        env={**ENVIRONMENT, **dict(zip(DECIDE_APPS, decide_apps, strict=True))},
        pass_fds=[theirs.fileno()],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    theirs.close()

    @atexit.register
    def stop() -> None:
        ours.close()
        process.wait()

    return ours


class Forked:
    """A process of `manage.py`, with what tests need of ``subprocess.Popen``.

    Args:
        arguments: the command with its arguments.
        environment: all variables of its environment.
        program: Python code that it runs.
        stdin: ``subprocess.PIPE``, or None for an empty one.
        stdout: ``subprocess.PIPE``, or a file descriptor.
        stderr: ``subprocess.PIPE``, or ``subprocess.STDOUT`` for both in one stream.

    Attributes:
        returncode: None until ``poll`` or ``wait`` has met the end.
        peak: the most memory that it held, in kilobytes, once it has ended.
    """

    def __init__(
        self,
        *arguments: str,
        environment: Mapping[str, str],
        program: str = MANAGE,
        stdin: int | None = None,
        stdout: int = subprocess.PIPE,
        stderr: int = subprocess.PIPE,
    ) -> None:
        self.returncode: int | None = None
        self.peak = 0
        status, status_end = os.pipe()
        out, out_end = os.pipe() if stdout == subprocess.PIPE else (None, os.dup(stdout))
        err, err_end = (None, os.dup(out_end)) if stderr == subprocess.STDOUT else os.pipe()
        in_end, into = os.pipe() if stdin == subprocess.PIPE else (os.open(os.devnull, os.O_RDONLY), None)
        request = {"arguments": arguments, "environment": dict(environment), "program": program}
        theirs = [status_end, in_end, out_end, err_end]
        server = _fork_server(*(environment.get(name, "") for name in DECIDE_APPS))
        socket.send_fds(server, [json.dumps(request).encode()], theirs)
        for end in theirs:
            os.close(end)
        self.stdin = None if into is None else os.fdopen(into, "w")
        self.stdout = None if out is None else os.fdopen(out)
        self.stderr = None if err is None else os.fdopen(err)
        self._status = os.fdopen(status)
        self.pid = int(self._status.readline())

    def poll(self) -> int | None:
        if self.returncode is None and select.select([self._status], [], [], 0)[0]:
            self.returncode, self.peak = map(int, self._status.readline().split())
            self._status.close()
        return self.returncode

    def wait(self, timeout: float = 60) -> int:
        if self.returncode is None:
            select.select([self._status], [], [], timeout)
        if self.poll() is None:
            raise subprocess.TimeoutExpired("manage.py", timeout)
        return self.returncode

    def send_signal(self, number: signal.Signals) -> None:
        if self.poll() is None:
            with suppress(ProcessLookupError):  # it ended after the look
                os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def communicate(self, timeout: float = 60) -> tuple[str, str]:
        """Close its input, wait for the end, and return what it wrote to each stream that is a pipe."""
        if self.stdin is not None:
            self.stdin.close()
        with ThreadPoolExecutor(2) as readers:
            reading = [readers.submit(_read, stream) for stream in (self.stdout, self.stderr)]
            if wait(reading, timeout).not_done:
                self.kill()
                raise subprocess.TimeoutExpired("manage.py", timeout)
        self.wait(timeout)
        out, err = (read.result() for read in reading)
        return out, err


def _read(stream: TextIO | None) -> str:
    if stream is None or stream.closed:
        return ""
    with stream:
        return stream.read()
