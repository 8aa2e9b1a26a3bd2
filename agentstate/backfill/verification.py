"""Verification: counts, parity and offenders, from one view of the database, without changing anything."""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from django.db import DEFAULT_DB_ALIAS, connections, transaction

from agentstate.backfill.acceptance import valid_acceptances
from agentstate.backfill.chats import CHATS, DIGEST, UNMADE
from agentstate.backfill.errors import refuse_foreign_changes, refuse_unknown
from agentstate.backfill.options import SELECTED, Selection
from agentstate.backfill.transactions import TUNE
from agentstate.row_security import SHOW_EVERY_ROW, refuse_hidden_rows
from agentstate.state.acceptance import COLUMNS_ARE_GIVEN_UP, is_given_up
from agentstate.state.columns import legacy_columns_are_there
from agentstate.state.homes import CLOCK, COLUMNS, COLUMNS_AS_STATE, NEWEST, PROJECTS, is_usable
from agentstate.state.keys import STATE_KEYS
from agentstate.state.legacy_snapshot import event_id, snapshot_events
from agentstate.state.paths import first_difference
from agentstate.state.standing import DIFFERENT, STANDING, Standing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.db.backends.utils import CursorWrapper

NAMED = 10

# The plan's auditing queries, word for word but for the run's id.
AUDIT_RUNS = (
    "SELECT project_id, count(*) FROM \"AgentWorkflowRun\" WHERE status = 'succeeded' GROUP BY 1 ORDER BY 2 DESC;"
)
AUDIT_EVENTS = (
    'SELECT run_id, type, created_at FROM "AgentWorkflowRunEvent" WHERE run_id = {run_id} ORDER BY created_at;'
)

# The clocks say in sync and the documents differ. Dropped columns hold nothing to compare.
_STATE_IS_GIVEN_UP = (
    f"(CASE WHEN ({STANDING}) IN ('legacy_ahead', 'forked') THEN {COLUMNS_ARE_GIVEN_UP} ELSE false END)"
)
_CHAT_IS_GIVEN_UP = is_given_up(f"entry.accepted_chat = {DIGEST}")
_UNEQUAL = f"(p.has_columns AND CASE {STANDING} WHEN 'in_sync' THEN {DIFFERENT} ELSE false END)"

# What belongs to the selected projects, table by table.
_TABLES = {
    "Project": f'"Project" p WHERE {SELECTED}',
    "AgentWorkflowRun": '"AgentWorkflowRun" t WHERE {of_project}',
    "AgentWorkflowRunEvent": '"AgentWorkflowRunEvent" t WHERE {of_run}',
    "AgentSession": '"AgentSession" t WHERE {of_project}',
}
_OF_PROJECT = "(%(projects)s::text[] IS NULL OR t.project_id = ANY (%(projects)s::text[]))"
_OF_RUN = """(%(projects)s::text[] IS NULL OR t.run_id IN (
    SELECT id FROM "AgentWorkflowRun" WHERE project_id = ANY (%(projects)s::text[])))"""


class Offender(NamedTuple):
    """Something that keeps a database from being clean.

    Attributes:
        project: its id, None for a snapshot whose project was deleted.
        kind: ``legacy_ahead``, ``forked``, ``unequal``, ``clock``, ``event``, ``session``, ``left_aside`` or
            ``missing_project``.
        path: the JSON path of the first difference between the homes, of the first wrong event, or of what the session
            is made from; the column or the run with the unusable clock; the table with rows of a missing project.
    """

    project: str | None
    kind: str
    path: str | None


