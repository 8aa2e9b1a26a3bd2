"""Statements sent in one round trip, and prepared where the connection has a server session of its own.

Planning one of our statements takes the server longer than running it. So a statement that a connection sends for the
second time is prepared with SQL's own ``PREPARE``, and ``EXECUTE`` uses the server's plan from then on. PostgreSQL
makes a new plan by itself when the schema, the search path, the role or row-level security changes.

A prepared SELECT reads as of the moment before it waited for the lock of a table. If that lock was of an ALTER TABLE
that rewrote the table, it finds the table empty. So a caller that finds no row asks once more before it says so.

A pooler in transaction mode runs each transaction on another server session, which lacks what was prepared. Its
clients get made-up process ids, so the first round asks the server for its own: only where both are equal is anything
prepared. An address that says ``pgbouncer=true`` is believed without asking.
"""

from __future__ import annotations

import re
from hashlib import sha256
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakKeyDictionary

from django.db import DEFAULT_DB_ALIAS, connections
from psycopg import ClientCursor
from psycopg.errors import DuplicatePreparedStatement, FeatureNotSupported, InvalidSqlStatementName
from psycopg.pq import ExecStatus

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from django.db.backends.base.base import BaseDatabaseWrapper
    from psycopg import Connection

    Row = tuple[Any, ...]

_PLACEHOLDER = re.compile(r"%\((\w+)\)s")
_SERVER_PROCESS = "SELECT pg_backend_pid()"
_SAVEPOINT, _RELEASE = "SAVEPOINT agentstate_round", "RELEASE SAVEPOINT agentstate_round"
_ROLLBACK = f"ROLLBACK TO SAVEPOINT agentstate_round; {_RELEASE}"
# Somebody else has deallocated what was prepared (DISCARD ALL), or changed the type of a column that it returns.
_UNPREPARED = (InvalidSqlStatementName, DuplicatePreparedStatement, FeatureNotSupported)


class Statement:
    """One SELECT, INSERT, UPDATE or DELETE, with psycopg's named placeholders. Those of the same SQL are equal.

    Attributes:
        sql: the statement. The server infers the types of its parameters, so it casts those that their place leaves
            open. It casts the columns that it returns too: a prepared statement fails once their types change.
        prepare, execute: the statements that prepare and run it.
    """

    def __init__(self, sql: str) -> None:
        self.sql = sql
        names = list(dict.fromkeys(_PLACEHOLDER.findall(sql)))
        numbered = _PLACEHOLDER.sub(lambda placeholder: f"${names.index(placeholder[1]) + 1}", sql)
        name = f"agentstate_{sha256(sql.encode()).hexdigest()[:16]}"  # equal statements alone have the same
        self.prepare = f"PREPARE {name} AS {numbered}"
        self.execute = f"EXECUTE {name}" + (f" ({', '.join(f'%({each})s' for each in names)})" if names else "")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Statement) and self.sql == other.sql

    def __hash__(self) -> int:
        return hash(self.sql)


class _Round(NamedTuple):
    """What is sent for some statements.

    Attributes:
        answers: for each result, whether the caller wants it.
        preparing: what the round prepares.
    """

    text: str
    answers: tuple[bool, ...]
    preparing: frozenset[Statement] = frozenset()


_TO_SAVEPOINT = _Round(_ROLLBACK, ())


