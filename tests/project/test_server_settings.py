"""Settings of a role or database that change what the server prints or reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.migrations.databases import Database, new_database
from tests.project.processes import CLONE

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.django_db

PRISMA = (CLONE / "tests" / "migrations" / "prisma.sql").read_text()
SETTINGS = {
    "DateStyle": "'SQL, DMY'",
    "IntervalStyle": "sql_standard",
    "TimeZone": "'Asia/Kathmandu'",
    "array_nulls": "off",
    "backslash_quote": "off",
    "bytea_output": "escape",
    "client_encoding": "'LATIN1'",
    "client_min_messages": "debug1",
    "default_transaction_isolation": "'repeatable read'",
    "enable_hashjoin": "off",
    "extra_float_digits": "-5",
    "jit": "on",
    "quote_all_identifiers": "on",
    "standard_conforming_strings": "off",
    "transform_null_equals": "on",
    "xmloption": "document",
}


@pytest.fixture
def database() -> Iterator[Database]:
    with new_database() as database:
        database.execute(PRISMA)
        for name, value in SETTINGS.items():
            database.execute(f'ALTER DATABASE "{database.name}" SET {name} = {value}')
        yield database


def test_a_legacy_database_is_adopted_backfilled_and_left(database: Database) -> None:
    def manage(*arguments: str, code: int = 0) -> str:
        result = database.manage(*arguments)
        assert (result.code, "Traceback" in result.err) == (code, False), result.out + result.err
        return result.out

    manage("migrate", "--verbosity", "0")
    manage("check", "--database", "default", "--fail-level", "WARNING")
    assert "305 of 305 projects would be moved" in manage("backfill_agentkit_state", "--dry-run")
    assert "305 of 305 projects moved" in manage("backfill_agentkit_state")
    assert "Clean." in manage("verify_agentkit_state", "--audit")
    manage("reverse_backfill_agentkit_state")
    manage("migrate", "agentstate", "zero", "--verbosity", "0")


@pytest.mark.parametrize("style", ["SQL, DMY", "German", "Postgres", "ISO, YMD"])
def test_the_style_of_dates_is_set_where_it_differs(database: Database, style: str) -> None:
    database.execute(f"ALTER DATABASE \"{database.name}\" SET DateStyle = '{style}'")
    shown = database.manage("shell", "-v0", "-c", SHOW).out.strip()
    # The order of day and month, which says how such input is read, stays.
    assert shown == f"ISO, {style.rpartition(' ')[2]}" if "," in style else shown.startswith("ISO")


SHOW = """
from django.db import connection
with connection.cursor() as cursor:
    cursor.execute("SHOW DateStyle")
    print(cursor.fetchone()[0])
"""
