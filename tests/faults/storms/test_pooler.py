"""Writers behind a pooler in transaction mode, where each transaction may have another connection of the server."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from tests.faults.storms.weather import PREPARE, assert_all_is_well, storm_over
from tests.migrations.databases import new_database
from tests.pooler import needs_pooler, pooler

if TYPE_CHECKING:
    from tests.faults.storms.conftest import Profile
    from tests.forked import Forked

pytestmark = [pytest.mark.django_db, needs_pooler]

ACTS = ("save", "save", "record", "append", "write", "browse")
# What a session would carry into those of others: settings of its own, and locks.
LEFT_BEHIND = """
    SELECT name, setting FROM pg_settings
    WHERE source = 'session' AND name NOT LIKE 'transaction_%'
        AND NOT (name = 'TimeZone' AND setting = reset_val)  -- the pooler sets it, to the server's own
    UNION ALL
    SELECT locktype, mode FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'advisory'
    ORDER BY 1, 2"""


def test_no_acknowledged_document_is_lost_and_no_session_is_left_changed(profile: Profile) -> None:
    size = 3
    with new_database() as database, pooler(size=size) as pool:
        database.migrate()
        assert database.manage("shell", "-v0", "-c", PREPARE).code == 0

        def start(*arguments: str) -> Forked:
            return database.start(*arguments, settings={"DATABASE_URL": pool.url(database.name)})

        with storm_over(start, profile.seed) as storm:
            for _ in range(2 * size):
                storm.add_writer(*ACTS)
            for _ in range(profile.kills):
                storm.wait_for_promises(25)
                storm.kill_one()
                storm.add_writer(*ACTS)
        profile.report({**storm.faults, "acknowledged writes behind a pooler": storm.promises.count})

        with ExitStack() as stack:
            clients = [stack.enter_context(pool.connect(database.name)) for _ in range(size)]
            for client in clients:
                client.execute("BEGIN")  # so that each has a connection of the server to itself
            assert [client.execute(LEFT_BEHIND).fetchall() for client in clients] == [[]] * size
        assert_all_is_well(database.rows, database.manage, storm.promises)
