from __future__ import annotations

from typing import TYPE_CHECKING

from project.checks import dropped_parameters
from project.database import database_from_url

if TYPE_CHECKING:
    from pytest_django import Settings


def test_a_plain_url_has_no_findings(settings: Settings) -> None:
    settings.DATABASE = database_from_url("postgres://h/db?schema=app&pgbouncer=true&sslmode=require")
    assert dropped_parameters() == []


def test_prismas_own_parameters_are_mentioned(settings: Settings) -> None:
    settings.DATABASE = database_from_url("postgres://h/db?pool_timeout=2&connection_limit=5")
    [message] = dropped_parameters()
    assert message.id == "project.I001"
    assert not message.is_serious()
    assert "ignored: connection_limit, pool_timeout." in message.msg


def test_unknown_parameters_are_warned_about(settings: Settings) -> None:
    settings.DATABASE = database_from_url("postgres://h/db?sslmod=require")
    [message] = dropped_parameters()
    assert message.id == "project.W001"
    assert "ignored: sslmod." in message.msg