@dataclass
class Verification:
    """The findings of a verification.

    Attributes:
        has_columns: whether the legacy columns exist. Once they are dropped, nothing is compared.
        standing: how many projects have each standing; one that is unequal has none of them.
        problems: how many problems there are of each kind.
        accepted: how many entries an operator accepted whose projects have not changed since. They are no problem.
        equal: for each state key, how many of the projects whose clocks say in sync hold equal documents.
        tables: how many rows each table has.
        offenders: the first problems of each kind.
        unequal_projects: the ids of all unequal projects.
    """

    has_columns: bool = True
    standing: dict[str, int] = field(default_factory=lambda: dict.fromkeys(Standing, 0))
    problems: dict[str, int] = field(default_factory=dict)
    accepted: int = 0
    equal: dict[str, int] = field(default_factory=dict)
    tables: dict[str, int] = field(default_factory=dict)
    offenders: list[Offender] = field(default_factory=list)
    unequal_projects: list[str] = field(default_factory=list)

    def add_all(self, kind: str, cursor: CursorWrapper, query: str, parameters: dict[str, Any]) -> None:
        """Count the rows of a query, pairs of a project and a path, as problems of a kind, and name the first."""
        cursor.execute(f"SELECT *, count(*) OVER () FROM ({query}) offender ORDER BY 1, 2 LIMIT %(named)s", parameters)
        self.problems[kind] = 0
        for project, path, count in cursor.fetchall():
            self.problems[kind] = count
            self.offenders.append(Offender(project, kind, path))

    @property
    def clean(self) -> bool:
        """Return whether no problem of any kind was found."""
        return not any(self.problems.values())

    @property
    def unequal(self) -> int:
        """Projects whose clocks say in sync and whose contents differ."""
        return self.problems["unequal"]

    @property
    def left_aside(self) -> int:
        """Projects that a pass could not move, without those accepted."""
        return self.problems["left_aside"]


def verify(projects: tuple[str, ...] = (), *, using: str = DEFAULT_DB_ALIAS) -> Verification:
    """Look at all projects, or at the named ones, in one view of the database that writes nothing.

    Args:
        using: the database to read, which may be a replica.

    Raises:
        RowsHidden: row-level security hides rows from this role.
        UnknownProjects: no project has one of the ids.
        RuntimeError: it is called inside a transaction, whose view may be another one.
    """
    with one_view(using) as view:
        refuse_unknown(projects, using)
        return verify_in(view, projects)


@contextmanager
def one_view(using: str = DEFAULT_DB_ALIAS) -> Iterator[CursorWrapper]:
    """Open a repeatable-read transaction that shows every row and writes nothing.

    Args:
        using: the database to read, which may be a replica.

    Raises:
        RowsHidden: row-level security hides rows from this role.
        RuntimeError: it is opened inside a transaction, whose view may be another one.
    """
    refuse_foreign_changes(using)
    refuse_hidden_rows(using)
    with transaction.atomic(using, durable=True), connections[using].cursor() as cursor:
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        cursor.execute(f"{SHOW_EVERY_ROW}; {TUNE}")
        yield cursor


def verify_in(view: CursorWrapper, projects: tuple[str, ...] = ()) -> Verification:
    """Verify in an open view, see :func:`verify`."""
    found = Verification()
    valid = valid_acceptances(projects)
    found.accepted = len(valid)
    parameters = {**Selection(projects).parameters, "named": NAMED, "accepted": sorted(valid)}
    for check in (
        _count_rows,
        _compare_homes,
        _check_clocks,
        _check_events,
        _check_sessions,
        _check_left_aside,
        _check_missing_projects,
    ):
        check(view, parameters, found)
    return found


def _count_rows(cursor: CursorWrapper, parameters: dict[str, Any], found: Verification) -> None:
    for table, rows in _TABLES.items():
        cursor.execute(f"SELECT count(*) FROM {rows.format(of_project=_OF_PROJECT, of_run=_OF_RUN)}", parameters)
        (found.tables[table],) = cursor.fetchone()


