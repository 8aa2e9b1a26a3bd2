"""Checks of the flags: gates that contradict each other, and a cache that hides changes.

All but a missing cache are warnings: an error would keep ``migrate``, which runs these checks too, from running. Users
whom a read gate names are ignored here. They read the AgentKit home earlier, and no project is worse off.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.core.cache import caches
from django.core.cache.backends.locmem import LocMemCache
from django.core.checks import CheckMessage, Error, Tags, Warning, register  # noqa: A004
from django.db import ProgrammingError, connections, transaction
from django.db.migrations.recorder import MigrationRecorder
from psycopg.errors import UndefinedColumn, UndefinedTable
from waffle.utils import get_setting

from agentstate.checks.database import connection_problem
from agentstate.gates import (
    AGENTKIT_READS,
    AGENTKIT_SHADOW_READS,
    AGENTKIT_WRITES,
    BUCKETS,
    GATES,
    LEGACY_WRITES,
    Answers,
    Shares,
)
from agentstate.models import Flag
from agentstate.state.columns import legacy_columns_are_there
from agentstate.state.homes import NEWEST, PROJECTS
from agentstate.state.standing import STANDING, Standing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from django.apps import AppConfig

NAMED = 5
LONGEST_CACHED = 2  # seconds within which a toggle has reached every process
REFUSED_SAVES = "agentstate.W002"  # the id of the check below, for the admin
# The migration that makes the flags' rows: before it, none is missing.
ROWS_MADE_BY = ("agentstate", "0005_gates")


@register(Tags.caches)
def check_flags_cache(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """Report a cache whose entries expire too late: only then does a process see what others changed."""
    alias = get_setting("CACHE_NAME")
    if alias not in caches.settings:
        return [
            Error(
                f"WAFFLE_CACHE_NAME is {alias!r}, and CACHES has no such cache.",
                hint=f"Add {alias!r} to CACHES: a LocMemCache with a TIMEOUT of 1.",
                id="agentstate.E009",
            )
        ]
    cache = caches[alias]
    timeout = cache.default_timeout
    if not isinstance(cache, LocMemCache) or (timeout is not None and timeout <= LONGEST_CACHED):
        return []
    return [
        Warning(
            f"Each process caches the flags {'for ever' if timeout is None else f'for {timeout:g} s'} "
            f"(cache {alias!r}): it sees changes by other processes that much later.",
            hint="Let WAFFLE_CACHE_NAME name a cache of its own in CACHES, with a TIMEOUT of 1.",
            id="agentstate.W009",
        )
    ]


@register(Tags.database)
def check_flags(databases: Sequence[str] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """Report gates that contradict each other or the projects; nothing before the first ``migrate``."""
    return [message for alias in databases or () for message in _of_database(alias)]


def _of_database(alias: str) -> list[CheckMessage]:
    if connections[alias].vendor != "postgresql" or connection_problem(alias) is not None:
        return []  # check_database reports a database that cannot be reached
    try:
        with transaction.atomic(alias):
            flags = list(Flag.objects.using(alias).prefetch_related("users", "groups").filter(name__in=GATES))
            shares = Shares.of(flags)
            has_columns = legacy_columns_are_there(alias)
            return [
                *problems_of(shares, has_columns=has_columns),
                *(unread_state(alias, shares) if has_columns else ()),
                *_missing_rows(alias, flags),
                *_settings_without_effect(flags),
            ]
    except ProgrammingError as error:
        if isinstance(error.__cause__, UndefinedTable | UndefinedColumn):
            return []  # not migrated yet
        raise


def problems_of(shares: Shares, *, has_columns: bool) -> Iterable[CheckMessage]:
    """Report gates that contradict each other or have no effect. Sends no query."""
    return _contradictions(shares) if has_columns else _without_effect(shares)


def _contradictions(shares: Shares) -> Iterable[CheckMessage]:
    if where := _where(shares, lambda gates: gates.agentkit_reads and not gates.agentkit_writes):
        yield Warning(
            f"{AGENTKIT_READS.name} is on and {AGENTKIT_WRITES.name} is off for {where}: saves there do not reach the "
            "home that is read first.",
            hint=f"Open {AGENTKIT_WRITES.name} for them first, or close {AGENTKIT_READS.name}.",
            id="agentstate.W001",
        )
    if where := _where(shares, lambda gates: not gates.agentkit_writes and not gates.legacy_writes):
        yield _refused_saves(
            f"{AGENTKIT_WRITES.name} and {LEGACY_WRITES.name} are both off for {where}",
            hint="Let their percents add up to 100 or more, or run "
            f"manage.py waffle_flag {LEGACY_WRITES.name} --everyone.",
        )
    if where := _where(shares, lambda gates: gates.agentkit_shadow_reads and not gates.agentkit_writes):
        yield Warning(
            f"{AGENTKIT_SHADOW_READS.name} is on and {AGENTKIT_WRITES.name} is off for {where}: after the first save "
            "there is nothing to compare.",
            hint=f"Open {AGENTKIT_WRITES.name} for them first, or close {AGENTKIT_SHADOW_READS.name}.",
            id="agentstate.W004",
        )
    if where := _where(
        shares, lambda gates: gates.agentkit_writes and not gates.legacy_writes and not gates.agentkit_reads
    ):
        yield Warning(
            f"{LEGACY_WRITES.name} and {AGENTKIT_READS.name} are both off for {where}: saves there are not in the "
            "home that is read.",
            hint=f"Open {AGENTKIT_READS.name} for them before closing {LEGACY_WRITES.name}.",
            id="agentstate.W005",
        )


def _refused_saves(fact: str, hint: str) -> CheckMessage:
    return Warning(f"{fact}: saving is refused there.", hint=hint, id="agentstate.W002")


def _where(shares: Shares, is_wrong: Callable[[Answers], bool]) -> str:
    """Return the projects for which the gates' answers are wrong, in words; empty if there are none."""
    count = sum(is_wrong(shares.in_bucket(number)) for number in range(BUCKETS))
    if count == BUCKETS:
        return "all projects"
    named = [name for name in shares.named if is_wrong(shares.for_project(name))]
    parts = [f"{count * 100 / BUCKETS:g} % of the projects"] if count else []
    if named:
        parts.append(f"the named {', '.join(named[:NAMED])}{', …' if len(named) > NAMED else ''}")
    return " and ".join(parts)


