"""Servers that somebody else has configured: the whole tour gives what it gives on an ordinary one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.migrations.databases import new_database

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.faults.storms.conftest import Profile

pytestmark = pytest.mark.django_db

TOUR = "from tests.faults.storms.tour import tour; tour()"

# As SQL has the values.
ODD = {
    "array_nulls": "off",
    "backslash_quote": "off",
    "bytea_output": "escape",
    "check_function_bodies": "off",
    "DateStyle": "German, DMY",
    "default_transaction_isolation": "'serializable'",
    "default_transaction_deferrable": "on",
    "enable_indexscan": "off",
    "escape_string_warning": "off",
    "extra_float_digits": "-15",
    "idle_in_transaction_session_timeout": "'30s'",
    "IntervalStyle": "sql_standard",
    "jit_above_cost": "0",
    "lock_timeout": "'20s'",
    "plan_cache_mode": "force_generic_plan",
    "plpgsql.variable_conflict": "use_column",
    "quote_all_identifiers": "on",
    "row_security": "off",
    "standard_conforming_strings": "off",
    "statement_timeout": "'60s'",
    "synchronous_commit": "off",
    "TimeZone": "'Pacific/Chatham'",
    "transform_null_equals": "on",
}
# Further values of the same settings.
MORE = (
    ("DateStyle", "Postgres, MDY"),
    ("DateStyle", "SQL, DMY"),
    ("IntervalStyle", "iso_8601"),
    ("IntervalStyle", "postgres_verbose"),
    ("default_transaction_isolation", "'repeatable read'"),
    ("TimeZone", "'America/St_Johns'"),
)


def test_no_setting_changes_the_results(profile: Profile) -> None:
    ordinary = tour_with({})
    one_by_one = [{name: value} for name, value in (*ODD.items(), *MORE)] if profile.every else []
    for settings in (ODD, *one_by_one):
        assert tour_with(settings) == ordinary, settings
        profile.report({"odd settings": len(settings)})


def tour_with(settings: Mapping[str, str]) -> list[str]:
    """Return the lines of a tour on a database with these settings."""
    with new_database() as database:
        for name, value in settings.items():
            database.execute(f'ALTER DATABASE "{database.name}" SET {name} TO {value}')
        migrated = database.manage("migrate", "-v0")
        assert (migrated.code, migrated.err) == (0, ""), settings
        toured = database.manage("shell", "-v0", "-c", TOUR)
        assert toured.code == 0, f"{settings}: {toured.err}"
        return toured.out.splitlines()
