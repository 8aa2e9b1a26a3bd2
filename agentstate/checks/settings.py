"""Checks of what a host project may set: what agentstate does not support is reported before it fails."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.apps import apps
from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register  # noqa: A004
from django.db import DEFAULT_DB_ALIAS, connections, router

from agentstate.read_database import read_alias
from agentstate.recording.prices import problems_of_prices
from agentstate.recording.redaction import function_at

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from django.apps import AppConfig

FLAG_MODEL = "agentstate.Flag"
NEEDED_APPS = ("django.contrib.humanize", "django.contrib.postgres")


@register()
def check_settings(app_configs: Sequence[AppConfig] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """Report settings of the project that agentstate cannot work with."""
    return [*_project(), *_apps(), *_default_database(), *_read_database(), *_routers(), *_recording()]


def _project() -> Iterable[CheckMessage]:
    if not settings.USE_TZ:
        yield Error(
            "USE_TZ is False, and agentstate compares aware datetimes.",
            hint="Set USE_TZ = True.",
            id="agentstate.E001",
        )
    model = getattr(settings, "WAFFLE_FLAG_MODEL", "waffle.Flag")
    if model != FLAG_MODEL:
        yield Error(
            f"WAFFLE_FLAG_MODEL is {model!r}: agentstate and waffle would read different flags.",
            hint="Set WAFFLE_FLAG_MODEL = 'agentstate.Flag' before the first migrate.",
            id="agentstate.E002",
        )


def _apps() -> Iterable[CheckMessage]:
    if missing := [name for name in NEEDED_APPS if not apps.is_installed(name)]:
        yield Error(
            f"INSTALLED_APPS lacks {', '.join(missing)}, which the pages and models of agentstate use.",
            hint="Add what is missing to INSTALLED_APPS.",
            id="agentstate.E003",
        )
    names = [config.name for config in apps.get_app_configs()]
    if names.index("waffle") < names.index("agentstate"):
        yield Warning(
            "waffle comes before agentstate in INSTALLED_APPS, so manage.py waffle_flag is waffle's own command, "
            "which does not check the percentage.",
            hint="Put 'agentstate' before 'waffle'.",
            id="agentstate.W011",
        )


def _default_database() -> Iterable[CheckMessage]:
    connection = connections[DEFAULT_DB_ALIAS]
    if connection.vendor != "postgresql":
        yield Error(
            f"The default database is {connection.vendor}, and agentstate needs PostgreSQL 14 or later.",
            hint="Let DATABASES['default'] name the PostgreSQL database that holds \"Project\".",
            id="agentstate.E004",
        )
        return
    if not connection.settings_dict["AUTOCOMMIT"]:
        yield Error(
            "DATABASES['default']['AUTOCOMMIT'] is False: what agentstate writes would stay uncommitted.",
            hint="Remove AUTOCOMMIT, and use transaction.atomic() where statements belong together.",
            id="agentstate.E005",
        )
    if connection.settings_dict["ATOMIC_REQUESTS"]:
        yield Warning(
            "DATABASES['default']['ATOMIC_REQUESTS'] is True: an event that a request records is visible to others "
            "only at its end, a request that fails leaves no record of its run, and a save locks its project for as "
            "long as the request takes.",
            hint="Decorate the views that record runs or save state with transaction.non_atomic_requests.",
            id="agentstate.W012",
        )


def _recording() -> Iterable[CheckMessage]:
    if (path := getattr(settings, "AGENTSTATE_REDACT", None)) is not None:
        try:
            function_at(path)
        except Exception as error:
            yield Error(
                f"AGENTSTATE_REDACT is {path!r}, and no function can be imported from there ({error}): no payload of "
                "an event would be stored.",
                hint="Set the dotted path of a function that takes a kind and a payload, or remove the setting.",
                id="agentstate.E010",
            )
    if problems := problems_of_prices():
        yield Error(
            f"AGENTSTATE_PRICES is malformed: {' '.join(problems)}",
            hint="Map each model's name to its prices in US dollars per million tokens: "
            '{"gpt-5": {"input": 1.25, "cached": 0.125, "output": 10}}.',
            id="agentstate.E011",
        )


def _read_database() -> Iterable[CheckMessage]:
    if (alias := read_alias()) not in connections:
        yield Error(
            f"AGENTSTATE_READ_DATABASE is {alias!r}, and DATABASES has no such alias.",
            hint="Name an alias of DATABASES, such as a replica's, or leave the setting out.",
            id="agentstate.E015",
        )


def _routers() -> Iterable[CheckMessage]:
    """Report models that a router sends elsewhere: the SQL of agentstate runs on the default database."""
    for model in apps.get_app_config("agentstate").get_models():
        aliases = {router.db_for_read(model), router.db_for_write(model)} - {DEFAULT_DB_ALIAS}
        if aliases or not router.allow_migrate_model(DEFAULT_DB_ALIAS, model):
            elsewhere = f"to {', '.join(map(repr, sorted(aliases)))}" if aliases else "away from 'default'"
            yield Error(
                f"DATABASE_ROUTERS sends {model.__name__} {elsewhere}: agentstate reads and writes one database, "
                "'default', in SQL of its own too.",
                hint="Let the routers leave the app label 'agentstate' on 'default': reads, writes and migrations.",
                id="agentstate.E006",
            )
            return
