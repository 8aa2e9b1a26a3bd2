"""Each test begins with nothing frozen, and waits for what the page counts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from agentstate.rollout.freeze import THAW
from tests import scenes

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def counted_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the page wait for its count, however busy the machine is."""
    monkeypatch.setattr("agentstate.admin.rollout.admin.WAIT", 30)


@pytest.fixture(autouse=True)
def thawed() -> Iterator[None]:
    yield
    scenes.run_sql(THAW)
