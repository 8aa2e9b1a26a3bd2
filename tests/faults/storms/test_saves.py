"""Writers that save, record, converse, write columns, delete, restore and run passes, while the clock turns."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.faults.storms.weather import PREPARE, TURNED_CLOCK, assert_all_is_well, storm_over
from tests.migrations.databases import new_database

if TYPE_CHECKING:
    from tests.faults.storms.conftest import Profile
    from tests.migrations.databases import Database

pytestmark = pytest.mark.django_db

ACTS = ("save", "save", "save", "record", "append", "write", "write", "restore", "move", "turn_clock")


def test_no_acknowledged_document_is_lost(profile: Profile) -> None:
    with new_database() as database:
        prepare(database)
        with storm_over(database.start, profile.seed) as storm:
            for _ in range(4):
                storm.add_writer(*ACTS)
            for _ in range(profile.kills):
                storm.wait_for_promises(25)
                storm.kill_one()
                storm.add_writer(*ACTS)
        profile.report({**storm.faults, "acknowledged writes": storm.promises.count})
        assert_all_is_well(database.rows, database.manage, storm.promises)


def prepare(database: Database) -> None:
    database.migrate()
    database.execute(TURNED_CLOCK)
    database.execute(f'ALTER DATABASE "{database.name}" SET search_path = turned, pg_catalog, public')
    prepared = database.manage("shell", "-v0", "-c", PREPARE)
    assert (prepared.code, prepared.err) == (0, "")
