"""Malformed settings of the HTTP API are reported."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from agentstate.checks.api import check_api_pages, check_api_settings

if TYPE_CHECKING:
    from pytest_django.fixtures import SettingsWrapper


def reported() -> list[str]:
    return [str(message.id).removeprefix("agentstate.") for message in [*check_api_settings(), *check_api_pages()]]


def test_the_defaults_are_accepted() -> None:
    assert reported() == []


@pytest.mark.parametrize("value", [0, -1, "100", 1.5, None, True, 501])
def test_a_limit_must_be_a_positive_integer(settings: SettingsWrapper, value: object) -> None:
    settings.AGENTSTATE_API_JSON_DEPTH = value
    assert reported() == ["E012"]


@pytest.mark.parametrize("origins", ["https://a.example", ["*"], ["a.example"], ["https://a.example/"], [1], None])
def test_an_origin_that_no_browser_sends_is_refused(settings: SettingsWrapper, origins: object) -> None:
    settings.AGENTSTATE_API_ORIGINS = origins
    assert reported() == ["E013"]


@pytest.mark.parametrize("origin", ["https://a.example", "http://localhost:3000", "http://[::1]:8000"])
def test_an_origin_of_scheme_and_host_is_accepted(settings: SettingsWrapper, origin: str) -> None:
    settings.AGENTSTATE_API_ORIGINS = [origin]
    assert reported() == []


def test_pages_without_their_script_are_reported(settings: SettingsWrapper) -> None:
    settings.INSTALLED_APPS = [name for name in settings.INSTALLED_APPS if name != "ninja"]
    assert reported() == ["W014"]
