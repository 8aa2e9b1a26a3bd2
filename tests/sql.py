"""SQL of tests: run it, read rows and values, count, compare whole tables."""

from __future__ import annotations

import json
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, NamedTuple

import psycopg
from django.db import connection
from psycopg.pq import TransactionStatus

if TYPE_CHECKING:
    from collections.abc import Iterator

MOVED = ("AgentWorkflowRun", "AgentWorkflowRunEvent", "AgentSession")
LEDGER = ("AgentStatePass", "AgentStateLeftAside")
EVERYTHING = ("Project", *MOVED, *LEDGER)

# A row for each connection of this database that waits for a lock. pg_locks has those of every database of the server,
# which the workers of the tests share.
WAITING_FOR_LOCKS = "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


def sql(query: str, *parameters: object) -> list[Any]:
    """Run a statement, and return its rows if it has any. Rows of a SELECT without columns are empty tuples."""
    with connection.cursor() as cursor:
        cursor.execute(query, parameters or None)
        has_rows = cursor.description or query.lstrip().startswith("SELECT")
        return cursor.fetchall() if has_rows else []


def one(query: str, *parameters: object) -> Any:
    """Return the only row of a query."""
    (row,) = sql(query, *parameters)
    return row


def scalar(query: str, *parameters: object) -> Any:
    """Return the only value of a query."""
    ((found,),) = sql(query, *parameters)
    return found


def count(table: str, where: str = "true") -> int:
    return int(scalar(f'SELECT count(*) FROM "{table}" WHERE {where}'))


def dump(*tables: str) -> dict[str, tuple[int, str]]:
    """Return each table's number of rows, and a digest of all that they hold."""
    return {
        table: sql(f"SELECT count(*), coalesce(md5(string_agg(t::text, ' ' ORDER BY t.id)), '') FROM \"{table}\" t")[0]
        for table in tables
    }


def tell_planner(*tables: str) -> None:
    """Update what the planner knows about tables, and remove what other tests rolled back.

    Index entries of rows that are gone still cost pages, and can make another index look cheaper.
    """
    for table in tables:
        sql(f'REINDEX TABLE "{table}"')
        sql(f'ANALYZE "{table}"')


class OutOfLine(NamedTuple):
    """What this session has done to a table's values that are stored out of line.

    Attributes:
        written: how many pieces of values it has written or deleted.
        read: how often it has read a value.
    """

    written: int
    read: int


def out_of_line(table: str) -> OutOfLine:
    """Return what this session, and no other, has done to a table's values that are stored out of line.

    Compare figures of one transaction: the server may reset them at its end.
    """
    written, read = one(
        """
        SELECT coalesce(n_tup_ins + n_tup_del, 0), coalesce(idx_scan, 0) FROM pg_stat_xact_all_tables
        WHERE relid = (SELECT reltoastrelid FROM pg_class WHERE oid = %s::regclass)
        """,
        f'"{table}"',
    )
    return OutOfLine(int(written), int(read))


def explained(query: str, parameters: Any = None, *options: str) -> list[dict[str, Any]]:
    """Return the nodes of a query's plan, the topmost first. With the option ANALYZE, the query runs."""
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN ({', '.join(('FORMAT JSON', *options))}) {query}", parameters)
        ((plan,),) = cursor.fetchall()
    return nodes_of(json.loads(plan) if isinstance(plan, str) else plan)  # Django's cursors leave jsonb as text


def nodes_of(plan: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the nodes of a plan from EXPLAIN (FORMAT JSON), the topmost first."""
    nodes = [plan[0]["Plan"]]
    for node in nodes:
        nodes += node.get("Plans", [])
    return nodes


@contextmanager
def second_connection(**options: str) -> Iterator[psycopg.Connection]:
    """Connect to the same database once more, outside Django.

    At the end of the block it holds no lock any more. A server frees the advisory locks of a session only some time
    after its client has gone.
    """
    parameters = connection.get_connection_params()
    wanted = {"host", "port", "dbname", "user", "password"}
    settings = " ".join(f"-c {name}={value}" for name, value in options.items())
    with psycopg.connect(
        **{name: value for name, value in parameters.items() if name in wanted}, options=settings, autocommit=True
    ) as other:
        try:
            yield other
        finally:
            if other.info.transaction_status in (TransactionStatus.IDLE, TransactionStatus.INTRANS):
                with suppress(psycopg.OperationalError):  # the server may have ended it
                    other.execute("SELECT pg_advisory_unlock_all()")
