"""Times that PostgreSQL holds and Python's datetime does not: infinity, BC, years from 10000 on."""

from __future__ import annotations

import re
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from django.db import connection
from psycopg import DataError
from psycopg.adapt import Dumper
from psycopg.postgres import types
from psycopg.pq import Format
from psycopg.types.datetime import TimestampLoader

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Self

    from psycopg.abc import Buffer

_PRINTED = re.compile(r"-?infinity|\d{4,6}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d{1,6})?[+-][\d:]{2,8}( BC)?")
_FIRST, _LAST = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
_TIMESTAMPTZ = types["timestamptz"].oid


class DistantTime(datetime):
    """A time as PostgreSQL prints it, in ``text``. It compares as the first or the last moment that Python knows.

    Also used for times in Python's first and last year, which a time zone can move out of reach.
    """

    convert_to_local_time = False  # Django's templates read this
    text: str

    def __new__(cls, text: str) -> Self:
        end = _FIRST if text.startswith(("-", "0001")) or text.endswith("BC") else _LAST
        made = super().__new__(cls, *end.timetuple()[:6], end.microsecond, UTC)
        made.text = text
        return made

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Return the time that a text of ours names, None for any other text."""
        return cls(text) if _PRINTED.fullmatch(text) else None

    def __str__(self) -> str:
        return self.text

    def isoformat(self, *args: Any, **kwargs: Any) -> str:
        return self.text

    def replace(self, *args: Any, **kwargs: Any) -> Self:
        return self

    def astimezone(self, *args: Any) -> Self:
        return self

    def __add__(self, other: timedelta) -> Self:
        return self

    def __sub__(self, other: Any) -> Any:
        return self if isinstance(other, timedelta) else super().__sub__(other)

    def __reduce_ex__(self, protocol: Any) -> tuple[type[DistantTime], tuple[str]]:
        return type(self), (self.text,)


class _DistantTimeDumper(Dumper):
    oid = _TIMESTAMPTZ

    def dump(self, obj: DistantTime) -> bytes:
        return obj.text.encode()


class _Lenient:
    """Loads as the loader that it is mixed into, and what that refuses as a :class:`DistantTime`."""

    def load(self, data: Buffer) -> datetime:
        try:
            moment: datetime = super().load(data)  # type: ignore[misc]
        except DataError:
            return DistantTime(bytes(data).decode())
        return moment if _FIRST.year < moment.year < _LAST.year else DistantTime(bytes(data).decode())


class _LenientTimestampLoader(_Lenient, TimestampLoader):
    pass


@contextmanager
def distant_times() -> Iterator[None]:
    """Read times that Python's datetime does not hold as :class:`DistantTime`, on this connection, in this block."""
    connection.ensure_connection()
    adapters = connection.connection.adapters
    loader = adapters.get_loader(_TIMESTAMPTZ, Format.TEXT)
    if issubclass(loader, _Lenient):
        yield
        return
    plain_loader = adapters.get_loader(types["timestamp"].oid, Format.TEXT)
    adapters.register_loader("timestamptz", type("LenientLoader", (_Lenient, loader), {}))
    adapters.register_loader("timestamp", _LenientTimestampLoader)
    adapters.register_dumper(DistantTime, _DistantTimeDumper)
    try:
        yield
    finally:
        adapters.register_loader("timestamptz", loader)
        adapters.register_loader("timestamp", plain_loader)
