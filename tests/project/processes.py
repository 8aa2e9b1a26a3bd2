"""Real processes of `manage.py`, and what they leave behind."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import psutil

if TYPE_CHECKING:
    import subprocess
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


class Manage(Protocol):
    def __call__(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]: ...


def ask(manage: Manage) -> str:
    """Return what a new `manage.py` says of its server."""
    result = manage("shell", "-v0", "-c", ASK)
    assert (result.stderr, result.returncode) == ("", 0)
    return result.stdout.strip()


def processes_of(data_dir: Path) -> list[psutil.Process]:
    """Return the processes that have to do with this folder's server, its keeper included, with what is known of them.

    Any of them may end at any moment, so ask no process itself.
    """
    return [
        process
        for process in psutil.process_iter(["cmdline", "status", "uids"])
        if process.info["status"] != psutil.STATUS_ZOMBIE
        and any(str(data_dir) in argument for argument in process.info["cmdline"] or ())
    ]


def wait_until(condition: Callable[[], bool], seconds: float = 60) -> bool:
    deadline = time.monotonic() + seconds
    while not (holds := condition()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return holds


def is_gone(data_dir: Path) -> bool:
    return wait_until(lambda: not processes_of(data_dir))
