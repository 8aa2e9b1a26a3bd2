"""Threads as sessions.

A thread is an ``AgentSession`` with the metadata ``{"kind": "chatkit", "user": …, "thread": {title, status, …}}``; its
items are the transcript's entries. What the agent remembers is another session, because a thread has what people see
and the memory what the model sees: tool calls, for example. While a message is answered, ``turn`` in the metadata
keeps others out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db import IntegrityError, transaction
from django.db.models import Q

from agentstate import sessions
from agentstate.isolation import one_round, read_committed
from agentstate.models import AgentSession, AgentWorkflowRun
from agentstate.models.fields import possible_id
from agentstate.recording.storable import restored, storable
from agentstate.state.homes import next_clock
from agentstate.state.transactions import seeing_others

if TYPE_CHECKING:
    from datetime import datetime

    from django.db.models import QuerySet

    from agentstate.integrations.chatkit.context import ChatContext

KIND = "chatkit"
MEMORY_KIND = "chatkit_memory"
# How long a turn keeps others out whose process has died. It bridges the time until the answer's run has begun.
TURN_SECONDS = 60

# With a memory id of its own: sessions.open_for takes the newest session without one for the application's.
_SAVE = f"""
    INSERT INTO "AgentSession" (id, project_id, memory_id, transcript_json, metadata, created_at, updated_at)
    VALUES (%(id)s, %(project)s, %(id)s, '[]', %(metadata)s::jsonb, %(created_at)s::timestamptz,
        %(created_at)s::timestamptz)
    ON CONFLICT (id) DO UPDATE SET
        metadata = "AgentSession".metadata || jsonb_build_object('thread', excluded.metadata -> 'thread'),
        updated_at = {next_clock('"AgentSession".updated_at', '"AgentSession".created_at')}
    WHERE "AgentSession".project_id = excluded.project_id
        AND "AgentSession".metadata @> jsonb_build_object('kind', '{KIND}', 'user', %(user)s::text)
    RETURNING id"""

_REMEMBER = f"""
    INSERT INTO "AgentSession" (id, project_id, memory_id, transcript_json, metadata, created_at, updated_at)
    SELECT %(memory)s, project_id, '{KIND}:' || id, '[]',
        jsonb_build_object('kind', '{MEMORY_KIND}', 'thread', id), clock_timestamp(), clock_timestamp()
    FROM "AgentSession" WHERE id = %(thread)s
    ON CONFLICT (id) DO NOTHING RETURNING id"""

_EPOCH = "extract(epoch FROM clock_timestamp())"
_TAKE_TURN = f"""
    UPDATE "AgentSession" SET metadata = metadata || jsonb_build_object(
        'turn', jsonb_build_object('id', %(turn)s::text, 'until', {_EPOCH} + {TURN_SECONDS}))
    WHERE id = %(thread)s AND coalesce((metadata -> 'turn' ->> 'until')::float8, 0) < {_EPOCH}
    RETURNING id"""
_END_TURN = """
    UPDATE "AgentSession" SET metadata = metadata - 'turn'
    WHERE id = %(thread)s AND metadata -> 'turn' ->> 'id' = %(turn)s RETURNING id"""


class ThreadNotFound(LookupError):
    """The user has no such thread in the project, or it has no such item."""


class ThreadBusy(Exception):
    """The thread's last message is still being answered, or its answer waits for an approval.

    Attributes:
        is_waiting: the answer waits for an approval.
    """

    def __init__(self, thread_id: str, *, is_waiting: bool) -> None:
        super().__init__(f"The thread {thread_id} is busy.")
        self.is_waiting = is_waiting


def threads_of(context: ChatContext) -> QuerySet[AgentSession]:
    """Return the user's threads in the project."""
    return AgentSession.objects.filter(
        project=context.project_id, metadata__contains={"kind": KIND, "user": context.user_id}
    )


def require(context: ChatContext, thread_id: str) -> None:
    """Check that the thread is the user's.

    Raises:
        ThreadNotFound: it is not, or there is none.
    """
    if not threads_of(context).filter(pk=possible_id(thread_id)).exists():
        raise ThreadNotFound(thread_id)


