"""Row-level security: rows that a policy hides from the role are never taken for rows that are not there."""

from __future__ import annotations

import threading
import uuid
from typing import TYPE_CHECKING

import pytest
from django.db import DatabaseError, connection

from agentstate.backfill import ledger
from agentstate.backfill.acceptance import accept
from agentstate.backfill.batch import Batch
from agentstate.backfill.batches import Mover
from agentstate.backfill.forward import TakeIn
from agentstate.backfill.options import PassOptions
from agentstate.backfill.outcome import Outcome
from agentstate.backfill.pace import Throttle, Uncontrolled
from agentstate.backfill.planning import plan
from agentstate.backfill.retry import retry
from agentstate.backfill.verification import verify
from agentstate.models import LeftAside
from agentstate.models.passes import Direction
from agentstate.row_security import RowsHidden
from tests.management.commands import FORWARD, REVERSE, VERIFY, call
from tests.scenes import empty_columns, forward, make_project
from tests.sql import dump, sql

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.django_db(transaction=True)

OWNER = f"agentstate_{uuid.uuid4().hex[:12]}"  # the workers of the tests share the roles of a server
SENTENCE = (
    f'Row-level security of "Project" applies to the role {OWNER} (policies: tenant). '
    'Run ALTER TABLE "Project" NO FORCE ROW LEVEL SECURITY, or connect as a role with BYPASSRLS.'
)


@pytest.fixture
def hidden() -> Iterator[None]:
    """A policy that hides all projects from their owner, as who we are connected."""
    make_project("p1", facts=[1], chat=[{"role": "user", "content": "Hello"}])
    make_project("p2", facts=[2])
    forward()
    empty_columns("p1")
    forward()  # leaves p1 aside
    me = connection.settings_dict["USER"] or "postgres"
    sql(f"CREATE ROLE {OWNER}")
    sql(f"GRANT ALL ON SCHEMA public TO {OWNER}")
    sql(f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {OWNER}")
    sql(f"GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO {OWNER}")
    sql(f'ALTER TABLE "Project" OWNER TO {OWNER}')
    sql('ALTER TABLE "Project" ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY')
    sql('CREATE POLICY tenant ON "Project" USING (false)')
    sql(f"SET ROLE {OWNER}")
    try:
        yield
    finally:
        sql("RESET ROLE")
        sql('DROP POLICY tenant ON "Project"')
        sql('ALTER TABLE "Project" DISABLE ROW LEVEL SECURITY, NO FORCE ROW LEVEL SECURITY')
        sql(f'ALTER TABLE "Project" OWNER TO "{me}"')
        sql(f"DROP OWNED BY {OWNER}")
        sql(f"DROP ROLE {OWNER}")


@pytest.mark.usefixtures("hidden")
class TestHiddenProjects:
    @pytest.mark.parametrize(
        "command",
        [
            [FORWARD],
            [FORWARD, "--dry-run"],
            [FORWARD, "--project", "p1"],
            [REVERSE],
            [REVERSE, "--force", "--all"],
            [VERIFY],
            [VERIFY, "--project", "p1"],
            ["agentkit_left_aside", "retry", "--all"],
        ],
    )
    def test_a_command_names_the_policy_and_the_way_out(self, command: list[str]) -> None:
        before = dump("AgentWorkflowRun", "AgentStateLeftAside", "AgentStatePass")
        ended = call(*command)

        assert (ended.code, ended.stdout) == (1, "")
        assert ended.stderr == f"{SENTENCE}\n"
        assert dump("AgentWorkflowRun", "AgentStateLeftAside", "AgentStatePass") == before

    def test_an_entry_is_neither_closed_nor_accepted(self) -> None:
        entry = LeftAside.objects.get()
        with pytest.raises(RowsHidden):
            retry([entry])
        with pytest.raises(RowsHidden):
            accept(entry, "Nobody misses it.")
        entry.refresh_from_db()
        assert entry.status == "open"

    def test_a_policy_added_during_a_pass_makes_the_server_refuse(self) -> None:
        options = PassOptions(Direction.FORWARD)
        with pytest.raises(DatabaseError, match="row-level security"):
            plan([TakeIn(options)])
        stop = threading.Event()
        mover = Mover(TakeIn(options), lambda *_: None, stop, Throttle(Uncontrolled(), stop, Outcome()))
        with pytest.raises(DatabaseError, match="row-level security"):
            mover.move_all([Batch(None, "p9", 2)])
        with pytest.raises(DatabaseError, match="row-level security"):
            ledger.close_entries(Direction.FORWARD, [TakeIn(options)])


def test_without_the_policy_everything_works_again() -> None:
    make_project("p1", facts=[1])
    assert forward().counts.written == 1
    assert verify().clean