class _Session:
    """What is known of a connection's server session.

    Attributes:
        is_own: whether no other client uses it; None until the server has answered.
        checked_in: Django's list of callbacks of the latest transaction in which what was prepared was still there.
            Django makes a new one for each.
    """

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        # psycopg, where the host lets it prepare statements, deallocates all of the session's after a rollback.
        is_psycopg_preparing = connection.connection.prepare_threshold is not None
        is_pooled = connection.settings_dict.get("DISABLE_SERVER_SIDE_CURSORS")
        self.is_own = False if is_pooled or is_psycopg_preparing else None
        self.checked_in: list[Any] | None = None
        self._sent: set[Statement] = set()
        self._prepared: set[Statement] = set()
        self._sent_whole: set[Statement] = set()  # not to be prepared, since a round failed that may have prepared it
        self._lasting: dict[tuple[str, tuple[Statement, ...]], _Round] = {}

    def round(self, before: str, statements: tuple[Statement, ...]) -> _Round:
        """Return what is sent for the statements, after one more that returns nothing.

        A round prepares what the connection sends for the second time. The first one asks for the server process too.
        """
        lasting = self._lasting.get((before, statements))
        if lasting is not None:
            return lasting
        repeated = self._sent.intersection(statements) if self.is_own else set()
        self._sent.update(statements)
        preparing = frozenset(repeated - self._prepared - self._sent_whole)
        executed = self._prepared | preparing if self.is_own else set()
        quiet = [before] * bool(before) + [each.prepare for each in preparing]
        asked = [each.execute if each in executed else each.sql for each in statements]
        asked += [_SERVER_PROCESS] * (self.is_own is None)
        after = [_RELEASE] * (before == _SAVEPOINT)
        answers = (*[False] * len(quiet), *[True] * len(asked), *[False] * len(after))
        made = _Round(";\n".join([*quiet, *asked, *after]), answers, preparing)
        if self.is_own is False or (self.is_own and (self._prepared | self._sent_whole).issuperset(statements)):
            self._lasting[before, statements] = made
        return made

    def relies_on(self, statements: Iterable[Statement]) -> bool:
        """Return whether an earlier round has prepared one of the statements, so that it may be gone."""
        return bool(self.is_own) and not self._prepared.isdisjoint(statements)

    def succeeded(self, sent: _Round) -> None:
        self._prepared |= sent.preparing

    def failed(self, sent: _Round) -> None:
        self._sent_whole |= sent.preparing

    def send_whole(self) -> None:
        """Prepare and execute nothing from now on."""
        self.is_own = False
        self._lasting.clear()


_sessions: WeakKeyDictionary[Connection[Any], _Session] = WeakKeyDictionary()


def run(
    statements: Sequence[Statement],
    parameters: Mapping[str, Any],
    *,
    first: str = "",
    alone: str = "",
    using: str = DEFAULT_DB_ALIAS,
) -> list[Row | None]:
    """Run statements in one round trip, and return the first row of each, None where there is none.

    Of a statement that returns no rows, such as an INSERT without RETURNING, return how many it has written, as a row.

    Outside a transaction they are one of their own. In READ COMMITTED each sees what others have committed by then:
    after a statement that waited for a lock, the next one sees what the lock's holder wrote. Only a cursor that binds
    values on the client takes several statements, so the host's ``server_side_binding`` does not apply here.

    Where the session has lost what was prepared, the round is sent again whole. Inside a transaction of the caller's
    that takes a savepoint, which the first round with prepared statements makes: too many slow a server down.

    Args:
        parameters: text, numbers, booleans, moments, None and lists of text.
        first: the first statement of a transaction, which is sent before them as it is.
        alone: the same of the transaction that they are where none is open.
    """
    connection = connections[using]
    connection.close_if_health_check_failed()
    in_transaction = not connection.get_autocommit()  # which connects
    session = _sessions.get(connection.connection)
    if session is None:
        session = _sessions[connection.connection] = _Session(connection)
    relies = in_transaction and session.relies_on(statements)
    has_savepoint = relies and not first and session.checked_in is not connection.run_on_commit
    before = _SAVEPOINT if has_savepoint else first or ("" if in_transaction else alone)
    sent = session.round(before, tuple(statements))
    try:
        rows = _send(connection, sent, parameters)
    except BaseException as error:
        session.failed(sent)
        if not (session.is_own and isinstance(error.__cause__, _UNPREPARED)):
            raise
        session.send_whole()
        if has_savepoint:
            _send(connection, _TO_SAVEPOINT, {})
        elif first:
            connection.connection.rollback()  # psycopg begins the transaction again with the next statement
        elif in_transaction:
            raise
        return run(statements, parameters, first=first, alone=alone, using=using)
    session.succeeded(sent)
    if relies:
        session.checked_in = connection.run_on_commit
    if session.is_own is None:
        session.is_own = rows.pop() == (connection.connection.info.backend_pid,)
    return rows


def _send(connection: BaseDatabaseWrapper, sent: _Round, parameters: Mapping[str, Any]) -> list[Row | None]:
    cursor = ClientCursor(connection.connection)
    # Django's cursor around it wraps errors, and lets the host's wrappers see the round.
    connection._prepare_cursor(cursor).execute(sent.text, parameters)  # type: ignore[attr-defined]
    rows: list[Row | None] = []
    for is_wanted in sent.answers:
        if is_wanted:
            has_rows = cursor.pgresult is not None and cursor.pgresult.status == ExecStatus.TUPLES_OK
            rows.append(cursor.fetchone() if has_rows else (cursor.rowcount,))
        cursor.nextset()
    return rows
