"""Servers and hosts that are set up otherwise than ours."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from django.db import connection
from psycopg.sql import SQL, Identifier

from tests.sql import sql

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def default_isolation(level: str) -> Iterator[None]:
    """Make an isolation level the default of the tests' database, for connections that are opened in the block."""
    _set_default("SET default_transaction_isolation = {}", level)
    try:
        yield
    finally:
        _set_default("RESET default_transaction_isolation")


def _set_default(setting: str, *values: str) -> None:
    sql("SELECT 1")
    name = connection.settings_dict["NAME"]
    query = SQL("ALTER DATABASE {} " + setting).format(Identifier(name), *values)  # type: ignore[arg-type]
    sql(query.as_string(connection.connection))
    connection.close()


@contextmanager
def server_side_binding(is_on: bool = True) -> Iterator[None]:
    """Let the host have set ``OPTIONS["server_side_binding"]``, for connections that are opened in the block."""
    options = connection.settings_dict["OPTIONS"]
    before = dict(options)
    options["server_side_binding"] = is_on
    _reconnect()
    try:
        yield
    finally:
        options.clear()
        options.update(before)
        _reconnect()


def _reconnect() -> None:
    connection.close()
    connection.features.__dict__.pop("uses_server_side_binding", None)
