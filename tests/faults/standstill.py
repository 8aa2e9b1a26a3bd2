"""Writers that stand still in the middle of a batch, for as long as a test needs: it never has to be quick enough."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from tests.faults.processes import wait_until
from tests.sql import sql

if TYPE_CHECKING:
    from collections.abc import Iterator

# Each row that is written counts, also of a batch that is rolled back. It is no lock: a pass gives up to wait for one.
TRIGGER = """
    CREATE SEQUENCE rows_written;
    CREATE TABLE standstill AS SELECT true AS holds;
    CREATE FUNCTION stand_still() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF nextval('rows_written') > {rows} THEN
                WHILE (SELECT holds FROM standstill) LOOP PERFORM pg_sleep(0.01); END LOOP;
            END IF;
            RETURN NEW;
        END $$;
    CREATE TRIGGER aa_stand_still BEFORE INSERT OR UPDATE ON "{table}" FOR EACH ROW EXECUTE FUNCTION stand_still()
"""


class Standstill:
    """Where the writers stand still."""

    def wait(self) -> None:
        """Wait until one of them does."""
        wait_until(
            lambda: sql(
                "SELECT FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database() "
                "AND pid <> pg_backend_pid()"
            )
        )

    def end(self) -> None:
        """Let them go on."""
        sql("UPDATE standstill SET holds = false")


@contextmanager
def standstill_after(rows: int, table: str) -> Iterator[Standstill]:
    """Let those who write a table stand still once they have written so many rows, until the end of the block."""
    sql(TRIGGER.format(rows=rows, table=table))
    here = Standstill()
    try:
        yield here
    finally:
        here.end()
        sql("DROP FUNCTION stand_still() CASCADE; DROP TABLE standstill; DROP SEQUENCE rows_written")
