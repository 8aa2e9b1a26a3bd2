"""The freeze: two triggers refuse every writer's changes of the five columns until the freeze is lifted.

A trigger function runs with the rights of the writing role, so it reads no table. The triggers' arguments say since
when and by whom the columns are frozen. An UPDATE that names none of the five columns costs nothing, and one that
writes equal values does not call the function. The triggers fire for the replica role too. The reverse pass gets
through by setting ``agentstate.moves_state`` to ``on`` for its transaction.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from django.db import DEFAULT_DB_ALIAS, connection
from psycopg import sql

from agentstate import lock_timeout
from agentstate.actors import actor
from agentstate.lock_timeout import StillLocked
from agentstate.rollout.errors import TableLocked
from agentstate.state.keys import STATE_KEYS

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    Result = TypeVar("Result")

_COLUMNS = [f'"{key.column}"' for key in STATE_KEYS]
_CHANGES = " OR ".join(f"OLD.{column} IS DISTINCT FROM NEW.{column}" for column in _COLUMNS)
_FILLS = " OR ".join(f"NEW.{column} IS NOT NULL" for column in _COLUMNS)
# Set by agentstate.state.columns.MOVES_STATE.
_MOVES_STATE = "current_setting('agentstate.moves_state', true) IS NOT DISTINCT FROM 'on'"

# No project's content can cause this ERRCODE, so a pass does not leave the project aside for it.
_FREEZE = f"""
    CREATE OR REPLACE FUNCTION agentstate_freeze() RETURNS trigger LANGUAGE plpgsql AS $function$
    BEGIN
        RAISE EXCEPTION USING
            ERRCODE = 'object_not_in_prerequisite_state',
            MESSAGE = format(
                'The state columns of "Project" have been frozen since %s, by %s: the state lives in '
                '"AgentWorkflowRun" now.', TG_ARGV[0], TG_ARGV[1]),
            DETAIL = format('The %s of project %L would change one of {", ".join(key.column for key in STATE_KEYS)}.',
                            TG_OP, NEW.id),
            HINT = format('Write other columns only, or ask %s. manage.py agentkit_rollout retreat lifts the freeze.',
                          TG_ARGV[1]),
            TABLE = 'Project';
    END
    $function$;

    CREATE OR REPLACE TRIGGER agentstate_freeze BEFORE UPDATE OF {", ".join(_COLUMNS)} ON "Project" FOR EACH ROW
        WHEN (NOT {_MOVES_STATE} AND ({_CHANGES}))
        EXECUTE FUNCTION agentstate_freeze({{since}}, {{by}});
    CREATE OR REPLACE TRIGGER agentstate_freeze_insert BEFORE INSERT ON "Project" FOR EACH ROW
        WHEN (NOT {_MOVES_STATE} AND ({_FILLS}))
        EXECUTE FUNCTION agentstate_freeze({{since}}, {{by}});
    ALTER TABLE "Project" ENABLE ALWAYS TRIGGER agentstate_freeze;
    ALTER TABLE "Project" ENABLE ALWAYS TRIGGER agentstate_freeze_insert"""

# The triggers depend on the columns: drop them first.
THAW = """
    DROP TRIGGER IF EXISTS agentstate_freeze ON "Project";
    DROP TRIGGER IF EXISTS agentstate_freeze_insert ON "Project";
    DROP FUNCTION IF EXISTS agentstate_freeze()"""


class Freeze(NamedTuple):
    """Since when the columns are frozen, as the server wrote it, and by whom."""

    since: str
    by: str


def freeze() -> None:
    """Make the columns refuse writes. Locks the table briefly: see :func:`with_lock_timeout`."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS \"UTC\"')")
        (since,) = cursor.fetchone()
        # The arguments of a trigger cannot be parameters of a statement.
        cursor.execute(sql.SQL(_FREEZE).format(since=sql.Literal(since), by=sql.Literal(actor())))


def thaw() -> None:
    """Make the columns accept writes again. Locks the table briefly: see :func:`with_lock_timeout`."""
    with connection.cursor() as cursor:
        cursor.execute(THAW)


def is_frozen() -> bool:
    """Tell whether the columns refuse writes."""
    return read_freeze() is not None


def read_freeze() -> Freeze | None:
    """Return since when the columns refuse writes; None unless both triggers exist and fire for every writer."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT tgargs FROM pg_trigger
            WHERE tgrelid = '"Project"'::regclass AND tgenabled = 'A'
              AND tgname IN ('agentstate_freeze', 'agentstate_freeze_insert')
            """
        )
        triggers = cursor.fetchall()
    if len(triggers) < 2:
        return None
    since, by, *_ = bytes(triggers[0][0]).decode().split("\0")
    return Freeze(since, by)


def has_freeze_triggers() -> bool:
    """Tell whether a trigger of the freeze exists, even a disabled one."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = '"Project"'::regclass
                           AND tgname IN ('agentstate_freeze', 'agentstate_freeze_insert'))
            """
        )
        (exists,) = cursor.fetchone()
    return bool(exists)


def with_lock_timeout(act: Callable[[], Result]) -> Result:
    """Lock ``"Project"`` and act, in one transaction: see :func:`agentstate.lock_timeout.with_lock_timeout`.

    Raises:
        TableLocked: another transaction held the lock at each attempt; nothing was changed.
    """
    try:
        return lock_timeout.with_lock_timeout(act, DEFAULT_DB_ALIAS)
    except StillLocked as error:
        raise TableLocked(
            f"{error} Nothing was changed. End the long transaction (pg_stat_activity, pg_locks), or try at a quieter "
            "time."
        ) from error
