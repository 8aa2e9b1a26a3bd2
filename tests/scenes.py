"""What happens to projects in tests: other writers, the runtime, damage, passes; and what both homes hold afterwards.

Documents are JSON text as the database prints it, so that nothing is compared through Python's floats.
"""

from __future__ import annotations

import json
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from django.db import connection
from django.utils import timezone

from agentstate import state
from agentstate.backfill import Outcome, PassOptions, Selection, run_pass
from agentstate.models import AgentWorkflowRun, Flag
from agentstate.models.fields import new_id
from agentstate.models.passes import Direction
from agentstate.samples import make_projects
from agentstate.state.documents import decode
from agentstate.state.homes import NEWEST, PROJECTS
from agentstate.state.keys import STATE_KEYS
from agentstate.state.standing import STANDING
from tests.factories import COLUMNS, KEYS, write_columns
from tests.sql import one
from tests.sql import sql as rows
from tests.sql import sql as run_sql

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Documents = dict[str, str]  # a key that is SQL NULL, or that a snapshot has not, is not there


# -- passes


def forward(*projects: str, **options: Any) -> Outcome:
    """Run a forward pass over the named projects, or over all."""
    return run_pass(PassOptions(direction=Direction.FORWARD, selection=Selection(projects), **options))


def reverse(*projects: str, **options: Any) -> Outcome:
    """Run a reverse pass over the named projects, or over all."""
    return run_pass(PassOptions(direction=Direction.REVERSE, selection=Selection(projects), **options))


# -- writers


def make_samples(number: int) -> None:
    """Fill the legacy table with samples."""
    make_projects(number, 7)


def make_project(project: str, **state: object) -> None:
    """Make a project; a state key that is not given is SQL NULL, None is JSON null, ``chat`` goes into ``meta``."""
    meta = json.dumps({"chat": state.pop("chat")}) if "chat" in state else None
    names = "".join(f', "{COLUMNS[key]}"' for key in state)
    run_sql(
        f'INSERT INTO "Project" (id, "userId", name, meta{names}) VALUES (%s, %s, %s, %s{", %s" * len(state)})',
        project,
        "user",
        "A project",
        meta,
        *map(json.dumps, state.values()),
    )


def change_columns(project: str, **state: object) -> None:
    """Write columns, as the legacy application does."""
    changes = ", ".join(f'"{COLUMNS[key]}" = %s' for key in state)
    run_sql(f'UPDATE "Project" SET {changes} WHERE id = %s', *map(json.dumps, state.values()), project)


def empty_columns(*projects: str) -> None:
    """Set all five columns of the named projects, or of all, to SQL NULL."""
    for project in projects or [project for (project,) in rows('SELECT id FROM "Project"')]:
        write_columns(project, dict.fromkeys(KEYS))


def save_in_agentkit(where: str = "true", **state: object) -> None:
    """Give projects with a snapshot another one a second later, in which some documents are new."""
    run_sql(
        f"""
        INSERT INTO "AgentWorkflowRun"
            (id, workflow_id, project_id, status, result, started_at, completed_at, snapshot_at, legacy_at)
        SELECT 'live_' || id, 'intake', project_id, 'succeeded',
               jsonb_build_object('state', result -> 'state' || %s::jsonb),
               snapshot_at, snapshot_at + interval '1 s', snapshot_at + interval '1 s', legacy_at
        FROM (
            SELECT DISTINCT ON (project_id) * FROM "AgentWorkflowRun"
            WHERE project_id IS NOT NULL AND snapshot_at IS NOT NULL ORDER BY project_id, snapshot_at DESC
        ) newest WHERE {where}
        """,
        json.dumps(state),
    )


def make_fork(project: str, legacy: dict[str, object], agentkit: dict[str, object]) -> None:
    """Save in AgentKit, then write other columns of a project that is in sync."""
    save_in_agentkit(f"project_id = '{project}'", **agentkit)
    change_columns(project, **legacy)


def write_with_clock_set_back(project: str, documents: dict[str, str | None]) -> None:
    """Change columns while the server's clock is behind all clock values: the trigger adds a microsecond."""
    (clock,) = one('SELECT "stateUpdatedAt" + interval \'1 microsecond\' FROM "Project" WHERE id = %s', project)
    write_columns(project, documents, clock=clock)


@contextmanager
def behind_the_trigger() -> Iterator[None]:
    """Bypass the trigger, as the table's owner can: changes in the block move no clock."""
    run_sql('ALTER TABLE "Project" DISABLE TRIGGER zz_agentstate_state_clock')
    try:
        yield
    finally:
        run_sql('ALTER TABLE "Project" ENABLE ALWAYS TRIGGER zz_agentstate_state_clock')


def damage(project: str, **documents: str | None) -> None:
    """Change columns and bypass the trigger."""
    with behind_the_trigger():
        write_columns(project, documents)


