"""A person accepts that what could not be moved is not moved, until the project changes."""

from __future__ import annotations

from typing import Any

import pytest

from agentstate.actors import acting_as, process_owner
from agentstate.backfill import Outcome, PassOptions, Selection, run_pass
from agentstate.backfill.acceptance import CannotAccept, accept, valid_acceptances
from agentstate.backfill.given_up import given_up
from agentstate.backfill.verification import Verification, verify
from agentstate.models import LeftAside
from agentstate.models.passes import Direction
from tests.backfill.test_left_aside import delete_and_restore
from tests.scenes import change_columns, empty_columns, make_fork, make_project, save_in_agentkit
from tests.sql import dump, scalar, sql

pytestmark = pytest.mark.django_db(transaction=True)

NOTE = "Nobody needs this one."


def forward(*projects: str, **options: Any) -> Outcome:
    return run_pass(PassOptions(Direction.FORWARD, selection=Selection(projects), **options))


def reverse(**options: Any) -> Outcome:
    return run_pass(PassOptions(Direction.REVERSE, **options))


def entry() -> LeftAside:
    return LeftAside.objects.get()


def problems(found: Verification) -> dict[str, int]:
    return {kind: number for kind, number in found.problems.items() if number}


def what_was_decided() -> list[tuple[str, str, str]]:
    return [(decision["what"], decision["by"], decision["note"]) for decision in entry().decisions]


class TestAccepting:
    def test_the_decision_is_stored_with_its_author_and_note(self, long: str) -> None:
        accept(entry(), f"  {NOTE} ", by="ada")

        kept = entry()
        assert (kept.status, kept.note, kept.decided_by) == ("accepted", NOTE, "ada")
        assert kept.accepted_at is not None
        assert kept.accepted_at >= kept.last_seen_at
        assert what_was_decided() == [("accepted", "ada", NOTE)]
        assert LeftAside.objects.accepted().get() == kept
        assert not LeftAside.objects.open().exists()

    def test_the_system_user_is_the_default_author(self, long: str) -> None:
        accept(entry(), NOTE)
        assert entry().decided_by == process_owner()
        with acting_as("grace"):
            accept(entry(), "On second thoughts, for another reason.")
        assert [by for _, by, _ in what_was_decided()] == [process_owner(), "grace"]

    @pytest.mark.parametrize("note", ["", "  ", "ab", " a \n", "no\0", "\udcff\udcff\udcff"])
    def test_an_empty_note_is_refused(self, long: str, note: str) -> None:
        before = dump("AgentStateLeftAside")
        with pytest.raises(CannotAccept):
            accept(entry(), note)
        assert dump("AgentStateLeftAside") == before

    def test_the_database_requires_a_note(self, long: str) -> None:
        with pytest.raises(Exception, match="AgentStateLeftAside_accepted_check"):
            sql('UPDATE "AgentStateLeftAside" SET accepted_at = now()')

    def test_a_closed_entry_is_refused(self, long: str) -> None:
        seen = entry()
        sql('UPDATE "AgentStateLeftAside" SET closed_at = now()')
        with pytest.raises(CannotAccept, match="was closed meanwhile"):
            accept(seen, NOTE)
        with pytest.raises(CannotAccept, match="is closed"):
            accept(entry(), NOTE)
        assert entry().accepted_at is None

    def test_a_project_that_was_fixed_or_deleted_is_not_accepted(self, long: str) -> None:
        sql("""UPDATE "Project" SET id = 'short' WHERE id = %s""", long)
        with pytest.raises(CannotAccept, match="nothing is left to move: a retry closes the entry"):
            accept(entry(), NOTE)

    def test_only_the_shown_state_is_accepted(self, long: str) -> None:
        seen = given_up(entry()).version
        change_columns(long, facts=[2])
        with pytest.raises(CannotAccept, match="has changed meanwhile"):
            accept(entry(), NOTE, version=seen)
        accept(entry(), NOTE, version=given_up(entry()).version)
        assert entry().status == "accepted"


class TestWhatIsGivenUp:
    def test_of_columns_without_a_snapshot(self, long: str) -> None:
        first, *others = given_up(entry()).sentences
        assert first.startswith("The columns as of 20")
        assert first.endswith(" UTC (facts, coverage; 42 bytes) are not taken into the history.")
        assert others == [
            "The project stays legacy_ahead, without a snapshot: reads stay with the columns.",
            "Once the columns are dropped, this content is gone.",
        ]

    def test_of_emptied_columns(self, emptied: str) -> None:
        first, _, last = given_up(entry()).sentences
        assert first.startswith("That the columns are empty, as of 20")
        assert last.startswith("Once the columns are dropped, the snapshot as of 20")

    def test_of_columns_behind_another_run(self) -> None:
        make_project("P3", facts=[1])
        forward()
        delete_and_restore("P3", facts="other")
        forward()
        assert entry().error_class == "OrphanedRun"
        assert "(facts; 18 bytes) are not taken into the history." in given_up(entry()).sentences[0]

    def test_of_a_chat(self, refused_chat: str) -> None:
        assert given_up(entry()).sentences == [
            "The chat (38 bytes) is not made into a session. It stays in Project.meta."
        ]

    def test_of_a_snapshot(self, refused_columns: str) -> None:
        first, second, third = given_up(entry()).sentences
        assert "(facts; 21 bytes) is not written into the columns." in first
        assert second.startswith("They keep their state as of 20")
        assert third.startswith("The project stays agentkit_ahead")

    def test_of_a_fork(self, emptied: str) -> None:
        save_in_agentkit(facts="newer")
        first, second, _ = given_up(entry()).sentences
        assert "are not merged with the snapshot as of 20" in first
        assert second == "The project stays forked: reads stay with the home that agentkit_reads names."


