"""Types of command-line arguments, each with its error."""

from __future__ import annotations

import re
from argparse import ArgumentTypeError
from datetime import UTC, datetime, timedelta

MOST_WORKERS = 32
LARGEST = 2**63 - 1

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_LONGEST = timedelta(days=36500)


def positive(text: str) -> int:
    """Parse a positive integer."""
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise ArgumentTypeError(f"{text!r} is not a positive integer")
    if number > LARGEST:
        raise ArgumentTypeError(f"{text} is more than {LARGEST}, the database's largest integer")
    return number


def seconds(text: str) -> float:
    """Parse a positive number of seconds."""
    number = _number(text)
    if not 0 < number <= _LONGEST.total_seconds():
        raise ArgumentTypeError(f"{text!r} is not a positive number of seconds")
    return number


def ratio(text: str) -> float:
    """Parse a ratio from 0 to 100."""
    number = _number(text)
    if not 0 <= number <= 100:
        raise ArgumentTypeError(f"{text!r} is not a number from 0 to 100")
    return number


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return -1


def workers(text: str) -> int:
    """Parse a number of connections."""
    number = positive(text)
    if number > MOST_WORKERS:
        raise ArgumentTypeError(f"{number} is more than {MOST_WORKERS}, the largest number of connections")
    return number


def moment(text: str) -> datetime:
    """Parse an ISO 8601 date and time, UTC if it names no zone."""
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError as error:
        raise ArgumentTypeError(f"{text!r} is not a time such as 2025-10-07T17:55:00Z") from error
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)


def duration(text: str) -> timedelta:
    """Parse a duration such as ``30m``, ``1h`` or ``2d``."""
    parsed = re.fullmatch(r"([0-9]{1,9})([smhd])", text)
    length = timedelta(**{_UNITS[parsed[2]]: int(parsed[1])}) if parsed else timedelta(0)
    if not timedelta(0) < length <= _LONGEST:
        raise ArgumentTypeError(f"{text!r} is not a duration such as 90s, 30m, 1h or 2d")
    return length
