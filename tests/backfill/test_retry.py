"""What was left aside is tried again."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from agentstate.actors import acting_as
from agentstate.backfill import OtherDirectionRunning
from agentstate.backfill.acceptance import CannotAccept, accept
from agentstate.backfill.errors import ColumnsDropped
from agentstate.backfill.retry import Retried, retry
from agentstate.backfill.verification import verify
from agentstate.contract.columns import _drop
from agentstate.lock_spaces import DIRECTIONS
from agentstate.models import LeftAside
from agentstate.rollout.freeze import freeze, with_lock_timeout
from tests.backfill.test_acceptance import NOTE, entry, forward, what_was_decided
from tests.contract.scenes import columns_return
from tests.scenes import change_columns, empty_columns, make_project, save_in_agentkit
from tests.sql import dump, scalar, second_connection, sql

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.django_db(transaction=True)


class TestRetrying:
    def test_a_project_that_can_be_moved_now_closes_its_entry(self, emptied: str) -> None:
        change_columns(emptied, facts=[2])
        with acting_as("ada"):
            retried = retry([entry()])
        assert ([each.project_id for each in retried.closed], retried.failed) == ([emptied], [])
        assert entry().status == "closed"
        assert verify().clean
        # In the ledger as any pass is.
        assert scalar('SELECT requested_by FROM "AgentStatePass" ORDER BY id DESC LIMIT 1') == "ada"

    def test_a_project_that_fails_again_opens_its_entry_even_if_accepted(self, long: str) -> None:
        accept(entry(), NOTE, by="ada")
        sql("""UPDATE "AgentStateLeftAside" SET error = 'an older text'""")
        with acting_as("grace"):
            retried = retry([entry()])

        assert ([each.project_id for each in retried.failed], retried.closed) == ([long], [])
        assert (entry().status, entry().attempts, entry().accepted_at) == ("open", 2, None)
        assert entry().error.startswith("index row size ")
        assert what_was_decided() == [("accepted", "ada", NOTE), ("reopened", "grace", "A retry failed.")]

    def test_an_acceptance_while_it_runs_is_not_withdrawn(self, emptied: str) -> None:
        retried = retry([entry()], progress=lambda _: accept(entry(), NOTE, by="ada"))
        assert [each.project_id for each in retried.accepted] == [emptied]
        assert (retried.failed, retried.unsettled) == ([], [])
        assert (entry().status, entry().decided_by) == ("accepted", "ada")

    def test_only_its_project_is_moved(self, emptied: str) -> None:
        make_project("p2", facts=[2])
        retry([entry()])
        assert verify().standing["legacy_ahead"] == 2

    def test_each_entry_is_retried_in_its_direction(self, refused_columns: str) -> None:
        make_project("p2", facts=[2])
        forward()
        empty_columns("p2")
        forward()
        change_columns("p2", facts=[3])
        sql('ALTER TABLE "Project" DROP CONSTRAINT refused')
        retried = retry(LeftAside.objects.open())
        assert [(each.project_id, each.direction) for each in retried.closed] == [("p2", "forward"), ("p1", "reverse")]
        assert verify().standing["in_sync"] == 2

    def test_an_entry_whose_project_is_gone_is_closed(self, long: str) -> None:
        sql('DELETE FROM "Project" WHERE id = %s', long)
        assert [each.project_id for each in retry([entry()]).closed] == [long]
        assert entry().status == "closed"

    def test_a_fork_needs_a_decision(self, emptied: str) -> None:
        accept(entry(), NOTE)
        change_columns(emptied, facts=["theirs"])
        save_in_agentkit(facts=["ours"])
        retried = retry([entry()])
        assert [each.project_id for each in retried.unsettled] == [emptied]
        assert entry().status == "open"

    def test_while_the_other_direction_runs_nothing_changes(self, long: str) -> None:
        accept(entry(), NOTE)
        before = dump("AgentStateLeftAside")
        with second_connection() as other:
            other.execute("SELECT pg_advisory_lock_shared(%s, 2)", [DIRECTIONS])
            with pytest.raises(OtherDirectionRunning):
                retry([entry()])
        assert dump("AgentStateLeftAside") == before

    def test_an_entry_that_was_not_reached_is_unchanged(self, long: str) -> None:
        accept(entry(), NOTE)
        stop = threading.Event()
        stop.set()
        retried = retry([entry()], stop=stop)
        assert retried == Retried(untried=[entry()])
        assert entry().status == "accepted"


class TestDroppedColumns:
    """What was given up in the columns goes with them."""

    @pytest.fixture
    def dropped(self, emptied: str) -> Iterator[str]:
        accept(entry(), NOTE)
        with columns_return():
            with_lock_timeout(freeze)
            with_lock_timeout(_drop)
            yield emptied

    def test_the_decision_is_kept(self, dropped: str) -> None:
        assert verify().clean
        assert forward().left_aside == 0
        assert entry().status == "accepted"
        assert (verify().clean, verify().accepted) == (True, 1)

    def test_there_is_nothing_to_retry(self, dropped: str) -> None:
        with pytest.raises(ColumnsDropped, match="can no longer be moved"):
            retry([entry()])
        with pytest.raises(CannotAccept, match="nothing is left to move"):
            accept(entry(), NOTE)
        assert entry().status == "accepted"
