"""Settings of a host that agentstate does not support are reported by ``manage.py check``."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from django.apps import apps
from django.db import connection

from agentstate.checks.settings import check_settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_django.fixtures import SettingsWrapper


def reported() -> dict[str, str]:
    """Return the messages by the last part of their ids."""
    messages = check_settings()
    assert all(message.hint for message in messages)
    return {str(message.id).removeprefix("agentstate."): str(message.msg) for message in messages}


@pytest.fixture
def database() -> Iterator[dict[str, Any]]:
    """The settings of the default database, as a host may have them."""
    before = dict(connection.settings_dict)
    yield connection.settings_dict
    connection.settings_dict.update(before)


def test_this_site_has_no_findings() -> None:
    assert reported() == {}


def test_naive_datetimes_are_refused(settings: SettingsWrapper) -> None:
    settings.USE_TZ = False
    assert reported() == {"E001": "USE_TZ is False, and agentstate compares aware datetimes."}


def test_another_flag_model_is_refused(settings: SettingsWrapper) -> None:
    settings.WAFFLE_FLAG_MODEL = "waffle.Flag"
    assert reported()["E002"].startswith("WAFFLE_FLAG_MODEL is 'waffle.Flag': ")
    del settings.WAFFLE_FLAG_MODEL
    assert "E002" in reported()


def test_a_database_for_reading_that_is_not_there_is_reported(settings: SettingsWrapper) -> None:
    settings.AGENTSTATE_READ_DATABASE = "nowhere"
    assert reported() == {"E015": "AGENTSTATE_READ_DATABASE is 'nowhere', and DATABASES has no such alias."}


def test_missing_apps_are_named(settings: SettingsWrapper) -> None:
    settings.INSTALLED_APPS = [name for name in settings.INSTALLED_APPS if name != "django.contrib.humanize"]
    assert reported()["E003"].startswith("INSTALLED_APPS lacks django.contrib.humanize, ")


def test_apps_in_the_wrong_order_are_reported(settings: SettingsWrapper) -> None:
    settings.INSTALLED_APPS = ["waffle", *(name for name in settings.INSTALLED_APPS if name != "waffle")]
    assert reported().keys() == {"W011"}


def test_another_database_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(connection._connections["default"]), "vendor", "sqlite")  # type: ignore[attr-defined]
    assert reported() == {"E004": "The default database is sqlite, and agentstate needs PostgreSQL 14 or later."}


def test_a_connection_without_autocommit_is_refused(database: dict[str, Any]) -> None:
    database["AUTOCOMMIT"] = False
    assert reported().keys() == {"E005"}


def test_requests_in_a_transaction_are_reported(database: dict[str, Any]) -> None:
    database["ATOMIC_REQUESTS"] = True
    assert reported().keys() == {"W012"}


@pytest.mark.parametrize(
    "path", ["no.such.module", "tests.checks.nothing", "agentstate.recording.events.LATE", "one", 5]
)
def test_a_redaction_that_cannot_be_imported_is_reported(settings: SettingsWrapper, path: object) -> None:
    settings.AGENTSTATE_REDACT = path
    assert reported()["E010"].startswith(f"AGENTSTATE_REDACT is {path!r}, and no function can be imported")


@pytest.mark.parametrize(
    ("prices", "problem"),
    [
        (["gpt-5"], "It is no dict."),
        ({"gpt-5": 1}, "The prices of 'gpt-5' are no dict."),
        ({5: {"input": 1, "output": 1}}, "5 is no name of a model."),
        ({"gpt-5": {"input": 1}}, "'gpt-5' has no price 'output'."),
        ({"gpt-5": {"input": 1, "output": 1, "outputs": 2}}, "'gpt-5' has an unknown price 'outputs'."),
        ({"m": {"input": -1, "output": 2}}, "The price 'input' of 'm' is -1, which is no amount of dollars."),
    ],
)
def test_malformed_prices_are_reported(settings: SettingsWrapper, prices: object, problem: str) -> None:
    settings.AGENTSTATE_PRICES = prices
    assert reported() == {"E011": f"AGENTSTATE_PRICES is malformed: {problem}"}


def test_valid_prices_are_accepted(settings: SettingsWrapper) -> None:
    settings.AGENTSTATE_PRICES = {"gpt-5": {"input": 1, "cached": 0.1, "output": Decimal(2)}}
    assert reported() == {}


@pytest.mark.parametrize(
    "settings_of_host",
    [{"CONN_MAX_AGE": None}, {"CONN_HEALTH_CHECKS": True}, {"TIME_ZONE": "Asia/Tokyo"}, {"OPTIONS": {"pool": True}}],
    ids=str,
)
def test_other_database_settings_are_accepted(database: dict[str, Any], settings_of_host: dict[str, Any]) -> None:
    database.update(settings_of_host)
    assert reported() == {}


class Replica:
    def db_for_read(self, model: type, **hints: Any) -> str:
        return "replica"


class Elsewhere:
    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool:
        return app_label != "agentstate"


class Others:
    """Routes what is not ours."""

    def db_for_read(self, model: Any, **hints: Any) -> str | None:
        return None if model._meta.app_label == "agentstate" else "replica"


@pytest.mark.parametrize(
    ("router", "fact"),
    [(Replica, "to 'replica'"), (Elsewhere, "away from 'default'"), (Others, None)],
)
def test_a_router_that_sends_our_models_elsewhere_is_refused(
    settings: SettingsWrapper, router: type, fact: str | None
) -> None:
    settings.DATABASE_ROUTERS = [f"{__name__}.{router.__name__}"]
    model = next(apps.get_app_config("agentstate").get_models()).__name__
    if fact:
        assert reported()["E006"].startswith(f"DATABASE_ROUTERS sends {model} {fact}: ")
    else:
        assert reported() == {}
