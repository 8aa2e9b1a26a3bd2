"""Separate databases beside the test database: create, inspect, and run `manage.py` on them."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import uuid
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

import psutil
import psycopg
from django.db import connection as test_connection
from psycopg import sql

from project.database import EMBEDDED
from project.embedded.postgres import server_account
from tests.forked import MANAGE, Forked
from tests.project.processes import ENVIRONMENT

if TYPE_CHECKING:
    from collections.abc import Iterator

MEMORY = Path("/dev/shm")
ENOUGH = 4_000_000_000  # bytes; the databases of three workers take less than a tenth

# One line for each object in the database, with all its properties that could change.
SCHEMA = """
WITH relation AS (
    SELECT oid AS relation, relnamespace::regnamespace || '.' || quote_ident(relname) AS name, relkind,
        relpersistence, relowner, relacl, reloptions, relrowsecurity, relreplident, reltablespace
    FROM pg_class WHERE relnamespace <> ALL (ARRAY['pg_catalog', 'information_schema', 'pg_toast']::regnamespace[])
)
SELECT concat_ws(' ', 'relation', name, relkind, relpersistence, relowner::regrole, relacl, reloptions,
                 relrowsecurity, relreplident, reltablespace, obj_description(relation, 'pg_class'))
FROM relation
UNION ALL
SELECT concat_ws(' ', 'column', name, attnum, quote_ident(attname), format_type(atttypid, atttypmod), attnotnull,
                 attgenerated, attidentity, attstorage, attcompression, attacl, pg_get_expr(adbin, adrelid))
FROM relation JOIN pg_attribute ON attrelid = relation AND attnum > 0 AND NOT attisdropped AND relkind <> 'i'
LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
UNION ALL
SELECT concat_ws(' ', 'constraint', name, quote_ident(conname), pg_get_constraintdef(pg_constraint.oid))
FROM relation JOIN pg_constraint ON conrelid = relation
UNION ALL
SELECT concat_ws(' ', 'index', name, pg_get_indexdef(indexrelid), indisvalid)
FROM relation JOIN pg_index ON indrelid = relation
UNION ALL
SELECT concat_ws(' ', 'trigger', name, pg_get_triggerdef(pg_trigger.oid), tgenabled)
FROM relation JOIN pg_trigger ON tgrelid = relation AND NOT tgisinternal
UNION ALL
SELECT concat_ws(' ', 'function', pg_get_functiondef(oid), proowner::regrole, proacl)
FROM pg_proc WHERE pronamespace <> ALL (ARRAY['pg_catalog', 'information_schema']::regnamespace[]) AND prokind = 'f'
UNION ALL
SELECT concat_ws(' ', 'type', format_type(oid, NULL), typtype)
FROM pg_type WHERE typnamespace <> ALL (ARRAY['pg_catalog', 'information_schema', 'pg_toast']::regnamespace[])
UNION ALL
SELECT concat_ws(' ', 'schema', nspname, nspacl) FROM pg_namespace WHERE nspname !~ '^pg_'
"""
# `manage.py` with short lock timeouts and no pauses after them, whose number it prints in the end.
IMPATIENT = """
from types import SimpleNamespace
from agentstate import lock_timeout
pauses = []
lock_timeout.ATTEMPTS, lock_timeout.LOCK_TIMEOUT, lock_timeout.time = 3, "150ms", SimpleNamespace(sleep=pauses.append)
from manage import main
try:
    main()
finally:
    print(f"\\n{len(pauses)} pauses")
