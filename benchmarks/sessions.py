"""The session of the OpenAI Agents SDK in our tables, beside the SDK's own SQLAlchemySession on the same server."""

from __future__ import annotations

import statistics
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from importlib.util import find_spec
from random import Random
from typing import TYPE_CHECKING, Any, TextIO

from asgiref.sync import async_to_sync
from django.db import connection

from agentstate.threads import in_database_thread
from benchmarks.databases import benchmark_database

if TYPE_CHECKING:
    from agents import Session

NEEDED = ("agents", "sqlalchemy", "asyncpg")
LENGTHS = (10, 1_000, 10_000)
LAST = 20
OURS, THEIRS = "DjangoSession", "SQLAlchemySession"
CHANCE = Random(2025)
# Text that compresses about as prose does.
WORDS = ["".join(CHANCE.choices("etaoinshrdlucm", k=CHANCE.randint(2, 9))) for _ in range(1_500)]


def run(repeats: int, rounds: int, out: TextIO) -> None:
    """Measure on sessions of three lengths in a new database, which is dropped at the end.

    Args:
        repeats: how often each thing is done in a round.
        rounds: how many rounds; in each, all sessions take turns, and medians count.
        out: where the figures go.
    """
    if missing := [name for name in NEEDED if find_spec(name) is None]:
        out.write(f"The sessions were not measured: {', '.join(missing)} missing. Run make install in a checkout.\n")
        return
    with benchmark_database():
        median, wal = async_to_sync(measure)(repeats, rounds)
    _report(median, wal, out)


async def measure(
    repeats: int, rounds: int, lengths: Sequence[int] = LENGTHS
) -> tuple[dict[tuple[str, str, int], float], dict[tuple[str, int], float]]:
    """Return the median seconds of each session's work by its length, and the bytes of WAL of an add."""
    engine = _engine()
    seconds: dict[tuple[str, str, int], list[float]] = defaultdict(list)
    try:
        sessions = {
            **{(OURS, length): await _ours(length) for length in lengths},
            **{(THEIRS, length): await _theirs(engine, length) for length in lengths},
        }
        await in_database_thread(_execute, "ANALYZE")
        for _ in range(rounds):
            for (name, length), session in sessions.items():
                seconds[name, "all", length].append(await _timed(session.get_items))
            for _ in range(repeats):
                for (name, length), session in sessions.items():
                    seconds[name, "add", length].append(await _timed(session.add_items, _items(2)))
                    await session.pop_item()
                    await session.pop_item()
                    seconds[name, "last", length].append(await _timed(session.get_items, LAST))
        wal = {key: await _wal_of_an_add(session) for key, session in sessions.items()}
    finally:
        await engine.dispose()
    return {key: statistics.median(times) for key, times in seconds.items()}, wal


def _engine() -> Any:
    from sqlalchemy import URL
    from sqlalchemy.ext.asyncio import create_async_engine

    parameters = connection.get_connection_params()
    named = {"username": "user", "password": "password", "database": "dbname"}
    query = {name: str(parameters[name]) for name in ("host", "port") if parameters.get(name)}
    url = URL.create(
        "postgresql+asyncpg", **{name: parameters.get(theirs) for name, theirs in named.items()}, query=query
    )
    return create_async_engine(url)


async def _ours(length: int) -> Session:
    from agentstate.integrations.agents import DjangoSession
    from agentstate.models import Project

    project, _ = await Project.objects.aget_or_create(id="benchmark", user_id="benchmark", name="benchmark")
    return await _filled(await DjangoSession.aopen(project.pk, f"of {length}"), length)


async def _theirs(engine: Any, length: int) -> Session:
    from agents.extensions.memory import SQLAlchemySession

    return await _filled(SQLAlchemySession(f"of {length}", engine=engine, create_tables=True), length)


async def _filled(session: Session, length: int) -> Session:
    """Add items, a hundred at a time."""
    for start in range(0, length, 100):
        await session.add_items(_items(min(100, length - start)))
    return session


def _items(number: int) -> list[Any]:
    """Return items of some 600 bytes, each other words."""
    return [{"role": "user", "content": " ".join(CHANCE.choices(WORDS, k=90))} for _ in range(number)]


async def _timed(act: Callable[..., Awaitable[object]], *arguments: object) -> float:
    started = time.perf_counter()
    await act(*arguments)
    return time.perf_counter() - started


async def _wal_of_an_add(session: Session) -> float:
    """Return the bytes of WAL that an add writes, by the median: some write whole pages after a checkpoint."""
    written = []
    for _ in range(20):
        before = await in_database_thread(_wal_written)
        await session.add_items(_items(2))
        written.append(await in_database_thread(_wal_written) - before)
        await session.pop_item()
        await session.pop_item()
    return statistics.median(written)


def _wal_written() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_current_wal_insert_lsn() - '0/0'")
        return int(cursor.fetchone()[0])


def _execute(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)


def _report(median: dict[tuple[str, str, int], float], wal: dict[tuple[str, int], float], out: TextIO) -> None:
    out.write(f"{'':<34} {'add two':>10} {'WAL':>10} {f'last {LAST}':>10} {'all':>10}\n")
    for length in LENGTHS:
        for name in (OURS, THEIRS):
            add, last, everything = (median[name, thing, length] * 1000 for thing in ("add", "last", "all"))
            out.write(
                f"{f'{name}, {length:,} items':<34} {add:>7.2f} ms {wal[name, length] / 1000:>7.1f} kB "
                f"{last:>7.2f} ms {everything:>7.2f} ms\n"
            )
    shortest, longest = LENGTHS[0], LENGTHS[-1]
    growth = median[OURS, "add", longest] / median[OURS, "add", shortest]
    out.write(f"{f'add at {longest:,} / add at {shortest}':<48} {growth:>8.2f}   at most 2\n")
    for length in LENGTHS:
        for thing in ("add", "last", "all"):
            ratio = median[OURS, thing, length] / median[THEIRS, thing, length]
            out.write(f"{f'{thing} at {length:,}, ours / theirs':<48} {ratio:>8.2f}   at most 1\n")
