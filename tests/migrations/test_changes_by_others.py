"""Other tools change "Project": the legacy application keeps working, and the catalog says who made the change."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.migrations.databases import Database

COLUMNS = ["rfpNormJson", "factsJson", "coverageJson", "conflictLogJson", "eligibilityJson"]
DROP_ALL = ", ".join(f'DROP COLUMN "{column}" CASCADE' for column in COLUMNS)
CHANGES = {
    "all state columns dropped": DROP_ALL,
    "one state column dropped": 'DROP COLUMN "coverageJson" CASCADE',
    "a state column of json": 'ALTER COLUMN "coverageJson" TYPE json',
    "a state column of text": 'ALTER COLUMN "coverageJson" TYPE text',
    "the clock dropped": 'DROP COLUMN "stateUpdatedAt"',
    "clock and columns dropped": f'DROP COLUMN "stateUpdatedAt", {DROP_ALL}',
    "a clock of another type": 'ALTER COLUMN "stateUpdatedAt" TYPE timestamp(3)',
    "a clock of text": 'ALTER COLUMN "stateUpdatedAt" DROP DEFAULT, ALTER COLUMN "stateUpdatedAt" TYPE text',
}
READ = """
import json
from agentstate.state.columns import read_legacy_home
home = read_legacy_home()
print(json.dumps({name: getattr(home, name) for name in (
    "missing", "has_clock", "is_contracted", "dropped_by_others", "added_by_others", "is_as_we_left_it")}
    | {"repairs": home.repairs()}))
"""


def legacy_home(database: Database) -> dict[str, Any]:
    result = database.manage("shell", "-v0", "-c", READ)
    assert result.code == 0, result.err
    answer = json.loads(result.out)
    assert isinstance(answer, dict)
    return answer


def alter(database: Database, change: str) -> None:
    database.execute(f'DROP VIEW IF EXISTS "RecentProject"; ALTER TABLE "Project" {change}')


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_the_legacy_application_keeps_writing(adopted: Database, change: str) -> None:
    # One session has used the trigger before, as a pooled connection has.
    with adopted.connect() as used, adopted.connect() as fresh:
        used.execute("""UPDATE "Project" SET name = 'before', "factsJson" = '1' WHERE id = 'nothing'""")
        alter(adopted, change)
        for session in (used, fresh):
            session.execute("""UPDATE "Project" SET name = 'after' WHERE id = 'nothing'""")
            session.execute("""INSERT INTO "Project" (id, "userId", name) VALUES (gen_random_uuid(), 'u1', 'n')""")

    assert adopted.value("""SELECT name FROM "Project" WHERE id = 'nothing'""") == "after"


@pytest.mark.parametrize("change", ['DROP COLUMN "coverageJson" CASCADE', 'ALTER COLUMN "coverageJson" TYPE json'])
def test_the_clock_still_sees_changes_of_the_columns_that_are_left(adopted: Database, change: str) -> None:
    alter(adopted, change)
    clock = """SELECT "stateUpdatedAt" FROM "Project" WHERE id = 'nothing'"""
    before = adopted.value(clock)

    adopted.execute("""UPDATE "Project" SET name = 'other' WHERE id = 'nothing'""")
    same = adopted.value(clock)
    adopted.execute("""UPDATE "Project" SET "factsJson" = '7' WHERE id = 'nothing'""")

    assert same == before
    assert adopted.value(clock) > before


def test_an_unchanged_home_needs_no_repair(adopted: Database) -> None:
    assert legacy_home(adopted) == {
        "missing": [],
        "has_clock": True,
        "is_contracted": False,
        "dropped_by_others": [],
        "added_by_others": [],
        "is_as_we_left_it": True,
        "repairs": [],
    }


def test_without_the_table_everything_is_missing(empty: Database) -> None:
    home = legacy_home(empty)

    assert (home["missing"], home["has_clock"], home["is_contracted"]) == (COLUMNS, False, False)


@pytest.mark.parametrize(
    ("change", "dropped"),
    [
        (DROP_ALL, COLUMNS),
        ('DROP COLUMN "coverageJson" CASCADE', ["coverageJson"]),
        ('DROP COLUMN "stateUpdatedAt"', []),
        (f'DROP COLUMN "stateUpdatedAt", {DROP_ALL}', COLUMNS),
        ('ALTER COLUMN "stateUpdatedAt" TYPE timestamp(3)', []),
        ("DISABLE TRIGGER zz_agentstate_state_clock", []),
    ],
)
def test_changes_by_others_are_detected_and_the_statements_repair_them(
    adopted: Database, change: str, dropped: list[str]
) -> None:
    moved = adopted.manage("backfill_agentkit_state", "-v0")
    documents = f"""SELECT id, {", ".join(f'"{column}"::text' for column in COLUMNS)} FROM "Project" ORDER BY id"""
    before = adopted.rows(documents)
    alter(adopted, change)
    home = legacy_home(adopted)
    assert (home["is_contracted"], home["dropped_by_others"]) == (False, dropped)
    assert home["is_as_we_left_it"] is False

    for statement in home["repairs"]:
        adopted.execute(statement)

    assert moved.code == 0
    assert legacy_home(adopted)["is_as_we_left_it"] is True
    assert adopted.rows(documents) == before
    for command in ("backfill_agentkit_state", "verify_agentkit_state"):
        result = adopted.manage(command, "-v0")
        assert (result.code, result.err) == (0, "")


def test_the_statements_restore_a_dropped_trigger(adopted: Database) -> None:
    adopted.execute('DROP TRIGGER zz_agentstate_state_clock ON "Project"')
    home = legacy_home(adopted)

    for statement in home["repairs"]:
        adopted.execute(statement)

    assert home["is_as_we_left_it"] is False
    assert legacy_home(adopted)["is_as_we_left_it"] is True
