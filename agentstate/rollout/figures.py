"""The figures of the rollout that need a scan of the projects, counted in one go and stored as JSON."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime
from typing import TYPE_CHECKING, Any, Self

from django.db import DEFAULT_DB_ALIAS, connection, connections, transaction

from agentstate.backfill.verification import Offender, Verification, one_view, verify_in
from agentstate.distant_times import DistantTime
from agentstate.read_database import read_alias, seconds_behind
from agentstate.rollout import thresholds
from agentstate.rollout.bypassing_writes import (
    BypassingWrite,
    BypassingWriteCounts,
    count_bypassing_writes,
    newest_bypassing_writes,
)
from agentstate.rollout.flag_history import FlagHistory
from agentstate.state.acceptance import COLUMNS_ARE_GIVEN_UP
from agentstate.state.homes import CLOCK, NEWEST, PROJECTS
from agentstate.state.standing import STANDING, Standing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from django.db.backends.utils import CursorWrapper

LISTED = 20


@dataclass(frozen=True)
class Figures:
    """What was counted.

    Attributes:
        legacy_ahead_too_long: how many projects have columns that waited too long to be taken in.
        newest_bypassing_writes: the newest of them, the newest first.
        seconds_behind: how far the replica was behind that they were counted on, if they were.
    """

    verification: Verification
    legacy_ahead_too_long: int = 0
    bypassing_writes: BypassingWriteCounts = field(default_factory=BypassingWriteCounts)
    newest_bypassing_writes: list[BypassingWrite] = field(default_factory=list)
    seconds_behind: float = 0.0

    @classmethod
    def count(cls, claim: Callable[[CursorWrapper], None] = lambda _: None) -> Self:
        """Count everything, in one view of the database for reading.

        Args:
            claim: takes a lock on the primary, which holds until all is counted, or raises.

        Raises:
            RowsHidden: row-level security hides rows from this role.
            RuntimeError: it is called inside a transaction, whose view may be another one.
        """
        using, history = read_alias(), FlagHistory.load()
        with _claimed_view(using, claim) as view:
            behind = seconds_behind(using)
            verification = verify_in(view)
            bypassing_writes = count_bypassing_writes(history, using)
            newest = newest_bypassing_writes(LISTED, history, using) if bypassing_writes.count else []
            return cls(verification, count_legacy_ahead_too_long(using), bypassing_writes, newest, behind)

    def as_json(self) -> dict[str, Any]:
        """Return the figures without the ids of the unequal projects, which have a table."""
        verification = asdict(self.verification)
        del verification["unequal_projects"]
        counts, newest = self.bypassing_writes, self.newest_bypassing_writes
        return {
            "verification": verification,
            "legacy_ahead_too_long": self.legacy_ahead_too_long,
            "bypassing_writes": [counts.count, counts.open, counts.newest and counts.newest.isoformat()],
            "newest_bypassing_writes": [[each.project, each.at.isoformat(), each.kind] for each in newest],
        }

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> Self:
        known = {each.name for each in fields(Verification)}
        verification = Verification(
            **{name: stored["verification"][name] for name in known & {*stored["verification"]}}
        )
        verification.offenders = [Offender(*each) for each in verification.offenders]
        count, still_open, newest = stored["bypassing_writes"]
        return cls(
            verification,
            stored["legacy_ahead_too_long"],
            BypassingWriteCounts(count, still_open, newest and _moment(newest)),
            [BypassingWrite(project, _moment(at), kind) for project, at, kind in stored["newest_bypassing_writes"]],
            float(stored.get("seconds_behind", 0)),
        )


@contextmanager
def _claimed_view(using: str, claim: Callable[[CursorWrapper], None]) -> Iterator[CursorWrapper]:
    """Open a view. The claim is for all processes, so its lock is the primary's, whichever database is read."""
    with ExitStack() as stack:
        if using != DEFAULT_DB_ALIAS:
            stack.enter_context(transaction.atomic(durable=True))
            cursor = stack.enter_context(connection.cursor())
            cursor.execute("SET LOCAL idle_in_transaction_session_timeout = 0")  # it is idle for as long as the count
            claim(cursor)
        view = stack.enter_context(one_view(using))
        if using == DEFAULT_DB_ALIAS:
            claim(view)
        yield view


def count_legacy_ahead_too_long(using: str = DEFAULT_DB_ALIAS) -> int:
    """Count the projects whose columns have waited longer than the threshold to be taken in."""
    with connections[using].cursor() as cursor:
        cursor.execute(
            f"""
            SELECT count(*) FROM {PROJECTS} p {NEWEST}
            WHERE ({STANDING}) = '{Standing.LEGACY_AHEAD}' AND {CLOCK} <= clock_timestamp() - make_interval(secs => %s)
              AND NOT {COLUMNS_ARE_GIVEN_UP}
            """,
            [thresholds.lag().total_seconds()],
        )
        (count,) = cursor.fetchone()
    return int(count)


def _moment(text: str) -> datetime:
    return DistantTime.parse(text) or datetime.fromisoformat(text)
