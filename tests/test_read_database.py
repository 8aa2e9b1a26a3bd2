"""When the primary is read although a replica is named."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from django.db import OperationalError

from agentstate import read_database
from agentstate.read_database import despite_replica, read_alias

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture(autouse=True)
def replica(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.AGENTSTATE_READ_DATABASE = "replica"
    monkeypatch.setattr(read_database, "TRY_AGAIN_AFTER", 3600)
    monkeypatch.setattr(read_database, "_tried_again_at", {})


def failing(*aliases: str) -> tuple[list[str], Callable[[], str]]:
    """Return a read that fails on some databases, and the list of those that it has read."""
    tried: list[str] = []

    def read() -> str:
        tried.append(read_alias())
        if tried[-1] in aliases:
            raise OperationalError("canceling statement")
        return tried[-1]

    return tried, read


def test_a_replica_that_failed_is_left_alone() -> None:
    tried, read = failing("replica")
    assert [despite_replica(read) for _ in range(2)] == ["default"] * 2
    assert tried == ["replica", "default", "default"]


def test_a_read_that_fails_on_the_primary_too_leaves_the_replica_in_use() -> None:
    tried, read = failing("replica", "default")
    for _ in range(2):
        with pytest.raises(OperationalError):
            despite_replica(read)
    assert tried == ["replica", "default"] * 2
