"""Real processes of the commands, on the tests' own database."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from django.db import connection

from tests.forked import Forked

if TYPE_CHECKING:
    from collections.abc import Callable

CLONE = Path(__file__).parents[2]
FORWARD = "backfill_agentkit_state"
REVERSE = "reverse_backfill_agentkit_state"
VERIFY = "verify_agentkit_state"


def database_url(**options: str) -> str:
    """Return the URL of the tests' database, with settings of the server for its sessions."""
    known = connection.get_connection_params()
    login = quote(known.get("user", ""), safe="") + (
        f":{quote(known['password'], safe='')}" if "password" in known else ""
    )
    query = {name: str(known[name]) for name in ("host", "port") if known.get(name)}
    if options:
        query["options"] = " ".join(f"-c {name}={value}" for name, value in options.items())
    return f"postgres://{login}@/{quote(known['dbname'])}?{urlencode(query, quote_via=quote)}"


class Command:
    """A `manage.py` under way."""

    def __init__(
        self,
        *arguments: str,
        database: str | None = None,
        environment: dict[str, str] | None = None,
        **options: str,
    ) -> None:
        self.process = Forked(
            *arguments,
            environment={
                "PATH": os.environ["PATH"],
                "DATABASE_URL": database or database_url(**options),
                "SECRET_KEY": "a key for tests only",
                **(environment or {}),
            },
        )
        self.stdout = self.stderr = ""

    def end(self, seconds: float = 60) -> int:
        """Wait for the end, and return the exit code."""
        try:
            self.stdout, self.stderr = self.process.communicate(timeout=seconds)
        finally:
            self.process.kill()
        return self.process.returncode

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def kill(self) -> None:
        """End it as a crash would, and wait until the server has noticed."""
        self.process.kill()
        assert self.end() == -signal.SIGKILL

    @property
    def is_running(self) -> bool:
        return self.process.poll() is None

    @property
    def summary(self) -> dict[str, Any]:
        """What it printed with ``--format json``."""
        return dict(json.loads(self.stdout))


def run(*arguments: str, **options: str) -> Command:
    """Run a command to its end."""
    command = Command(*arguments, **options)
    command.end()
    return command


def wait_until(condition: Callable[[], object], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.002)


def others_on_the_server() -> int:
    """Return how many other connections the tests' database has."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity "
            "WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()"
        )
        return int(cursor.fetchone()[0])


def is_waiting_for_a_lock(connections: int = 1) -> bool:
    """Return whether so many other connections wait for somebody's transaction."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity "
            "WHERE datname = current_database() AND backend_type = 'client backend' AND wait_event_type = 'Lock'"
        )
        return bool(cursor.fetchone()[0] >= connections)
