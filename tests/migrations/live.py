"""The legacy application, writing and reading while a test changes its database."""

from __future__ import annotations

import time
from contextlib import contextmanager
from threading import Event, Thread
from typing import TYPE_CHECKING

import psycopg

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from tests.migrations.databases import Database

CHANGE = 'UPDATE "Project" SET "factsJson" = to_jsonb(%(n)s::int) WHERE "id" = \'live\''
ADD = 'INSERT INTO "Project" ("id", "userId", "name") VALUES (\'live-\' || %(n)s, \'u1\', \'Live\')'
REMOVE = 'DELETE FROM "Project" WHERE "id" = \'live-\' || %(n)s'
READ = 'SELECT "id", "factsJson", "meta" FROM "Project" WHERE "id" = \'live\''


class LegacyApplication:
    """Runs its statements one after the other, and records the rounds, the longest statement and the first error.

    The ids of its rows begin with "live", by which other helpers leave them out.
    """

    def __init__(self, database: Database, *statements: str) -> None:
        self.database = database
        self.statements = statements or (CHANGE, ADD, READ, REMOVE)
        self.rounds = 0
        self.longest = 0.0
        self.error: psycopg.Error | None = None
        self._end = Event()
        self._thread = Thread(target=self._work)

    def __enter__(self) -> LegacyApplication:
        self.database.execute(
            """INSERT INTO "Project" ("id", "userId", "name") VALUES ('live', 'u1', 'Live') ON CONFLICT DO NOTHING"""
        )
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._end.set()
        self._thread.join()

    def _work(self) -> None:
        with self.database.connect() as connection:
            while not self._end.is_set():
                try:
                    for statement in self.statements:
                        started = time.monotonic()
                        connection.execute(statement, {"n": self.rounds + 1})
                        self.longest = max(self.longest, time.monotonic() - started)
                except psycopg.Error as error:
                    self.error = error
                    return
                self.rounds += 1
                time.sleep(0.002)


@contextmanager
def held(database: Database, mode: str, table: str = "Project") -> Iterator[None]:
    """Hold a lock on a table, as a long transaction of another client does."""
    with database.connect(autocommit=False) as connection:
        connection.execute(f'LOCK TABLE "{table}" IN {mode} MODE')
        yield
