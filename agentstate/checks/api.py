"""Checks of the HTTP API's settings. They do not need the API's dependencies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from django.apps import apps
from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register  # noqa: A004
from django.urls import NoReverseMatch, reverse

from agentstate.api.limits import LIMITS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from django.apps import AppConfig

ORIGINS = "AGENTSTATE_API_ORIGINS"


@register()
def check_api_settings(app_configs: Sequence[AppConfig] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """Report limits that are no positive integers, and origins that no browser sends."""
    return [*_limits(), *_origins()]


@register(Tags.urls)
def check_api_pages(app_configs: Sequence[AppConfig] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """Report that the interactive pages lack their script."""
    try:
        reverse("agentstate-api:docs")
    except NoReverseMatch:
        return []
    if apps.is_installed("ninja"):
        return []
    return [
        Warning(
            "The URLs include agentstate.api.urls, and INSTALLED_APPS lacks ninja: the API's interactive pages have "
            "no script and no styles.",
            hint="Add 'ninja' to INSTALLED_APPS.",
            id="agentstate.W014",
        )
    ]


def _limits() -> Iterable[CheckMessage]:
    for limit in LIMITS:
        value = getattr(settings, limit.name, limit.default)
        if type(value) is not int or not 1 <= value <= limit.most:
            yield Error(
                f"{limit.name} is {value!r}, and must be an integer from 1 to {limit.most:,}.",
                hint=f"Set such a number, or remove the setting: the default is {limit.default:,}.",
                id="agentstate.E012",
            )


def _origins() -> Iterable[CheckMessage]:
    origins = getattr(settings, ORIGINS, [])
    listed = origins if isinstance(origins, list | tuple) else [origins]
    wrong = [origin for origin in listed if not _is_origin(origin)]
    if wrong or listed is not origins:
        yield Error(
            f"AGENTSTATE_API_ORIGINS is {origins!r}, and must be a list of origins such as https://app.example.com.",
            hint="Name each with its scheme and without a path. A wildcard is not possible.",
            id="agentstate.E013",
        )


def _is_origin(origin: object) -> bool:
    if not isinstance(origin, str):
        return False
    try:
        parts = urlsplit(origin)
        port = parts.port
    except ValueError:
        return False
    host = parts.hostname or ""
    address = f"[{host}]" if ":" in host else host
    written = f"{parts.scheme}://{address}" + (f":{port}" if port else "")
    return parts.scheme in ("http", "https") and bool(host) and "*" not in host and origin == written