class TestPassesAfterwards:
    def test_a_repeated_failure_stays_accepted(self, long: str) -> None:
        accept(entry(), NOTE, by="ada")
        outcome = forward()

        assert (outcome.left_aside, outcome.accepted, outcome.failures) == (0, {long}, [])
        assert [failure.project for failure in outcome.counts.failures] == [long]
        assert (entry().status, entry().attempts, entry().note) == ("accepted", 2, NOTE)
        assert scalar('SELECT left_aside FROM "AgentStatePass" ORDER BY id DESC LIMIT 1') == 0

    def test_a_dry_run_reports_it_as_accepted(self, long: str) -> None:
        accept(entry(), NOTE)
        before = dump("AgentStateLeftAside")
        outcome = forward(dry_run=True)
        assert (outcome.left_aside, outcome.accepted) == (0, set())  # a dry run makes no id that could be too long
        assert dump("AgentStateLeftAside") == before

    def test_a_dry_run_that_finds_it_first_reports_it_as_accepted(self, emptied: str) -> None:
        accept(entry(), NOTE)
        before = dump("AgentStateLeftAside")
        outcome = forward(dry_run=True)
        assert (outcome.left_aside, outcome.accepted) == (0, {emptied})
        assert dump("AgentStateLeftAside") == before

    def test_another_content_opens_it_again(self, long: str) -> None:
        accept(entry(), NOTE, by="ada")
        change_columns(long, facts=[2])
        with acting_as("the nightly pass"):
            outcome = forward()

        assert (outcome.left_aside, outcome.accepted) == (1, set())
        kept = entry()
        assert (kept.status, kept.accepted_at, kept.note, kept.decided_by) == ("open", None, "", "")
        assert (kept.accepted_clock, kept.accepted_chat) == (None, None)
        assert [what_was_decided()[0], what_was_decided()[1][:2]] == [
            ("accepted", "ada", NOTE),
            ("reopened", "the nightly pass"),
        ]

    def test_another_error_opens_it_again(self, emptied: str) -> None:
        accept(entry(), NOTE)
        sql("""UPDATE "AgentStateLeftAside" SET error_class = 'Another'""")
        assert forward().left_aside == 1
        assert entry().status == "open"

    def test_a_moved_project_closes_its_entry_and_a_later_failure_is_open(self, emptied: str) -> None:
        accept(entry(), NOTE)
        run_pass(PassOptions(Direction.FORWARD, prefer="legacy"))
        assert entry().status == "closed"
        assert forward().left_aside == 0

        change_columns("p1", facts=[1])
        forward()
        empty_columns()
        assert forward().left_aside == 1
        assert (entry().status, entry().attempts) == ("open", 2)

    def test_a_pass_over_other_projects_leaves_it_unchanged(self, long: str) -> None:
        accept(entry(), NOTE)
        change_columns(long, facts=[2])
        forward("p1")
        assert entry().status == "accepted"

    def test_only_accepted_projects_are_skipped(self) -> None:
        for number in range(20):
            make_project(f"p{number:02}", facts=[number])
        forward()
        empty_columns()
        forward()
        for each in LeftAside.objects.filter(project_id__lt="p05"):
            accept(each, NOTE)
        outcome = forward(batch_size=3, workers=2)
        assert (outcome.left_aside, len(outcome.accepted)) == (15, 5)
        assert (LeftAside.objects.open().count(), LeftAside.objects.accepted().count()) == (15, 5)

    def test_a_restore_or_a_settling_that_fails_was_not_accepted(self, refused_columns: str) -> None:
        accept(entry(), NOTE)
        assert reverse().accepted == {refused_columns}
        assert reverse(prefer="agentkit").left_aside == 1
        assert entry().status == "open"


