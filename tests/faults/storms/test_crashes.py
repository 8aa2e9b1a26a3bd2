"""The server itself crashes while its clients write: what was acknowledged before is there after its recovery."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from project.embedded.postgres import DATABASE, PORT, SUPERUSER, socket_folder_of_running
from tests.faults.storms.weather import PREPARE, assert_all_is_well, storm_over
from tests.forked import Forked
from tests.migrations.databases import Result
from tests.project.processes import ENVIRONMENT, wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.faults.storms.conftest import Profile

ACTS = ("save", "save", "record", "append", "write", "move")
WRITERS = 3


class Server:
    """An embedded PostgreSQL of its own, which the next command starts again."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir

    def start(self, *arguments: str) -> Forked:
        environment = {**ENVIRONMENT, "SECRET_KEY": "a key for tests only", "AGENTSTATE_DATA_DIR": str(self._data_dir)}
        return Forked(*arguments, environment=environment)

    def manage(self, *arguments: str) -> Result:
        return Result.of(self.start(*arguments))

    def crash(self) -> None:
        """End the server without a word to its clients, as a power cut would but for what the disk holds."""
        pid = int((self._data_dir / "postgres" / "postmaster.pid").read_text().splitlines()[0])
        os.kill(pid, signal.SIGQUIT)
        assert wait_until(lambda: socket_folder_of_running(self._data_dir / "postgres") is None, seconds=30)

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        folder = socket_folder_of_running(self._data_dir / "postgres")
        with psycopg.connect(host=str(folder), port=PORT, user=SUPERUSER, dbname=DATABASE) as connection:
            return connection.execute(query).fetchall()


@pytest.fixture
def server(data_dir: Path) -> Server:
    return Server(data_dir)


def test_no_acknowledged_document_is_lost(server: Server, profile: Profile) -> None:
    for command in (("migrate", "-v0"), ("shell", "-v0", "-c", PREPARE)):
        prepared = server.manage(*command)
        assert (prepared.code, prepared.err) == (0, "")

    with storm_over(server.start, profile.seed) as storm:
        for _ in range(profile.crashes):
            for _ in range(WRITERS):
                storm.add_writer(*ACTS)
            storm.wait_for_promises(30)
            server.crash()
            storm.faults["crashed servers"] += 1
            storm.kill_all()
        storm.add_writer("rest")  # starts the server again, and keeps it
        storm.wait_for_promises(1)
        assert_all_is_well(server.rows, server.manage, storm.promises)
    profile.report({**storm.faults, "acknowledged writes": storm.promises.count})
