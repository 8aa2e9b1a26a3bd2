"""Real processes of `manage.py`, and what they leave behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING, Protocol

import psutil

if TYPE_CHECKING:
    from collections.abc import Callable

CLONE = Path(__file__).parents[2]
# Every setting, so that nothing comes from a developer's own .env.
ENVIRONMENT = {
    "PATH": os.environ["PATH"],
    "AGENTSTATE_ADOPT_PRISMA_RUNS": "",
    "AGENTSTATE_API_ORIGINS": "",
    "AGENTSTATE_BEHIND_PROXY": "",
    "AGENTSTATE_HTTPS": "",
    "AGENTSTATE_NEW_PROJECT_TABLE": "",
    "AGENTSTATE_OPEN_PARENT_FOLDERS": os.environ.get("AGENTSTATE_OPEN_PARENT_FOLDERS", ""),
    "ALLOWED_HOSTS": "localhost",
    "DATABASE_URL": "",
    "DEBUG": "",
    "PYTHONWARNINGS": "error",
    "SECRET_KEY": "",
}


SERVER = """
from django.db import connection

def server():
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_database(), pg_postmaster_start_time()::text")
        return cursor.fetchone()
"""
ASK = f"{SERVER}\nprint(*server())"
# Answers a line with a line, for as long as it is asked.
STAY = f"""
import signal, sys
{SERVER}
signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell's background jobs ignore
print(*server(), flush=True)
for line in sys.stdin:
    connection.close()
    print(*server(), flush=True)
"""


class Manage(Protocol):
    def __call__(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]: ...


class Session:
    """A `manage.py` that stays connected until it is told to go."""

    def __init__(self, data_dir: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, CLONE / "manage.py", "shell", "-v0", "-c", STAY],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env={**ENVIRONMENT, "AGENTSTATE_DATA_DIR": str(data_dir)},
        )
        self.server = self._answer()

    def ask(self) -> str:
        stdin = self._open(self.process.stdin)
        stdin.write("\n")
        stdin.flush()
        return self._answer()

    def leave(self) -> None:
        self._open(self.process.stdin).close()
        self._end()

    def interrupt(self) -> None:
        os.killpg(self.process.pid, signal.SIGINT)
        self._end()

    def kill(self) -> None:
        self.process.kill()
        self._end()

    def _answer(self) -> str:
        return self._open(self.process.stdout).readline().strip()

    def _end(self) -> None:
        self.process.wait(timeout=10)
        for stream in (self.process.stdin, self.process.stdout):
            self._open(stream).close()

    def _open(self, stream: IO[str] | None) -> IO[str]:
        assert stream
        return stream


def ask(manage: Manage) -> str:
    """Return what a new `manage.py` says of its server."""
    result = manage("shell", "-v0", "-c", ASK)
    assert (result.stderr, result.returncode) == ("", 0)
    return result.stdout.strip()


def processes_of(data_dir: Path) -> list[psutil.Process]:
    """Return the processes that have to do with this folder's server, its keeper included."""
    return [
        process
        for process in psutil.process_iter(["cmdline", "status"])
        if process.info["status"] != psutil.STATUS_ZOMBIE
        and any(str(data_dir) in argument for argument in process.info["cmdline"] or ())
    ]


def wait_until(condition: Callable[[], bool], seconds: float = 10) -> bool:
    deadline = time.monotonic() + seconds
    while not (holds := condition()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return holds


def is_gone(data_dir: Path) -> bool:
    return wait_until(lambda: not processes_of(data_dir))
