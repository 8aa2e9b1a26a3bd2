"""Jump to a moment of a run: by its offset, as the timeline shows it, or by its date and time."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

from django.db import connection
from django.utils import timezone
from django.utils.dateparse import parse_datetime

_CLOCK = re.compile(r"(?:(\d{1,5}) ?d )?(?:(\d{1,6}):)?(\d{1,6}):(\d\d?(?:\.\d+)?)")
_UNITS = {"d": 86_400.0, "h": 3_600.0, "min": 60.0, "s": 1.0, "ms": 1e-3, "µs": 1e-6}
_LENGTH = re.compile(r"\d{1,12}(?:\.\d+)? ?(?:d|h|min|s|ms|µs)(?: \d{1,12}(?:\.\d+)? ?(?:d|h|min|s|ms|µs))*")
_PART = re.compile(r"(\d+(?:\.\d+)?) ?(d|h|min|ms|µs|s)")

# Two look-ups in the index: the first event from the moment on, else the last before it.
_NEAR = """
    SELECT id FROM (
        (SELECT id, 1 AS rank FROM "AgentWorkflowRunEvent"
         WHERE run_id = %(run)s AND created_at >= %(at)s ORDER BY created_at LIMIT 1)
        UNION ALL
        (SELECT id, 2 FROM "AgentWorkflowRunEvent"
         WHERE run_id = %(run)s AND created_at < %(at)s ORDER BY created_at DESC LIMIT 1)
    ) near ORDER BY rank LIMIT 1"""


def moment_in(text: str, start: datetime) -> datetime | None:
    """Parse an offset from the start, such as ``+13:20`` or ``2.5 s``, or a date with a time; None if it is neither.

    A time without a zone is in the current time zone.
    """
    text = " ".join(text.split())  # the timeline's spaces do not break
    try:
        if (offset := _offset(text.removeprefix("+").strip())) is not None:
            return start + offset
        found = parse_datetime(re.sub(r" ?UTC$", "Z", text))
        return timezone.make_aware(found) if found and timezone.is_naive(found) else found
    except (ValueError, OverflowError):
        return None


def _offset(text: str) -> timedelta | None:
    if clock := _CLOCK.fullmatch(text):
        days, hours, minutes, seconds = (float(part or 0) for part in clock.groups())
        return timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
    if _LENGTH.fullmatch(text):
        return timedelta(seconds=sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text)))
    return None


def event_near(run_id: str, moment: datetime) -> str:
    """Return the id of the first event from a moment on, else of the last one; empty if the run has none."""
    with connection.cursor() as cursor:
        cursor.execute(_NEAR, {"run": run_id, "at": moment})
        row = cursor.fetchone()
    return str(row[0]) if row else ""