def save(
    project: str,
    key: str,
    document: str,
    *,
    agentkit: bool = True,
    legacy: bool = True,
    reads_agentkit: bool = False,
    run: str | None = None,
    clock_ahead: timedelta = timedelta(0),
) -> str | None:
    """Save a document as the runtime does, into the homes whose write gates are open.

    Give the ``run`` that an earlier save returned to let the same live run save again: its snapshot moves on, and
    what it saved before is in its events. ``clock_ahead`` lets the server's clock run ahead for this save; after
    it, the clock is set back. Nothing is written, and None returned, where the document is there already.
    """
    if not clock_ahead:
        return _save(project, key, document, agentkit=agentkit, legacy=legacy, reads_agentkit=reads_agentkit, run=run)
    if standing_of(project) == "forked":
        forward(project, prefer="agentkit" if reads_agentkit else "legacy", sessions=False)
    if agentkit and standing_of(project) == "legacy_ahead":
        forward(project, sessions=False)
    elif agentkit and standing_of(project) == "empty":
        _take_in_nothing(project)
    if legacy:
        reverse(project)
    return _write(project, key, document, agentkit=agentkit, legacy=legacy, run=run, clock_ahead=clock_ahead)


def _save(
    project: str, key: str, document: str, *, agentkit: bool, legacy: bool, reads_agentkit: bool, run: str | None
) -> str | None:
    """Save in earnest; of a run that was made for this and has nothing to tell, nothing stays."""
    open_gates(agentkit_writes=agentkit, legacy_writes=legacy, agentkit_reads=reads_agentkit)
    live = run or _start_run(project)
    attribute = next(each.attribute for each in STATE_KEYS if each.name == key)
    saved = state.save(project, run=live, **{attribute: decode(document)})
    if saved.run_id is None and run is None:
        run_sql('DELETE FROM "AgentWorkflowRun" WHERE id = %s', live)
    return saved.run_id


def _start_run(project: str) -> str:
    run = AgentWorkflowRun(project_id=project, workflow_id="live", status="running", started_at=timezone.now())
    run.save(force_insert=True)
    return run.pk


def open_gates(**gates: bool) -> None:
    """Open or close gates for everyone."""
    for name, is_open in gates.items():
        flag, _ = Flag.objects.get_or_create(name=name)
        if flag.everyone is not is_open:
            flag.everyone = is_open
            flag.save()


def _write(
    project: str,
    key: str,
    document: str,
    *,
    agentkit: bool,
    legacy: bool,
    run: str | None,
    clock_ahead: timedelta,
) -> str | None:
    at, unchanged = one(
        f"""
        SELECT greatest(clock_timestamp(), p."stateUpdatedAt" + interval '1 microsecond',
                        newest.snapshot_at + interval '1 microsecond'),
            CASE WHEN %s THEN newest.result -> 'state' -> %s ELSE p."{COLUMNS[key]}" END IS NOT DISTINCT FROM %s::jsonb
        FROM "Project" p {NEWEST} WHERE p.id = %s
        """,
        agentkit,
        key,
        document,
        project,
    )
    if unchanged:
        return None
    at += clock_ahead
    if agentkit:
        run = _record(project, key, document, at, None if not legacy else at, run)
    if legacy:
        write_columns(project, {key: document}, clock=at)
    return run


def _record(project: str, key: str, document: str, at: datetime, legacy_at: datetime | None, run: str | None) -> str:
    """Put the state with a new document into a live run, and the document into an event."""
    run_sql(
        f"""
        INSERT INTO "AgentWorkflowRun" AS live
            (id, workflow_id, project_id, status, result, started_at, snapshot_at, legacy_at)
        SELECT %s, 'live', p.id, 'running',
               jsonb_build_object('state', newest.result -> 'state' || jsonb_build_object(%s::text, %s::jsonb)),
               %s, %s, coalesce(%s, newest.legacy_at)
        FROM "Project" p {NEWEST} WHERE p.id = %s
        ON CONFLICT (id) DO UPDATE SET
            result = EXCLUDED.result, snapshot_at = EXCLUDED.snapshot_at, legacy_at = EXCLUDED.legacy_at
        """,
        run := run or new_id(),
        key,
        document,
        at,
        at,
        legacy_at,
        project,
    )
    run_sql(
        """
        INSERT INTO "AgentWorkflowRunEvent" (id, run_id, type, payload, created_at)
        VALUES (%s, %s, 'state.changed', jsonb_build_object(%s::text, %s::jsonb), %s)
        """,
        new_id(),
        run,
        key,
        document,
        at,
    )
    return run


