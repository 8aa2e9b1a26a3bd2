"""Transactions that see what others have committed, or refuse."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from django.db import connection, transaction

from agentstate.isolation import READ_COMMITTED, read_committed, stricter_level
from agentstate.state.errors import UnsuitableTransaction

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def seeing_others(refusal: str) -> Iterator[None]:
    """Open a READ COMMITTED transaction, or a savepoint in the caller's if that is one.

    Args:
        refusal: what cannot be done in another, such as ``State cannot be saved``.

    Raises:
        UnsuitableTransaction: the caller's transaction is repeatable read or serializable.
    """
    is_nested = not connection.get_autocommit()
    with read_committed():
        if is_nested and (level := stricter_level()):
            raise UnsuitableTransaction(
                f"{refusal} in a {level} transaction, which does not see what others have committed since it began. "
                "Use a READ COMMITTED transaction, or none."
            )
        yield


@contextmanager
def beginning(refusal: str) -> Iterator[str]:
    """Open a transaction as :func:`seeing_others` does, and yield the statement that its first round begins with.

    So READ COMMITTED takes no round of its own. Inside the caller's transaction it is empty.
    """
    if connection.get_autocommit():
        with transaction.atomic():
            yield READ_COMMITTED
    else:
        with seeing_others(refusal):
            yield ""
