"""Read ``DATABASE_URL``, Prisma's form included, into Django's settings."""

from __future__ import annotations

import re
import traceback
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import unquote

import psycopg
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import DEFAULT_DB_ALIAS, connections
from psycopg.conninfo import conninfo_to_dict

from project.pooled import SEARCH_PATH

if TYPE_CHECKING:
    from collections.abc import Sequence

    from django.core.checks import CheckMessage
    from django.db import InterfaceError, OperationalError

EMBEDDED = {"ENGINE": "project.embedded", "NAME": "agentstate", "USER": "postgres", "PORT": "5432"}
EXAMPLE = "postgres://user:password@host:5432/name"


class Database(NamedTuple):
    """Django's settings of a database, and the URL's parameters that have no effect."""

    settings: dict[str, Any]
    dropped: tuple[str, ...] = ()


class BadDatabaseURLError(ImproperlyConfigured):
    """The variable with the URL cannot be used. The message never repeats the URL, which may hold a password."""

    def __init__(self, fact: str, variable: str = "DATABASE_URL") -> None:
        super().__init__(f"{variable} {fact}.")
        self.fact = fact


def database_from_url(url: str, variable: str = "DATABASE_URL") -> Database:
    """Parse a PostgreSQL URL as libpq does, without the parameters that only Prisma knows.

    An empty URL means the embedded PostgreSQL.

    Args:
        variable: where the URL is from.

    Raises:
        BadDatabaseURLError: the text is not the URL of a PostgreSQL database.
    """
    if not url:
        return Database(dict(EMBEDDED))
    try:
        return _from_url(url)
    except BadDatabaseURLError as error:
        raise BadDatabaseURLError(error.fact, variable) from None


def _from_url(url: str) -> Database:
    address, parameters = _split(url)
    known = {name: value for name, value in parameters.items() if _libpq_knows(name, value)}
    ours = {name: unquote(value) for name, value in parameters.items() if name not in known}

    parts = _parse(address, known)
    is_pooled = ours.pop("pgbouncer", "") == "true"
    schema = ours.pop("schema", "")
    if schema and not is_pooled:
        parts["options"] = f"{parts.get('options', '')} -c search_path={_for_command_line(_quoted(schema))}".strip()
    parts.setdefault("connect_timeout", "10")
    database = {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": parts.pop("dbname"),
        "USER": parts.pop("user", ""),
        "PASSWORD": parts.pop("password", ""),
        "HOST": parts.pop("host", ""),
        "PORT": parts.pop("port", ""),
        "OPTIONS": parts,
        # A transaction pooler may run the next statement on another connection, which lacks the cursor.
        "DISABLE_SERVER_SIDE_CURSORS": is_pooled,
    }
    if schema and is_pooled:
        database[SEARCH_PATH] = _quoted(schema)
    return Database(database, dropped=tuple(ours))


def _split(url: str) -> tuple[str, dict[str, str]]:
    """Split the URL into address and query where libpq does: not at a question mark in the password."""
    scheme, separator, rest = url.partition("://")
    if not separator:
        raise BadDatabaseURLError(f"is not a URL such as {EXAMPLE}")
    if scheme not in ("postgres", "postgresql"):
        raise BadDatabaseURLError(f"does not start with postgres:// or postgresql://, as {EXAMPLE} does")

    login, at, host = rest.partition("@")
    if "/" in login:
        login, at, host = "", "", rest
    host, _, query = host.partition("?")
    if "@" in host or "@" in query:
        raise BadDatabaseURLError(
            "holds an @ or a / in the user's name or the password, which must be written as %40 or %2F"
        )
    parameters = dict(parameter.partition("=")[::2] for parameter in query.split("&") if parameter)
    return f"{scheme}://{login}{at}{host}", parameters


def _libpq_knows(name: str, value: str) -> bool:
    keywords = {option.keyword.decode() for option in psycopg.pq.Conninfo.get_defaults()}
    return name in keywords or (name, value) == ("ssl", "true")


def _parse(address: str, parameters: dict[str, str]) -> dict[str, Any]:
    query = "&".join(f"{name}={value}" for name, value in parameters.items())
    try:
        parts = conninfo_to_dict(f"{address}?{query}")
    except psycopg.ProgrammingError:
        raise BadDatabaseURLError(
            f"cannot be read; it should look like {EXAMPLE}, with a % in the password written as %25"
        ) from None
    for port in filter(None, str(parts.get("port") or "").split(",")):
        if not (port.isdecimal() and 0 < int(port) < 65536):
            raise BadDatabaseURLError("has a port that is not a number from 1 to 65535")
    if not parts.get("dbname"):
        raise BadDatabaseURLError(f"names no database; it should look like {EXAMPLE}")
    return parts


def _quoted(schema: str) -> str:
    return '"' + schema.replace('"', '""') + '"'


def _for_command_line(value: str) -> str:
    """Escape a setting's value for the server's command line."""
    return re.sub(r"([\\\s])", r"\\\1", value)


def check_connection(databases: Sequence[str] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """Connect, as a system check, and let a failure through. ``manage.py`` says it in one sentence for any command."""
    for alias in databases or ():
        connections[alias].ensure_connection()
    return []


def connection_failure(error: OperationalError | InterfaceError) -> str | None:
    """Return in one sentence why the connection failed; None for any other error."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    connecting = [each for each in frames if each.f_code.co_name == "get_new_connection"]
    if not connecting:
        return None
    alias = connecting[0].f_locals["self"].alias
    database = settings.DATABASES[alias]
    reason = _reason(str(error))
    if database["ENGINE"] == EMBEDDED["ENGINE"]:
        return f"Could not connect to the embedded PostgreSQL: {reason}."
    where = database["HOST"] or "the local socket"
    if database["PORT"]:
        where += f", port {database['PORT']}"
    variable = "DATABASE_URL" if alias == DEFAULT_DB_ALIAS else "AGENTSTATE_READ_DATABASE_URL"
    return f"Could not connect to the database {database['NAME']!r} at {where}: {reason}. Check {variable}."


def server_failure(error: OperationalError | InterfaceError) -> str:
    """Return in one sentence what failed in the middle of ``migrate``, and how to continue."""
    return (
        f"The database server failed: {_reason(str(error))}. Migrations that were applied stay applied. Check the "
        "server, then run manage.py migrate again."
    )


def _reason(message: str) -> str:
    """Return the last cause in a report that has a line for each address tried."""
    causes = re.findall(r".*(?:FATAL|failed|error): +(\S.*)", message) or [message.partition("\n")[0]]
    return str(causes[-1]).strip().rstrip(".")
