"""A streaming standby: what reads it, and a pass that waits for it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest

from tests.faults.processes import FORWARD, VERIFY, Command, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

INITDB = shutil.which("initdb")
PROGRAMS = Path(INITDB).resolve().parent if INITDB else Path()
pytestmark = pytest.mark.skipif(
    not INITDB or not (PROGRAMS / "pg_basebackup").exists(), reason="initdb and pg_basebackup are not on the PATH"
)
# The server refuses to run as root.
USER = "postgres" if os.geteuid() == 0 else None


class Server:
    """A PostgreSQL that listens on a socket only."""

    def __init__(self, home: Path, name: str) -> None:
        self.folder, self.socket = home / name, home / f"{name}-socket"
        self.socket.mkdir()
        if USER:
            shutil.chown(self.socket, USER)

    def program(self, name: str, *arguments: str) -> None:
        subprocess.run([PROGRAMS / name, *arguments], check=True, user=USER, capture_output=True, cwd="/")

    def start(self) -> None:
        options = f"-k {self.socket} -c listen_addresses='' -c fsync=off"
        log = str(self.socket / "log")
        self.program("pg_ctl", "-D", str(self.folder), "-o", options, "-l", log, "-w", "start")

    def stop(self) -> None:
        self.program("pg_ctl", "-D", str(self.folder), "-m", "immediate", "stop")

    def url(self, name: str = "postgres") -> str:
        return f"postgres://postgres@/{name}?host={self.socket}"

    def sql(self, statement: str) -> None:
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(statement)


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[Server, Server]]:
    """A primary with sample projects, and its standby."""
    home = Path(tempfile.mkdtemp(prefix="as-replica-"))
    if USER:
        shutil.chown(home, USER)
    primary, standby = Server(home, "primary"), Server(home, "standby")
    started = []
    try:
        primary.program("initdb", "-D", str(primary.folder), "-U", "postgres", "-A", "trust", "--no-sync")
        primary.start()
        started.append(primary)
        for arguments in (("migrate", "-v0"), ("seed_legacy_projects", "--count", "60", "--append")):
            assert Command(*arguments, database=primary.url()).end(120) == 0
        primary.program(
            "pg_basebackup", "-d", primary.url(), "-D", str(standby.folder), "-R", "-c", "fast", "--no-sync"
        )
        standby.start()
        started.append(standby)
        yield primary, standby
    finally:
        for server in reversed(started):
            server.stop()
        shutil.rmtree(home)


def verified(primary: Server, replica: Server | None = None) -> int:
    """Return how many projects are legacy ahead for verification."""
    environment = {"AGENTSTATE_READ_DATABASE_URL": replica.url()} if replica else {}
    command = Command(VERIFY, "--format", "json", database=primary.url(), environment=environment)
    command.end(120)
    assert command.stdout, command.stderr
    return int(json.loads(command.stdout)["standing"]["legacy_ahead"])


def test_verification_reads_the_replica_and_a_pass_waits_until_it_has_caught_up(
    servers: tuple[Server, Server],
) -> None:
    primary, standby = servers
    wait_until(lambda: verified(primary, standby) > 0, seconds=120)
    ahead = verified(primary)
    standby.sql("SELECT pg_wal_replay_pause()")
    try:
        one = Command(FORWARD, "--limit", "1", database=primary.url())
        assert one.end(120) == 0, one.stderr
        assert verified(primary) < ahead
        assert verified(primary, standby) == ahead

        waiting = Command(FORWARD, "--batch-size", "5", "--max-lag", "0.3", database=primary.url())
        listing = ("agentkit_pass", "list", "--format", "json")

        def held() -> str:
            command = Command(*listing, database=primary.url())
            assert command.end(60) == 0, command.stderr
            return str(json.loads(command.stdout)[0]["held"])

        wait_until(lambda: "s behind, more than 0.3 s" in held(), seconds=60)
        assert waiting.is_running
    finally:
        standby.sql("SELECT pg_wal_replay_resume()")
    assert waiting.end(120) == 0, waiting.stderr
    assert verified(primary) < ahead
    wait_until(lambda: verified(primary, standby) == verified(primary), seconds=60)


def test_the_pages_lists_read_the_replica(servers: tuple[Server, Server]) -> None:
    primary, standby = servers
    script = """
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
client = Client(SERVER_NAME="localhost")
client.force_login(User.objects.create_superuser("root"))
from django.db import connections
for name in ("project", "agentworkflowrun", "agentsession", "backfillpass"):
    asked = []
    def note(execute, sql, *rest):
        asked.append(sql)
        return execute(sql, *rest)
    with connections["replica"].execute_wrapper(note):
        answer = client.get(reverse(f"admin:agentstate_{name}_changelist"))
    tables = [sql for sql in asked if "FROM" in sql and "current_setting" not in sql]
    print(name, answer.status_code, bool(tables))
"""
    command = Command(
        "shell", "-v0", "-c", script, database=primary.url(),
        environment={"AGENTSTATE_READ_DATABASE_URL": standby.url()},
    )  # fmt: skip
    assert command.end(120) == 0, command.stderr
    assert command.stdout.splitlines() == [
        "project 200 True", "agentworkflowrun 200 True", "agentsession 200 True", "backfillpass 200 False",
    ]  # fmt: skip
