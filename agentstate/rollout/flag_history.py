"""The history of flag changes: since when a gate has had its present share, and for which projects."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from itertools import groupby
from typing import TYPE_CHECKING, Any, NamedTuple

from agentstate.gates import BUCKETS, GATES
from agentstate.models import Flag, FlagChange

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime

    from agentstate.gates import Gate, Share


class Change(NamedTuple):
    """A change of a gate: the moment, the new share, and who made it."""

    at: datetime
    share: Share
    by: str


@dataclass(frozen=True)
class Reached:
    """The moments since which a gate has been on without interruption, by bucket and by named project.

    Buckets and projects for which it is off have no moment.
    """

    ranges: list[tuple[range, datetime]]
    named: dict[str, datetime | None]

    @property
    def earliest(self) -> datetime | None:
        moments = [moment for _, moment in self.ranges] + [moment for moment in self.named.values() if moment]
        return min(moments, default=None)


class FlagHistory:
    """The changes of the four gates, the oldest first.

    A gate that has not changed since the history began has no such moment.
    """

    def __init__(self, changes: Iterable[FlagChange]) -> None:
        self._changes: defaultdict[str, list[Change]] = defaultdict(list)
        self.newest_id = 0
        for change in changes:
            share = GATES[change.flag].share(_flag(change.flag, change.after))
            self._changes[change.flag].append(Change(change.changed_at, share, change.changed_by))
            self.newest_id = change.pk

    @classmethod
    def load(cls) -> FlagHistory:
        return cls(FlagChange.objects.filter(flag__in=GATES).order_by("pk"))

    def last_change(self, gate: Gate) -> Change | None:
        """Return the change that gave a gate its present share."""
        changes = self._changes[gate.name]
        last = None
        for change in reversed(changes):
            if change.share != changes[-1].share:
                break
            last = change
        return last

    def since(self, gate: Gate, is_met: Callable[[Share], bool]) -> datetime | None:
        """Return since when a gate's share has met a predicate without interruption, None if it does not meet it."""
        since = None
        for change in reversed(self._changes[gate.name]):
            if not is_met(change.share):
                break
            since = change.at
        return since

    def reached(self, gate: Gate) -> Reached:
        """Return when the gate reached each project for which it is on."""
        changes = self._changes[gate.name]
        moments: list[datetime | None] = [None] * BUCKETS
        for change in changes:
            moments = [
                (moment or change.at) if bucket in change.share.buckets else None
                for bucket, moment in enumerate(moments)
            ]
        ranges, first = [], 0
        for moment, group in groupby(moments):
            after = first + len(list(group))
            if moment:
                ranges.append((range(first, after), moment))
            first = after
        named = {name for change in changes for name in change.share.named}
        return Reached(ranges, {name: _reached_one(name, changes) for name in named})


def _reached_one(project_id: str, changes: list[Change]) -> datetime | None:
    moment = None
    for change in changes:
        moment = (moment or change.at) if change.share.has(project_id) else None
    return moment


def _flag(name: str, settings: Any) -> Flag:
    """Return the flag with these settings of the history; an unsaved one if it was deleted.

    Another tool may have written the settings. An invalid setting counts as off.
    """
    if settings is None:
        return Flag(name=name)
    settings = settings if isinstance(settings, dict) else {}
    everyone, project_ids = settings.get("everyone"), settings.get("project_ids")
    return Flag(
        pk=0,
        name=name,
        everyone=everyone if isinstance(everyone, bool) else None,
        percent=_percent(settings.get("percent")),
        project_ids=[each for each in project_ids if isinstance(each, str)] if isinstance(project_ids, list) else [],
    )


def _percent(setting: Any) -> Decimal | None:
    try:
        percent = Decimal(str(setting))
    except InvalidOperation:
        return None
    return percent if 0 <= percent <= 100 else None
