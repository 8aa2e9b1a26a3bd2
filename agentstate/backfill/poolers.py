"""Poolers that hand each transaction to another server connection: detected and refused.

A pass holds session-level advisory locks. Through such a pooler the lock stays with whatever server connection it
reached: it protects nothing, and nothing gives it back.
"""

from __future__ import annotations

from contextlib import closing
from typing import Any
from weakref import WeakSet

import psycopg
from django.db import connection

from agentstate.backfill.errors import BackfillError

_ROUNDS = 3
# Connections that were found to have a server connection of their own, which they keep for as long as they are open.
_direct: WeakSet[psycopg.Connection[Any]] = WeakSet()


class PooledConnection(BackfillError):
    """The connection goes through a pooler in transaction mode."""

    def __init__(self, fact: str) -> None:
        super().__init__(
            f"This connection goes through a pooler in transaction mode ({fact}), and passes hold locks of their "
            "session. Nothing was done. Give DATABASE_URL the server's own address and port, without pgbouncer=true, "
            "for this command, or a pool in session mode."
        )


def refuse_transaction_pooling() -> None:
    """Check, once for each connection, that it has a server connection of its own.

    Raises:
        PooledConnection: the address says that it has not, or the server connections show it.
    """
    # What pgbouncer=true in the address means, and what Django's documentation asks for behind such a pooler.
    if connection.settings_dict.get("DISABLE_SERVER_SIDE_CURSORS"):
        raise PooledConnection("the address says pgbouncer=true")
    connection.ensure_connection()
    if connection.connection in _direct:
        return
    backends = {_backend(connection.connection)}
    try:
        # The other one's open transaction keeps a server connection busy. An idle pooler gives it ours.
        for _ in range(_ROUNDS):
            with closing(psycopg.connect(**connection.get_connection_params())) as other:
                theirs = _backend(other)
                if theirs in backends:
                    raise PooledConnection(f"it shares the server connection {theirs} with another one")
                other.rollback()
            backends.add(_backend(connection.connection))
    except psycopg.OperationalError:
        return  # no connection is left for this check
    if len(backends) > 1:
        raise PooledConnection("its server connection changes from one statement to the next")
    _direct.add(connection.connection)


def _backend(session: psycopg.Connection[Any]) -> int:
    ((backend,),) = session.execute("SELECT pg_backend_pid()").fetchall()
    return int(backend)