class TestChats:
    def test_an_accepted_chat_stays_accepted_when_the_state_changes(self, refused_chat: str) -> None:
        accept(entry(), NOTE)
        assert (entry().accepted_clock, bool(entry().accepted_chat)) == (None, True)
        change_columns(refused_chat, facts=[2])
        assert problems(verify()) == {"legacy_ahead": 1}
        outcome = forward()

        assert (outcome.counts.written, outcome.left_aside, outcome.accepted) == (1, 0, {refused_chat})
        assert verify().clean

    def test_another_chat_opens_it_again(self, refused_chat: str) -> None:
        accept(entry(), NOTE)
        sql("""UPDATE "Project" SET meta = '{"chat": ["more"]}'""")
        assert problems(verify()) == {"session": 1, "left_aside": 1}
        assert forward().left_aside == 1
        assert entry().status == "open"

    def test_a_state_that_fails_too_opens_it_again(self, refused_chat: str) -> None:
        accept(entry(), NOTE)
        empty_columns()
        assert forward(dry_run=True).accepted == set()
        outcome = forward()
        assert (outcome.left_aside, outcome.accepted) == (1, set())
        assert (entry().status, entry().error_class) == ("open", "Emptied")

    def test_state_and_chat_are_accepted_together(self, refused_chat: str) -> None:
        empty_columns()
        forward()
        assert len(given_up(entry()).sentences) == 4
        accept(entry(), NOTE)
        outcome = forward()
        assert (outcome.left_aside, outcome.accepted) == (0, {refused_chat})
        assert verify().clean

        sql('ALTER TABLE "AgentSession" DROP CONSTRAINT refused')
        assert forward().accepted == {refused_chat}
        sql("""UPDATE "Project" SET meta = '{"chat": ["more"]}'""")
        forward()
        assert (verify().accepted, verify().clean) == (1, True)


class TestVerification:
    def test_an_accepted_project_is_no_problem(self, long: str) -> None:
        assert problems(verify()) == {"legacy_ahead": 1, "left_aside": 1}
        accept(entry(), NOTE)
        found = verify()
        assert (found.clean, found.accepted, found.left_aside) == (True, 1, 0)
        assert found.standing["legacy_ahead"] == 1
        assert found.offenders == []

    def test_an_accepted_project_that_changed_is_a_problem(self, emptied: str) -> None:
        accept(entry(), NOTE)
        assert verify().clean
        change_columns(emptied, facts=[2])
        found = verify()
        assert (problems(found), found.accepted) == ({"legacy_ahead": 1, "left_aside": 1}, 0)
        forward()
        assert verify().clean
        assert entry().status == "closed"

    def test_an_accepted_fork_is_no_problem(self, emptied: str) -> None:
        save_in_agentkit(facts="newer")
        assert problems(verify()) == {"forked": 1, "left_aside": 1}
        accept(entry(), NOTE)
        assert (verify().clean, verify().accepted, verify().standing["forked"]) == (True, 1, 1)

    def test_another_project_is_still_a_problem(self, long: str) -> None:
        make_project("p2", facts=[2])
        make_project("p3", facts=[3])
        forward()
        make_fork("p3", {"facts": [4]}, {"facts": [5]})
        accept(entry(), NOTE)
        change_columns("p2", facts=[9])
        found = verify()
        assert (problems(found), found.accepted) == ({"legacy_ahead": 1, "forked": 1}, 1)
        assert [(each.project, each.kind) for each in found.offenders] == [("p2", "legacy_ahead"), ("p3", "forked")]

    def test_later_damage_is_a_problem(self, refused_chat: str) -> None:
        accept(entry(), NOTE)
        sql('ALTER TABLE "Project" DISABLE TRIGGER zz_agentstate_state_clock')
        sql("""UPDATE "Project" SET "factsJson" = '"damaged"'""")
        sql('ALTER TABLE "Project" ENABLE ALWAYS TRIGGER zz_agentstate_state_clock')
        assert problems(verify()) == {"unequal": 1}

    def test_in_reverse_an_acceptance_lasts_until_the_next_save(self, refused_columns: str) -> None:
        assert problems(verify()) == {"left_aside": 1}
        accept(entry(), NOTE)
        assert (verify().clean, verify().accepted) == (True, 1)
        assert reverse().accepted == {refused_columns}

        sql("""UPDATE "AgentWorkflowRun" SET snapshot_at = snapshot_at + interval '1 s' WHERE id LIKE 'live_%'""")
        assert problems(verify()) == {"left_aside": 1}
        assert reverse().left_aside == 1
        assert entry().status == "open"

    def test_only_named_projects_are_verified(self, long: str) -> None:
        accept(entry(), NOTE)
        assert (verify(("p1",)).accepted, verify((long,)).accepted) == (0, 1)
        assert valid_acceptances([long]) == {LeftAside.objects.get(project_id=long).pk}
        assert valid_acceptances(["p1"]) == set()

    def test_a_deleted_project_is_not_counted(self, long: str) -> None:
        accept(entry(), NOTE)
        sql('DELETE FROM "Project" WHERE id = %s', long)
        assert (verify().clean, verify().accepted) == (True, 0)