def _compare_homes(cursor: CursorWrapper, parameters: dict[str, Any], found: Verification) -> None:
    """Count standings and, where the clocks say in sync, compare the whole state; its keys only where that differs."""
    found.has_columns = legacy_columns_are_there(cursor.db.alias)
    differing = ", ".join(
        f'CASE WHEN unequal THEN "{key.column}" IS DISTINCT FROM '
        f"result -> 'state' -> '{key.name}' ELSE false END AS differs_{place}"
        for place, key in enumerate(STATE_KEYS)
    )
    counts = ", ".join(f"count(*) FILTER (WHERE differs_{place})" for place in range(len(STATE_KEYS)))
    # The documents stay below the fences, since what is grouped is sorted.
    cursor.execute(
        f"""
        SELECT standing, count(*), count(*) FILTER (WHERE is_given_up),
            coalesce(array_agg(id) FILTER (WHERE unequal), '{{}}'), {counts}
        FROM (
            SELECT id, standing, is_given_up, unequal, {differing} FROM (
                SELECT p.id, {COLUMNS}, newest.result, {STANDING} AS standing, {_UNEQUAL} AS unequal,
                    {_STATE_IS_GIVEN_UP} AS is_given_up
                FROM {PROJECTS} p {NEWEST} WHERE {SELECTED}
                OFFSET 0
            ) compared
            OFFSET 0
        ) judged
        GROUP BY standing
        """,
        parameters,
    )
    found.equal = {key.name: 0 for key in STATE_KEYS}
    given_up = Counter[str]()
    for standing, count, given_up_here, unequal, *keys in cursor.fetchall():
        found.standing[standing], given_up[standing] = count - len(unequal), given_up_here
        if standing == Standing.IN_SYNC:
            found.unequal_projects = unequal
            found.equal = {key.name: count - wrong for key, wrong in zip(STATE_KEYS, keys, strict=True)}
    for kind, count, condition in (
        ("legacy_ahead", found.standing[Standing.LEGACY_AHEAD], f"({STANDING}) = 'legacy_ahead'"),
        ("forked", found.standing[Standing.FORKED], f"({STANDING}) = 'forked'"),
        ("unequal", len(found.unequal_projects), _UNEQUAL),
    ):
        found.problems[kind] = count - given_up[kind]
        if found.problems[kind]:
            cursor.execute(
                f"""
                SELECT id, {first_difference("legacy", "state")} FROM (
                    SELECT p.id, {COLUMNS_AS_STATE} AS legacy, newest.result -> 'state' AS state
                    FROM {PROJECTS} p {NEWEST} WHERE {SELECTED} AND {condition} AND NOT {_STATE_IS_GIVEN_UP}
                    ORDER BY p.id LIMIT %(named)s
                ) offender ORDER BY id
                """,
                parameters,
            )
            found.offenders += [Offender(project, kind, path) for project, path in cursor.fetchall()]


_UNUSABLE_CLOCKS = f"""
    SELECT p.id AS project_id, 'stateUpdatedAt' AS place FROM "Project" p
    WHERE {SELECTED} AND NOT {is_usable(CLOCK)}
    UNION ALL
    SELECT t.project_id, t.id FROM "AgentWorkflowRun" t
    WHERE {_OF_PROJECT} AND NOT ({is_usable("t.snapshot_at")} AND {is_usable("t.legacy_at")})"""


def _check_clocks(cursor: CursorWrapper, parameters: dict[str, Any], found: Verification) -> None:
    """Count clocks that are infinite or of a year out of range: no pass moves such a project."""
    found.add_all("clock", cursor, _UNUSABLE_CLOCKS, parameters)


# Foreign keys forbid these, and a subscriber of logical replication does not check them: its "Project" may be empty.
_OF_MISSING_PROJECTS = " UNION ALL ".join(
    f"""
    SELECT t.project_id, '{table}' AS place FROM "{table}" t
    WHERE {_OF_PROJECT} AND t.project_id IS NOT NULL
      AND NOT EXISTS (SELECT FROM "Project" p WHERE p.id = t.project_id)"""
    for table in ("AgentWorkflowRun", "AgentSession")
)
_MISSING_PROJECTS = f"""
    SELECT project_id, string_agg(DISTINCT place, ', ') FROM ({_OF_MISSING_PROJECTS}) row GROUP BY project_id"""


def _check_missing_projects(cursor: CursorWrapper, parameters: dict[str, Any], found: Verification) -> None:
    """Count the projects that runs or sessions name and "Project" does not have."""
    found.add_all("missing_project", cursor, _MISSING_PROJECTS, parameters)


# A snapshot's events that are missing, superfluous or not what its content calls for.
_WRONG_EVENTS = f"""
    SELECT coalesce(expected.id, actual.id) AS id, expected.payload AS expected, actual.payload AS actual
    FROM (
        SELECT {event_id("t.id", "event.ordinal")} AS id, event.type, event.payload,
               t.snapshot_at + event.ordinal * interval '1 microsecond' AS created_at
        FROM {snapshot_events("(t.result -> 'state')")} event
    ) expected
    FULL JOIN (
        SELECT id, type, payload, created_at FROM "AgentWorkflowRunEvent" WHERE run_id = t.id
    ) actual ON actual.id = expected.id
    WHERE (expected.type, expected.payload, expected.created_at)
        IS DISTINCT FROM (actual.type, actual.payload, actual.created_at)"""
