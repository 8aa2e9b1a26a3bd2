from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from django.db import connection

from agentstate.rollout import waiting
from agentstate.rollout.freeze import THAW

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def impatient(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no step ask for time or comparisons, and no toggle take long: this process is the only one that sees it."""
    settings.AGENTSTATE_ROLLOUT_HOURS = 0
    settings.AGENTSTATE_ROLLOUT_COMPARED = 0
    monkeypatch.setattr(waiting, "SECONDS_UNTIL_SEEN", 0.05)
    monkeypatch.setattr(waiting, "LOOK_EVERY", 0.01)


@pytest.fixture
def thawed(transactional_db: None) -> Iterator[None]:
    """Lift the freeze when the test is over: it is no row that goes by itself."""
    yield
    with connection.cursor() as cursor:
        cursor.execute(THAW)
        cursor.execute('ALTER TABLE "Project" ENABLE ALWAYS TRIGGER zz_agentstate_state_clock')
