"""A server of its own, which faults may stop, fill and crowd; commands reach it by its address, as any server."""

from __future__ import annotations

import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import psycopg
from psycopg import sql

from project.embedded import postgres
from tests.forked import Forked
from tests.migrations.databases import Result
from tests.project.processes import ENVIRONMENT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ROLE = "app"  # no superuser: those have connections and rights of their own
MAX_CONNECTIONS = 20


class Server:
    """A PostgreSQL in a folder.

    Args:
        pgdata: the folder, which is made.
    """

    def __init__(self, pgdata: Path) -> None:
        self.pgdata = pgdata
        self.account = postgres.server_account()
        self._numbers = 0
        self.start()
        for setting in ("fsync = off", f"max_connections = {MAX_CONNECTIONS}", "superuser_reserved_connections = 3"):
            self.execute(f"ALTER SYSTEM SET {setting}")
        self.execute(f"CREATE ROLE {ROLE} LOGIN")
        self.stop("fast")
        self.start()

    def start(self) -> None:
        postgres.start(self.pgdata, self.account)

    def stop(self, mode: str) -> None:
        """Stop it; ``immediate`` tells its clients nothing, and what was not committed is lost."""
        program, *options = postgres.stop_command(self.pgdata)
        options[options.index("fast")] = mode
        subprocess.run(
            [program, *options], check=True, capture_output=True, cwd="/", **self.account.subprocess_options()
        )

    def connect(self, database: str = "postgres", user: str = postgres.SUPERUSER) -> psycopg.Connection[Any]:
        folder = str(postgres.socket_folder_for(self.pgdata))
        return psycopg.connect(host=folder, port=postgres.PORT, user=user, dbname=database, autocommit=True)

    def execute(self, statement: str) -> None:
        with self.connect() as connection:
            connection.execute(statement)

    def database(self, template: str = "template0", tablespace: str = "pg_default") -> Database:
        """Create a database from a template."""
        self._numbers += 1
        name = f"injected_{self._numbers}"
        # Copied through the WAL, a sequence goes back after a crash: PostgreSQL takes what is logged for ahead.
        statement = "CREATE DATABASE {} TEMPLATE {} STRATEGY file_copy OWNER {} TABLESPACE {}"
        names = (name, template, ROLE, tablespace)
        self.execute(sql.SQL(statement).format(*map(sql.Identifier, names)).as_string(None))
        return Database(self, name)

    def drop(self, database: Database) -> None:
        self.execute(f"DROP DATABASE {database.name} WITH (FORCE)")


class Database:
    """A database of such a server."""

    def __init__(self, server: Server, name: str) -> None:
        self.server, self.name = server, name

    def start(self, *arguments: str) -> Forked:
        folder = quote(str(postgres.socket_folder_for(self.server.pgdata)), safe="")
        url = f"postgres://{ROLE}@/{self.name}?host={folder}&port={postgres.PORT}"
        return Forked(*arguments, environment={**ENVIRONMENT, "SECRET_KEY": "for tests", "DATABASE_URL": url})

    def manage(self, *arguments: str) -> Result:
        return Result.of(self.start(*arguments))

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with self.server.connect(self.name) as connection:
            return connection.execute(query).fetchall()

    def execute(self, statement: str) -> None:
        with self.server.connect(self.name) as connection:
            connection.execute(statement)

    @contextmanager
    def set_for_role(self, setting: str, value: str) -> Iterator[None]:
        """Give a setting to the role's sessions in this database."""
        self.execute(f"ALTER ROLE {ROLE} IN DATABASE {self.name} SET {setting} = '{value}'")
        try:
            yield
        finally:
            self.execute(f"ALTER ROLE {ROLE} IN DATABASE {self.name} RESET {setting}")
