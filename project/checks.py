"""Checks of ``DATABASE_URL``. docs/checks.md lists them."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Info, Warning, register  # noqa: A004

PRISMA_PARAMETERS = frozenset(
    {
        "connection_limit",
        "pgbouncer",
        "pool_timeout",
        "schema",
        "socket_timeout",
        "sslaccept",
        "sslidentity",
        "statement_cache_size",
    }
)


@register()
def dropped_parameters(**kwargs: Any) -> list[CheckMessage]:
    """Report parameters of ``DATABASE_URL`` that have no effect."""
    dropped = set(settings.DATABASE.dropped)
    messages: list[CheckMessage] = []
    if known := sorted(dropped & PRISMA_PARAMETERS):
        messages.append(
            Info(
                f"DATABASE_URL has parameters that only Prisma knows; they are ignored: {', '.join(known)}.",
                hint="Leave them. To choose the encryption of the connection, use sslmode.",
                id="project.I001",
            )
        )
    if unknown := sorted(dropped - PRISMA_PARAMETERS):
        messages.append(
            Warning(
                f"DATABASE_URL has parameters that PostgreSQL does not know; they are ignored: {', '.join(unknown)}.",
                hint="Check their spelling, or remove them.",
                id="project.W001",
            )
        )
    return messages
