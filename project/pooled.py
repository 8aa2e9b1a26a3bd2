"""A schema behind a transaction pooler: the search path goes with each transaction.

PgBouncer refuses the startup option that sets a search path, and a ``SET`` would stay on whatever server connection it
reached. So the first statement of each transaction, or a statement outside of one, is sent with a ``SET LOCAL`` before
it, in one message: that is one transaction on one server connection, and no further round trip.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from psycopg.pq import TransactionStatus

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.db.backends.base.base import BaseDatabaseWrapper

# The key in DATABASES of the schemas' names, as SQL has them.
SEARCH_PATH = "SEARCH_PATH"


def set_search_path_by_transaction(connection: BaseDatabaseWrapper, **kwargs: Any) -> None:
    """Prepare a new connection whose settings name a search path. Receives ``connection_created``."""
    path = connection.settings_dict.get(SEARCH_PATH)
    if path and not any(isinstance(wrapper, _SearchPath) for wrapper in connection.execute_wrappers):
        connection.execute_wrappers.append(_SearchPath(path))


class _SearchPath:
    """An execute wrapper of Django's."""

    def __init__(self, path: str) -> None:
        self.statement = f"SET LOCAL search_path = {path}; "

    def __call__(self, execute: Callable[..., Any], sql: str, params: Any, many: bool, context: dict[str, Any]) -> Any:
        if context["connection"].connection.pgconn.transaction_status != TransactionStatus.IDLE:
            return execute(sql, params, many, context)
        statement = self.statement if params is None else self.statement.replace("%", "%%")
        result = execute(statement + str(sql), params, many, context)
        if not many:
            context["cursor"].nextset()
        return result
