"""Projects that no pass can move, each left aside by one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from agentstate.backfill import Pacing
from tests.backfill.test_left_aside import LONG
from tests.scenes import empty_columns, forward, make_project, reverse, save_in_agentkit
from tests.sql import sql

if TYPE_CHECKING:
    from collections.abc import Iterator

CHAT = [{"role": "user", "content": "Hello"}]
# No batch takes too long for it, which would halve the next ones.
UNHURRIED = Pacing(target_seconds=3600)


@pytest.fixture
def long() -> str:
    """A project that no pass can move, since its id is too long for the ids that are made of it."""
    make_project("p1", facts=[1])
    make_project(LONG, facts=[1], coverage={"score": 0.5})
    forward()
    return LONG


@pytest.fixture
def emptied() -> str:
    """A project that was moved with its chat, and whose columns then became SQL NULL."""
    make_project("p1", facts=[1], chat=CHAT)
    forward()
    empty_columns()
    forward()
    return "p1"


@pytest.fixture
def refused_chat() -> Iterator[str]:
    """A project whose chat the database refuses."""
    make_project("p1", facts=[1], chat=CHAT)
    sql("""ALTER TABLE "AgentSession" ADD CONSTRAINT refused CHECK (project_id <> 'p1')""")
    forward()
    yield "p1"
    sql('ALTER TABLE "AgentSession" DROP CONSTRAINT IF EXISTS refused')


@pytest.fixture
def refused_columns() -> Iterator[str]:
    """A project whose newer state the legacy table refuses."""
    make_project("p1", facts=[1])
    forward()
    save_in_agentkit(facts="too much")
    sql("""ALTER TABLE "Project" ADD CONSTRAINT refused CHECK ("factsJson" <> '"too much"')""")
    reverse()
    yield "p1"
    sql('ALTER TABLE "Project" DROP CONSTRAINT IF EXISTS refused')