_WITH_WRONG_EVENTS = f"""
    "AgentWorkflowRun" t WHERE {_OF_PROJECT} AND t.workflow_id = 'legacy_snapshot'
    AND CASE WHEN {is_usable("t.snapshot_at")} THEN EXISTS ({_WRONG_EVENTS}) ELSE false END"""


def _check_events(cursor: CursorWrapper, parameters: dict[str, Any], found: Verification) -> None:
    cursor.execute(f"SELECT count(*) FROM {_WITH_WRONG_EVENTS}", parameters)
    (found.problems["event"],) = cursor.fetchone()
    if found.problems["event"]:
        cursor.execute(
            f"""
            SELECT project_id, wrong.id, {first_difference("wrong.expected", "wrong.actual")}
            FROM (SELECT t.* FROM {_WITH_WRONG_EVENTS} ORDER BY t.id LIMIT %(named)s) t
            CROSS JOIN LATERAL ({_WRONG_EVENTS} ORDER BY 1 LIMIT 1) wrong ORDER BY wrong.id
            """,
            parameters,
        )
        found.offenders += [
            Offender(project, "event", f"{event}.{path}" if path else event)
            for project, event, path in cursor.fetchall()
        ]


def _check_sessions(cursor: CursorWrapper, parameters: dict[str, Any], found: Verification) -> None:
    unmade = f"""
        SELECT p.id, 'meta.chat' FROM {CHATS} WHERE {SELECTED} AND {UNMADE} AND NOT {_CHAT_IS_GIVEN_UP}"""
    found.add_all("session", cursor, unmade, parameters)


def _check_left_aside(cursor: CursorWrapper, parameters: dict[str, Any], found: Verification) -> None:
    """Count entries without a valid acceptance, but for those of deleted projects."""
    waiting = f"""
        SELECT t.project_id, NULL::text FROM "AgentStateLeftAside" t
        WHERE {_OF_PROJECT} AND t.closed_at IS NULL AND NOT t.id = ANY (%(accepted)s)
          AND EXISTS (SELECT FROM "Project" p WHERE p.id = t.project_id)"""
    found.add_all("left_aside", cursor, waiting, parameters)


class Audit(NamedTuple):
    """An auditing query, the names of its columns, its first rows, and whether there are more."""

    sql: str
    columns: list[str]
    rows: list[tuple[Any, ...]]
    more: bool


def audit(projects: tuple[str, ...] = (), *, using: str = DEFAULT_DB_ALIAS) -> list[Audit]:
    """Run the plan's auditing queries: the runs of each project, and the events of one legacy snapshot.

    Args:
        using: the database to read, which may be a replica: what is shown is as old as what ``verify`` reads there.
    """
    with transaction.atomic(using), connections[using].cursor() as cursor:
        cursor.execute(SHOW_EVERY_ROW)
        cursor.execute(
            f"""
            SELECT t.id, quote_literal(t.id) FROM "AgentWorkflowRun" t
            WHERE {_OF_PROJECT} AND t.workflow_id = 'legacy_snapshot' AND t.project_id IS NOT NULL
                AND {is_usable("t.snapshot_at")}
            ORDER BY t.snapshot_at DESC, length(t.id), t.id LIMIT 1
            """,
            {"projects": list(projects) or None},
        )
        newest = cursor.fetchone()
        queries = [AUDIT_RUNS, *([AUDIT_EVENTS.format(run_id=newest[1])] if newest else [])]
        return [_run(sql, using) for sql in queries]


def _run(sql: str, using: str) -> Audit:
    # On the server's side, since only the first rows are shown and a live database has millions.
    with connections[using].chunked_cursor() as cursor:
        cursor.execute(sql)
        rows = cursor.fetchmany(NAMED + 1)
        columns = [column.name for column in cursor.description or ()]
    return Audit(sql, columns, rows[:NAMED], len(rows) > NAMED)
