"""A database of its own for a benchmark."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from django.db import connection

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def benchmark_database() -> Iterator[str]:
    """Work in a new, migrated database of this name, and drop it at the end. One in another has another name."""
    name = connection.settings_dict["NAME"]
    created: str = connection.creation.create_test_db(verbosity=0, autoclobber=True, serialize=False)
    try:
        yield created
    finally:
        connection.creation.destroy_test_db(name, verbosity=0)


@contextmanager
def database(name: str) -> Iterator[None]:
    """Work in another database of the same server."""
    before = connection.settings_dict["NAME"]
    connection.close()
    connection.settings_dict["NAME"] = name
    try:
        yield
    finally:
        connection.close()
        connection.settings_dict["NAME"] = before