def unread_state(alias: str, shares: Shares) -> Iterable[CheckMessage]:
    """Report projects whose readers would get an older state. Scans the projects until it has found one."""
    if shares.agentkit_reads.is_everything:
        return
    is_read, parameters = shares.agentkit_reads.in_sql()
    with connections[alias].cursor() as cursor:
        # One project is enough, and no document is read.
        cursor.execute(
            f"""
            SELECT p.id FROM {PROJECTS} p {NEWEST}
            WHERE {STANDING} = '{Standing.AGENTKIT_AHEAD}' AND NOT {is_read} LIMIT 1
            """,
            parameters,
        )
        project = cursor.fetchone()
    if project:
        yield Warning(
            f"{AGENTKIT_READS.name} is off for projects whose newest state is in the AgentKit home only, such as "
            f"{project[0]}: readers get an older state.",
            hint=f"Run manage.py reverse_backfill_agentkit_state, or open {AGENTKIT_READS.name} for them.",
            id="agentstate.W003",
        )


def _without_effect(shares: Shares) -> Iterable[CheckMessage]:
    """Report gates whose settings have no effect once the columns have been dropped."""
    settings = {
        LEGACY_WRITES.name: ("on", not shares.legacy_writes.is_nothing, "--deactivate"),
        AGENTKIT_READS.name: ("off for some", not shares.agentkit_reads.is_everything, "--everyone"),
        AGENTKIT_SHADOW_READS.name: ("on", not shares.agentkit_shadow_reads.is_nothing, "--deactivate"),
    }
    for name, (setting, is_so, option) in settings.items():
        if is_so:
            yield Warning(
                f"{name} is {setting}, without effect: the legacy columns have been dropped, so only the AgentKit "
                "home is read and written.",
                hint=f"Run manage.py waffle_flag {name} {option}.",
                id="agentstate.W008",
            )
    if not shares.agentkit_writes.is_everything:
        yield _refused_saves(
            f"{AGENTKIT_WRITES.name} is off for some projects, and the legacy columns have been dropped",
            hint=f"Run manage.py waffle_flag {AGENTKIT_WRITES.name} --everyone.",
        )


def _missing_rows(alias: str, flags: Iterable[Flag]) -> Iterable[CheckMessage]:
    missing = GATES.keys() - {flag.name for flag in flags}
    if not missing or ROWS_MADE_BY not in MigrationRecorder(connections[alias]).applied_migrations():
        return
    for gate in (gate for gate in GATES.values() if gate.name in missing):
        option = " --everyone" if gate.initially else ""
        yield Warning(
            f"The flag {gate.name} has no row, so it is {'on for everyone' if gate.initially else 'off'}.",
            hint=f"Run manage.py waffle_flag {gate.name} --create{option} to make it.",
            id="agentstate.W006",
        )


def _settings_without_effect(flags: Iterable[Flag]) -> Iterable[CheckMessage]:
    for flag in flags:
        settings = {"testing": flag.testing, "rollout": flag.rollout, "languages": flag.languages}
        if not GATES[flag.name].is_for_users:
            settings |= {
                "authenticated": flag.authenticated,
                "staff": flag.staff,
                "superusers": flag.superusers,
                "users": flag.users.all(),
                "groups": flag.groups.all(),
            }
        if names := [name for name, setting in settings.items() if setting]:
            yield Warning(
                f"{flag.name} has settings that this gate does not read: {', '.join(names)}.",
                hint="Roll out by percent or by projects; users count for the two read gates only.",
                id="agentstate.W007",
            )
