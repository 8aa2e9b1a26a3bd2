"""A server of its own, which faults may stop, fill and crowd; commands reach it by its address, as any server."""

from __future__ import annotations

import os
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
    """A PostgreSQL in a folder."""

    def __init__(self, pgdata: Path) -> None:
        self.pgdata = pgdata
        self.account = postgres.server_account()
        self._numbers = 0
        self.start()

    @classmethod
    def make(cls, pgdata: Path) -> Server:
        """Make and start a server with a role for the commands."""
        server = cls(pgdata)
        for setting in ("fsync = off", f"max_connections = {MAX_CONNECTIONS}", "superuser_reserved_connections = 3"):
            server.execute(f"ALTER SYSTEM SET {setting}")
        server.execute(f"CREATE ROLE {ROLE} LOGIN")
        server.execute(f"GRANT pg_read_all_stats TO {ROLE}")  # for --max-lag
        server.stop("fast")
        server.start()
        return server

    def standby(self, pgdata: Path) -> Server:
        """Make and start a streaming standby of this server."""
        pgdata.mkdir(mode=0o700)
        os.chown(pgdata, self.account.uid, self.account.gid)
        source = ["-h", str(postgres.socket_folder_for(self.pgdata)), "-p", postgres.PORT, "-U", postgres.SUPERUSER]
        subprocess.run(
            [postgres.PROGRAMS / "pg_basebackup", *source, "-D", pgdata, "-R", "-c", "fast", "--no-sync"],
            check=True,
            capture_output=True,
            cwd="/",
            **self.account.subprocess_options(),
        )
        # A copy of the running server's, whose socket is in its folder.
        (pgdata / f".s.PGSQL.{postgres.PORT}.lock").unlink(missing_ok=True)
        return Server(pgdata)

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

    @property
    def url(self) -> str:
        folder = quote(str(postgres.socket_folder_for(self.server.pgdata)), safe="")
        return f"postgres://{ROLE}@/{self.name}?host={folder}&port={postgres.PORT}"

    def start(self, *arguments: str, **settings: str) -> Forked:
        environment = {**ENVIRONMENT, "SECRET_KEY": "for tests", "DATABASE_URL": self.url, **settings}
        return Forked(*arguments, environment=environment)

    def manage(self, *arguments: str, **settings: str) -> Result:
        return Result.of(self.start(*arguments, **settings))

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
