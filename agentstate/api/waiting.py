"""A limit on how long a statement waits for a lock. A route that meets it answers 503."""

from __future__ import annotations

import inspect
from functools import wraps
from typing import TYPE_CHECKING, Any

from django.db import connection
from psycopg.pq import TransactionStatus

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.http import HttpRequest

SECONDS = 5


def limit_lock_waits(run: Callable[..., Any]) -> Callable[..., Any]:
    """Limit the lock waits of a synchronous operation. A decorator of ninja's operations."""
    if inspect.iscoroutinefunction(run):
        return run

    @wraps(run)
    def limited(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        with connection.execute_wrapper(_with_limit):
            return run(request, *args, **kwargs)

    return limited


def _with_limit(execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: dict[str, Any]) -> Any:
    """Send the limit in one message with a transaction's first statement: no round trip is added.

    A setting of the session would stay on the connection of a pooler. Where the host binds on the server, a message
    has one statement only, and the server's own ``lock_timeout`` applies.
    """
    raw = context["connection"].connection
    is_first = raw.pgconn.transaction_status == TransactionStatus.IDLE
    if many or not is_first or context["connection"].features.uses_server_side_binding:
        return execute(sql, params, many, context)
    result = execute(f"SET LOCAL lock_timeout = '{SECONDS}s'; {sql}", params, many, context)
    context["cursor"].nextset()
    return result
