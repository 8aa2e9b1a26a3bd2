"""Settings of a connection that decide how the server prints values and reads SQL.

A role or a database may have other defaults than ours. These are set on each new connection where they differ, by a
statement and not by a startup option, which PgBouncer refuses. Both are settings that PgBouncer keeps for each client,
so a pooled connection does not carry them into the sessions of others. Django sets the encoding and the time zone.

Other settings do not need it: no query of agentstate returns an interval, bytea or a quoted name, or depends on how a
float is rounded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

# What the server reports of itself, how the value must begin, and the statement that makes it so.
_NEEDED = (
    (b"DateStyle", b"ISO", "SET DateStyle = ISO"),  # psycopg reads no other timestamps
    (b"standard_conforming_strings", b"on", "SET standard_conforming_strings = on"),
)


def fix_settings(connection: BaseDatabaseWrapper, **kwargs: Any) -> None:
    """Set what a new connection needs. Receives ``connection_created``; costs nothing where nothing differs."""
    if connection.vendor != "postgresql":
        return
    status = connection.connection.pgconn.parameter_status
    statements = [statement for name, start, statement in _NEEDED if not (status(name) or b"").startswith(start)]
    if statements:
        with connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