"""


class Database:
    """A database on the server of the tests."""

    def __init__(self, name: str) -> None:
        self.name = name

    @contextmanager
    def connect(self, *, autocommit: bool = True) -> Iterator[psycopg.Connection[Any]]:
        connection = psycopg.connect(**server(), dbname=self.name, autocommit=autocommit)
        try:
            yield connection
        finally:
            connection.close()

    def execute(self, statements: str) -> None:
        with self.connect() as connection:
            connection.execute(statements)

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with self.connect() as connection:
            return connection.execute(query).fetchall()

    def value(self, query: str) -> Any:
        return self.rows(query)[0][0]

    def schema(self) -> set[str]:
        """Return every object of the database, one line each."""
        return {line for (line,) in self.rows(SCHEMA)}

    def columns(self) -> dict[str, list[str]]:
        """Return the columns of each table."""
        return dict(
            self.rows(
                """
                SELECT relname, array_agg(attname::text ORDER BY attnum)
                FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid
                WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND attnum > 0 AND NOT attisdropped
                GROUP BY relname
                """
            )
        )

    def content(self, columns: dict[str, list[str]]) -> dict[str, bytes]:
        """Return these columns of each row with its ctid and xmin, without the rows of LegacyApplication."""
        content = {}
        with self.connect() as connection, connection.cursor() as cursor:
            for table, names in columns.items():
                rows = sql.SQL(
                    "SELECT ctid, xmin, {} FROM {} row WHERE row::text NOT LIKE '(live%' ORDER BY ctid"
                ).format(sql.SQL(", ").join(map(sql.Identifier, names)), sql.Identifier(table))
                with cursor.copy(sql.SQL("COPY ({}) TO STDOUT").format(rows)) as copy:
                    content[table] = b"".join(copy)
        return content

    def url(self, **parameters: str) -> str:
        return f"postgres:///{self.name}?{urlencode({**server(), **parameters}, quote_via=quote)}"

    def start(
        self,
        *arguments: str,
        impatient: bool = False,
        settings: dict[str, str] | None = None,
        stderr: int = subprocess.PIPE,
        **parameters: str,
    ) -> Forked:
        """Start `manage.py` on this database, with settings; the parameters are those of its connection."""
        environment = {
            **ENVIRONMENT,
            "SECRET_KEY": "a key for tests only",
            "DATABASE_URL": self.url(**parameters),
            **(settings or {}),
        }
        return Forked(*arguments, environment=environment, program=IMPATIENT if impatient else MANAGE, stderr=stderr)

    def manage(
        self, *arguments: str, impatient: bool = False, settings: dict[str, str] | None = None, **parameters: str
    ) -> Result:
        """Run `manage.py` on this database to its end."""
        return Result.of(self.start(*arguments, impatient=impatient, settings=settings, **parameters))

    def migrate(self, *target: str) -> None:
        result = self.manage("migrate", *target, "-v0")
        assert (result.code, result.out, result.err) == (0, "", "")

    def applied(self) -> list[str]:
        """Return the names of our migrations that are applied, without what follows their number."""
        names = self.rows("SELECT name FROM django_migrations WHERE app = 'agentstate' ORDER BY name")
        return [name[:4] for (name,) in names]


class Result:
    """The exit code and the output of a process."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @classmethod
    def of(cls, process: Forked) -> Result:
        out, err = process.communicate(timeout=60)
        return cls(process.returncode, out, err or "")


@contextmanager
def new_database(template: str = "template0") -> Iterator[Database]:
    """Create a database with a unique name, and drop it at the end."""
    name = f"agentstate_{uuid.uuid4().hex[:12]}"
    parts = sql.Identifier(name), sql.Identifier(template), sql.Identifier(_tablespace())
    create = sql.SQL("CREATE DATABASE {} TEMPLATE {} TABLESPACE {}").format(*parts)
    with Database("postgres").connect() as connection:
        # By copying files, which takes half the time, and which version 14 does unasked.
        strategy = sql.SQL(" STRATEGY file_copy" if connection.info.server_version >= 15_00_00 else "")
        connection.execute(create + strategy)
    try:
        yield Database(name)
    finally:
        with Database("postgres").connect() as connection:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@cache
def _tablespace() -> str:
    """Return the tablespace of new databases: in memory, if the server is ours and there is much.

    A database is hundreds of files. On a disk, the file system takes longer to make and delete them than PostgreSQL.
    """
    if test_connection.settings_dict["ENGINE"] != EMBEDDED["ENGINE"] or not _has_room():
        return "pg_default"
    folder = tempfile.mkdtemp(prefix="agentstate_", dir=MEMORY)
    os.chown(folder, *server_account())
    name = Path(folder).name
    with Database("postgres").connect() as connection:
        connection.execute(sql.SQL("CREATE TABLESPACE {} LOCATION {}").format(sql.Identifier(name), folder))
    return name


def _has_room() -> bool:
    if not MEMORY.is_dir() or not os.access(MEMORY, os.W_OK):
        return False
    return min(shutil.disk_usage(MEMORY).free, psutil.virtual_memory().available) > ENOUGH


def drop_tablespace() -> None:
    """Drop the tablespace in memory, if there is one, once all its databases are dropped."""
    if not _tablespace.cache_info().currsize or (name := _tablespace()) == "pg_default":
        return
    with Database("postgres").connect() as connection:
        connection.execute(sql.SQL("DROP TABLESPACE {}").format(sql.Identifier(name)))
    shutil.rmtree(MEMORY / name)


def server() -> dict[str, str]:
    """Return the connection parameters of the test server."""
    parameters = test_connection.get_connection_params()
    return {name: parameters[name] for name in ("host", "port", "user", "password") if parameters.get(name)}
