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

from tests.forked import MANAGE, Forked
from tests.sql import sql

if TYPE_CHECKING:
    from collections.abc import Callable

    import psycopg

CLONE = Path(__file__).parents[2]
FORWARD = "backfill_agentkit_state"
REVERSE = "reverse_backfill_agentkit_state"
VERIFY = "verify_agentkit_state"
# A row for each other connection of the tests' database.
OTHERS = """
    SELECT FROM pg_stat_activity
    WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()"""
# A row for each connection that waits for one with this process id.
WAITS_FOR = """
    SELECT pid, query_start FROM pg_stat_activity
    WHERE datname = current_database() AND wait_event_type = 'Lock' AND %s = ANY (pg_blocking_pids(pid))"""


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


TAKEN = "A stop is requested."
PATIENT = f"""
import os, signal, sys
from agentstate.backfill import batches
batches.LOCK_TIMEOUT = "SET LOCAL lock_timeout = '10min'"
set_handler = signal.signal
def note(number, handler):
    before = set_handler(number, handler)
    if sys._getframe(1).f_code.co_name == "request_stop":
        os.write(1, b"{TAKEN}\\n")
    return before
signal.signal = note
{MANAGE}
"""


class Command:
    """A running `manage.py`.

    Args:
        patient: a pass waits for locks, where it gives up after a second otherwise, and can be told to ``stop``.
    """

    def __init__(
        self,
        *arguments: str,
        patient: bool = False,
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
            program=PATIENT if patient else MANAGE,
        )
        self.stdout = self.stderr = ""

    def end(self, seconds: float = 120) -> int:
        """Wait for the end, and return the exit code."""
        try:
            self.stdout, self.stderr = self.process.communicate(timeout=seconds)
        finally:
            self.process.kill()
        return self.process.returncode

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def stop(self, number: signal.Signals) -> None:
        """Send the first signal to a patient one, and wait until it has requested the stop: two may come as one."""
        self.signal(number)
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == f"{TAKEN}\n"

    def kill(self) -> None:
        """End it as a crash would. What its connections are at in the server may take a while longer."""
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


def wait_until(condition: Callable[[], object], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.002)


def others_on_the_server() -> int:
    """Return how many other connections the tests' database has."""
    return len(sql(OTHERS))


def waits_for(other: psycopg.Connection[Any], connections: int = 1) -> Callable[[], bool]:
    """Return the condition that so many connections wait for a lock that this one has.

    For a moment, connections also wait for each other, and for autovacuum.
    """
    return lambda: len(sql(WAITS_FOR, other.info.backend_pid)) >= connections


def terminate_what_waits_for(other: psycopg.Connection[Any]) -> None:
    """End the connections that wait for a lock that this one has, as an administrator does."""
    sql(f"SELECT pg_terminate_backend(pid, 60000) FROM ({WAITS_FOR}) waiting", other.info.backend_pid)