def load(context: ChatContext, thread_id: str) -> Any:
    """Return what :func:`save` was given for the thread.

    Raises:
        ThreadNotFound: the user has no such thread.
    """
    row = threads_of(context).filter(pk=possible_id(thread_id)).values_list("metadata__thread").first()
    if row is None:
        raise ThreadNotFound(thread_id)
    return restored(row[0])


def save(context: ChatContext, thread_id: str, thread: dict[str, Any], created_at: datetime) -> None:
    """Insert a thread, or replace what is stored of it.

    Raises:
        ThreadNotFound: the id is another session's, or there is no such project.
    """
    parameters = {
        "id": possible_id(thread_id),
        "project": context.project_id,
        "user": context.user_id,
        "metadata": storable({"kind": KIND, "user": context.user_id, "thread": thread}),
        "created_at": created_at.isoformat(),
    }
    try:
        with read_committed():
            row = one_round(_SAVE, parameters)
    except IntegrityError as error:
        raise ThreadNotFound(thread_id) from error
    if row is None:
        raise ThreadNotFound(thread_id)


def page(context: ChatContext, limit: int, after: str | None, *, newest_first: bool) -> list[Any]:
    """Return what is stored of the user's threads that follow one, or of the first ones, by the time they began.

    Raises:
        ThreadNotFound: the user has no thread ``after``.
    """
    threads = threads_of(context)
    if after is not None:
        anchor = threads.filter(pk=possible_id(after)).values_list("created_at", "pk").first()
        if anchor is None:
            raise ThreadNotFound(after)
        operator = "lt" if newest_first else "gt"
        threads = threads.filter(
            Q(**{f"created_at__{operator}": anchor[0]}) | Q(created_at=anchor[0], **{f"pk__{operator}": anchor[1]})
        )
    order = ("-created_at", "-pk") if newest_first else ("created_at", "pk")
    rows = threads.order_by(*order).values_list("metadata__thread", flat=True)[:limit]
    return [restored(row) for row in rows]


def delete(context: ChatContext, thread_id: str) -> None:
    """Delete a thread with what the agent remembers of it.

    Raises:
        ThreadNotFound: the user has no such thread.
    """
    with transaction.atomic():
        require(context, thread_id)
        AgentSession.objects.filter(pk__in=[thread_id, memory_of(thread_id)]).delete()


def memory_of(thread_id: str) -> str:
    """Return the id of the session that the agent's memory of a thread is."""
    return f"{thread_id}_memory"


def memory_length(thread_id: str) -> int:
    """Return the number of entries of the agent's memory, 0 where there is none."""
    try:
        return sessions.length(memory_of(thread_id))
    except sessions.SessionNotFound:
        return 0


def open_memory(thread_id: str, length: int | None) -> str:
    """Return the id of the memory's session, made if need be, and cut to a length.

    Raises:
        ThreadBusy: an unfinished run uses the memory.
    """
    memory_id = memory_of(thread_id)
    one_round(_REMEMBER, {"memory": memory_id, "thread": thread_id})
    if length is not None:
        with seeing_others("A thread cannot be answered"):
            AgentSession.objects.select_for_update(no_key=True).filter(pk=memory_id).values_list("pk").first()
            _require_rest(thread_id)
            sessions.truncate(memory_id, length)
    return memory_id


def take_turn(thread_id: str, turn: str) -> None:
    """Keep other messages out of the thread until :func:`end_turn`, which must follow in any case.

    Args:
        turn: an id of the turn's own.

    Raises:
        ThreadBusy: another message has the turn, or its answer's run is unfinished.
    """
    if one_round(_TAKE_TURN, {"thread": thread_id, "turn": turn}) is None:
        raise ThreadBusy(thread_id, is_waiting=False)
    _require_rest(thread_id)


def end_turn(thread_id: str, turn: str) -> None:
    """Let the thread have its next message, if the turn is this one."""
    one_round(_END_TURN, {"thread": thread_id, "turn": turn})


def _require_rest(thread_id: str) -> None:
    runs = AgentWorkflowRun.objects.unfinished().filter(sessions=memory_of(thread_id))
    status = runs.values_list("status", flat=True).first()
    if status is not None:
        raise ThreadBusy(thread_id, is_waiting=status == AgentWorkflowRun.Status.PENDING)
