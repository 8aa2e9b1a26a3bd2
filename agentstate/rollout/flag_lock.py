"""The lock of the flags: whoever sets gates by what the others are keeps them as they are until that is committed."""

from __future__ import annotations

from django.db import OperationalError, connection
from psycopg.errors import LockNotAvailable

from agentstate.gates import GATES
from agentstate.models import Flag
from agentstate.rollout.errors import FlagsLocked

TIMEOUT = "5s"


def lock_flags() -> None:
    """Keep others from changing the gates until the end of the transaction.

    Raises:
        FlagsLocked: another transaction kept one locked. The caller's transaction, or savepoint, is to be rolled back.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_setting('lock_timeout')")
        (before,) = cursor.fetchone()
        cursor.execute("SELECT set_config('lock_timeout', %s, true)", [TIMEOUT])
        try:
            list(Flag.objects.select_for_update(no_key=True).filter(name__in=GATES).order_by("pk"))
        except OperationalError as error:
            if not isinstance(error.__cause__, LockNotAvailable):
                raise
            raise FlagsLocked(
                f"Another transaction has kept a flag locked for {TIMEOUT}. Nothing was changed. End that transaction "
                "(pg_stat_activity, pg_locks), then try again."
            ) from error
        cursor.execute("SELECT set_config('lock_timeout', %s, true)", [before])
