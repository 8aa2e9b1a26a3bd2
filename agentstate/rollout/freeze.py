"""The freeze: the five columns refuse writes, whoever writes, until it is lifted.

A trigger function runs with the rights of the role that writes, so this one reads no table: since when, and by whom,
stands in the triggers' arguments. A statement that names none of the five columns compares nothing, and one that
writes back what is there does not call the function. It fires for the replica role too. Our own re-seeding of the
columns passes by setting ``agentstate.moves_state`` to ``on``, for its transaction only.
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
# What agentstate.state.columns.MOVES_STATE says.
_MOVES_STATE = "current_setting('agentstate.moves_state', true) IS NOT DISTINCT FROM 'on'"

# The ERRCODE is PostgreSQL's own for what must be in another state first, and none that one project's content causes.
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

# The triggers name the columns, so that they must go before these do.
THAW = """
    DROP TRIGGER IF EXISTS agentstate_freeze ON "Project";
    DROP TRIGGER IF EXISTS agentstate_freeze_insert ON "Project";
    DROP FUNCTION IF EXISTS agentstate_freeze()"""


class Freeze(NamedTuple):
    """Since when the columns are frozen, as the server wrote it, and by whom."""

    since: str
    by: str


def freeze() -> None:
    """Let the columns refuse writes. Needs the table's lock for an instant: see :func:`with_lock_timeout`."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS \"UTC\"')")
        (since,) = cursor.fetchone()
        # The arguments of a trigger cannot be parameters of a statement.
        cursor.execute(sql.SQL(_FREEZE).format(since=sql.Literal(since), by=sql.Literal(actor())))


def thaw() -> None:
    """Let the columns take writes again. Needs the table's lock for an instant: see :func:`with_lock_timeout`."""
    with connection.cursor() as cursor:
        cursor.execute(THAW)


def is_frozen() -> bool:
    """Tell whether the columns refuse writes."""
    return read_freeze() is not None


def read_freeze() -> Freeze | None:
    """Return since when the columns refuse writes, None where they don't: nobody may have disabled a trigger."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT tgargs FROM pg_trigger
            WHERE tgrelid = '"Project"'::regclass AND tgenabled = 'A'
              AND tgname IN ('agentstate_freeze', 'agentstate_freeze_insert')
            """
        )
        found = cursor.fetchall()
    if len(found) < 2:
        return None
    since, by, *_ = bytes(found[0][0]).decode().split("\0")
    return Freeze(since, by)


def has_freeze_triggers() -> bool:
    """Tell whether anything of a freeze is there, be it that somebody disabled a trigger, or enabled it for some."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = '"Project"'::regclass
                           AND tgname IN ('agentstate_freeze', 'agentstate_freeze_insert'))
            """
        )
        (left,) = cursor.fetchone()
    return bool(left)


def with_lock_timeout(act: Callable[[], Result]) -> Result:
    """Lock ``"Project"`` and act, in one transaction: see :func:`agentstate.lock_timeout.with_lock_timeout`.

    Raises:
        TableLocked: others held the lock each time; nothing was changed.
    """
    try:
        return lock_timeout.with_lock_timeout(act, DEFAULT_DB_ALIAS)
    except StillLocked as error:
        raise TableLocked(
            f"{error} Nothing was changed. End the long transaction (pg_stat_activity, pg_locks), or try at a quieter "
            "time."
        ) from error
