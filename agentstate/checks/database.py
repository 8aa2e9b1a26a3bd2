"""Checks of the database that agentstate shares with others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.apps import apps
from django.core.checks import CheckMessage, Error, Tags, Warning, register  # noqa: A004
from django.db import OperationalError, connections
from psycopg.sql import SQL, Identifier
from waffle.models import AbstractBaseFlag

from agentstate.models import Flag
from agentstate.row_security import tables_that_hide
from agentstate.state.foreign_changes import read_foreign_changes

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

NAMED = 5


@register(Tags.database)
def check_database(databases: Sequence[str] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """Report what others did to the database that makes agentstate read too little, or that it cannot be reached."""
    return [
        message
        for alias in databases or ()
        if connections[alias].vendor == "postgresql"
        for message in _of_database(alias)
    ]


def _of_database(alias: str) -> Iterable[CheckMessage]:
    if (problem := connection_problem(alias)) is not None:
        yield Error(
            f"The database {alias!r} cannot be reached: {problem}",
            hint="Start the server, or correct the address, the name or the password of this database in DATABASES.",
            id="agentstate.E014",
        )
        return
    for check in (_hidden_rows, _foreign_changes, _flags_left_behind):
        yield from check(alias)


def connection_problem(alias: str) -> str | None:
    """Return why a database cannot be reached, in one line; None if it can."""
    try:
        connections[alias].ensure_connection()
    except OperationalError as error:
        return " ".join(str(error).split())
    return None


def _hidden_rows(alias: str) -> Iterable[CheckMessage]:
    for table in tables_that_hide(alias):
        yield Error(
            f"{table.fact} Rows that it hides would be taken for absent, so agentstate refuses to work.",
            hint=table.way_out,
            id="agentstate.E007",
        )


def _foreign_changes(alias: str) -> Iterable[CheckMessage]:
    """Report what other tools dropped. A warning, since an error would stop ``migrate``, which may be the way out."""
    if changes := read_foreign_changes(alias):
        yield Warning(" ".join(changes.facts), hint=changes.way_out, id="agentstate.W013")


def _flags_left_behind(alias: str) -> Iterable[CheckMessage]:
    """Report rows of another flag model, which waffle read before ``WAFFLE_FLAG_MODEL`` named ours."""
    ours = set(_flag_names(alias, Flag._meta.db_table))
    for model in apps.get_models(include_swapped=True):
        if not issubclass(model, AbstractBaseFlag) or issubclass(model, Flag):
            continue
        left = [name for name in _flag_names(alias, model._meta.db_table) if name not in ours]
        if left:
            names = ", ".join(left[:NAMED]) + (", …" if len(left) > NAMED else "")
            yield Warning(
                f"The table {model._meta.db_table} has {len(left)} flag(s) that waffle does not read any more: "
                f"{names}. For waffle they are unset.",
                hint="Copy them to the table of agentstate.Flag after migrate; docs/host.md has the statements. "
                "Delete the rows that nothing uses.",
                id="agentstate.W010",
            )


def _flag_names(alias: str, table: str) -> list[str]:
    with connections[alias].cursor() as cursor:
        cursor.execute(
            "SELECT FROM pg_attribute WHERE attrelid = to_regclass(quote_ident(%s)) AND attname = 'name'", [table]
        )
        if not cursor.rowcount:
            return []
        query = SQL("SELECT name FROM {} ORDER BY name").format(Identifier(table))
        cursor.execute(query.as_string(cursor.connection))
        return [name for (name,) in cursor.fetchall()]
