"""Preconditions of every step, up or down."""

from __future__ import annotations

from django.apps import apps
from django.db import connection

from agentstate.rollout.errors import Refused
from agentstate.row_security import refuse_hidden_rows
from agentstate.state.foreign_changes import read_foreign_changes


class UnfitDatabase(Refused):
    """Tables of agentstate are missing, or another tool changed ``"Project"``. Nothing was changed."""


def refuse_unfit_database() -> None:
    """Check that agentstate's tables exist, that no other tool changed them, and that no policy hides rows.

    Raises:
        UnfitDatabase: naming what is missing or changed, and what to do.
        RowsHidden: a policy applies to the connection's role.
    """
    refuse_missing_tables()
    if (changes := read_foreign_changes()) and changes.blocks_steps:
        raise UnfitDatabase(f"{' '.join(changes.facts)} Nothing was changed. {changes.way_out}")
    refuse_hidden_rows()


def refuse_missing_tables() -> None:
    """Check that all tables of agentstate exist: a dump may have been restored without some of them.

    Raises:
        UnfitDatabase: naming the missing tables.
    """
    if missing := _missing_tables():
        names = ", ".join(f'"{table}"' for table in missing)
        raise UnfitDatabase(
            f"This database lacks {names}. Nothing was changed. If it was restored from a dump, restore the missing "
            "tables from that dump and look for errors of pg_restore; on a new database, run manage.py migrate."
        )


def _missing_tables() -> list[str]:
    models = apps.get_app_config("agentstate").get_models(include_auto_created=True)
    tables = {model._meta.db_table for model in models if model._meta.managed}
    return sorted(tables.difference(connection.introspection.table_names()))