def _take_in_nothing(project: str) -> None:
    """Give an empty project its first snapshot, which holds nothing."""
    run_sql(
        """
        WITH snapshot AS (
            INSERT INTO "AgentWorkflowRun"
                (id, workflow_id, project_id, status, input, result, started_at, completed_at, snapshot_at, legacy_at)
            SELECT 'legacy_' || id || '_' || (extract(epoch FROM "stateUpdatedAt") * 1000000)::bigint,
                'legacy_snapshot', id, 'succeeded', '{"source": "legacy_snapshot"}', '{"state": {}}',
                "stateUpdatedAt", "stateUpdatedAt", "stateUpdatedAt", "stateUpdatedAt"
            FROM "Project" WHERE id = %s
            RETURNING id, snapshot_at
        )
        INSERT INTO "AgentWorkflowRunEvent" (id, run_id, type, payload, created_at)
        SELECT id || '_00001', id, 'snapshot.legacy', '{"keys": []}', snapshot_at + interval '1 microsecond'
        FROM snapshot
        """,
        project,
    )


# -- what both homes hold


@dataclass(frozen=True)
class Snapshot:
    """A run that carries a snapshot."""

    run: str
    workflow: str
    at: datetime
    legacy_at: datetime
    state: Documents


@dataclass
class Homes:
    """A project's columns and their clock, and its snapshots, the oldest first."""

    clock: datetime
    columns: Documents
    snapshots: list[Snapshot] = field(default_factory=list)

    @property
    def newest(self) -> Snapshot:
        return self.snapshots[-1]

    @property
    def workflows(self) -> list[str]:
        return [snapshot.workflow for snapshot in self.snapshots]

    @property
    def in_sync(self) -> bool:
        """The three clocks are equal, and so are the documents."""
        return self.clock == self.newest.at == self.newest.legacy_at and self.columns == self.newest.state


def all_homes() -> dict[str, Homes]:
    """Return the content of both homes of every project."""
    columns = ", ".join(f"('{key}', \"{column}\"::text)" for key, column in COLUMNS.items())
    homes = {
        project: Homes(clock, documents)
        for project, clock, documents in rows(
            f"""
            SELECT id, "stateUpdatedAt", (
                SELECT coalesce(json_object_agg(key, document) FILTER (WHERE document IS NOT NULL), '{{}}')
                FROM (VALUES {columns}) documents (key, document))
            FROM "Project" ORDER BY id
            """
        )
    }
    for project, *snapshot in rows(
        """
        SELECT project_id, id, workflow_id, snapshot_at, legacy_at,
            (SELECT coalesce(json_object_agg(key, value::text), '{}') FROM jsonb_each(result -> 'state'))
        FROM "AgentWorkflowRun" WHERE project_id IS NOT NULL AND snapshot_at IS NOT NULL ORDER BY snapshot_at
        """
    ):
        homes[project].snapshots.append(Snapshot(*snapshot))
    return homes


def homes_of(project: str) -> Homes:
    return all_homes()[project]


def standings() -> dict[str, str]:
    """Return the standing of every project."""
    return dict(rows(f"SELECT p.id, {STANDING} FROM {PROJECTS} p {NEWEST}"))


def standing_of(project: str) -> str:
    return one(f"SELECT {STANDING} FROM {PROJECTS} p {NEWEST} WHERE p.id = %s", project)[0]


def events_of(run: str) -> list[tuple[str, str]]:
    """Return the type and the payload's text of a run's events, in order."""
    return rows('SELECT type, payload::text FROM "AgentWorkflowRunEvent" WHERE run_id = %s ORDER BY created_at', run)


def everything() -> dict[str, list[tuple[str]]]:
    """Return every row of the tables that the passes write to, as the database prints it."""
    tables = ("Project", "AgentWorkflowRun", "AgentWorkflowRunEvent", "AgentSession")
    return {table: rows(f'SELECT t::text FROM "{table}" t ORDER BY id') for table in tables}


def forget_everything() -> None:
    """Delete the rows of an example before the next."""
    run_sql('DELETE FROM "AgentWorkflowRun"; DELETE FROM "Project"; DELETE FROM "AgentStateLeftAside"')


# -- another connection


def start(act: Callable[[], object]) -> threading.Thread:
    """Let a thread act, on a connection of its own that it closes even if it fails."""

    def act_and_close() -> None:
        try:
            act()
        finally:
            connection.close()

    thread = threading.Thread(target=act_and_close)
    thread.start()
    return thread


def start_and_wait_for_lock(act: Callable[[], object]) -> threading.Thread:
    """Let another connection act until it waits for a lock that this one's transaction holds."""
    thread = start(act)
    give_up_at = time.monotonic() + 60
    while not rows("SELECT FROM pg_locks WHERE NOT granted AND pg_backend_pid() = ANY (pg_blocking_pids(pid))"):
        assert thread.is_alive(), "the other connection waited for nothing"
        assert time.monotonic() < give_up_at
        time.sleep(0.01)
    return thread
