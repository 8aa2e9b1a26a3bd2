"""The words and exit codes of decisions about what was left aside."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agentstate.actors import process_owner
from agentstate.models import LeftAside
from tests.backfill.test_left_aside import LONG
from tests.faults.processes import run
from tests.management.commands import FORWARD, VERIFY, Ended, call
from tests.scenes import change_columns, empty_columns, make_project, save_in_agentkit
from tests.sql import dump, sql

pytestmark = pytest.mark.django_db(transaction=True)

LEFT_ASIDE = "agentkit_left_aside"
NOTE = "Nobody needs this one."


@pytest.fixture
def entries() -> list[int]:
    """The numbers of three entries: a project that no pass can move, and two whose columns became SQL NULL."""
    for number in range(3):
        make_project(f"p{number}", facts=[number])
    call(FORWARD)
    empty_columns("p1", "p2")
    make_project(LONG, facts=["too long an id"])
    assert call(FORWARD).code == 1
    # The order in which a pass comes to them is its own.
    found = dict(LeftAside.objects.values_list("project_id", "pk"))
    return [found[LONG], found["p1"], found["p2"]]


def accept(number: int, *more: str) -> Ended:
    return call(LEFT_ASIDE, "accept", str(number), "--note", NOTE, *more)


def listed(*options: str) -> dict[str, Any]:
    ended = call(LEFT_ASIDE, "list", "--format", "json", *options)
    assert ended.code == 0
    return ended.json


class TestList:
    def test_an_empty_list_says_so(self) -> None:
        ended = call(LEFT_ASIDE, "list")
        assert (ended.code, ended.stdout) == (0, "0 open, 0 accepted.\n")
        assert listed() == {"open": 0, "accepted": 0, "outdated": 0, "entries": []}

    def test_each_entry_shows_its_error_and_decision(self, entries: list[int]) -> None:
        accept(entries[1], "--by", "ada")
        ended = call(LEFT_ASIDE, "list")
        assert ended.code == 0
        lines = [line.split() for line in ended.lines]
        (long,) = [place for place, words in enumerate(lines) if words[0] == str(entries[0])]
        assert lines[long] == [str(entries[0]), f"{LONG[:60]}…", "forward", "open"]
        assert ended.lines[long + 1].strip().startswith("ProgramLimitExceeded: index row size ")
        assert lines[long + 2][:2] == ["1", "attempt,"]
        assert [str(entries[1]), "p1", "forward", "accepted"] in lines
        ways_out = [
            line for line in ended.lines if line.endswith("backfill_agentkit_state --prefer legacy --project ID.")
        ]
        assert len(ways_out) == 2
        assert any(line.endswith(f" by ada: {NOTE}") for line in ended.lines)
        assert ended.lines[-1] == "2 open, 1 accepted."

    def test_the_list_is_printed_as_json(self, entries: list[int]) -> None:
        accept(entries[1], "--by", "ada")
        found = listed()
        assert (found["open"], found["accepted"], found["outdated"]) == (2, 1, 0)
        by_number = {each["id"]: each for each in found["entries"]}
        assert set(by_number) == set(entries)
        long, decided = by_number[entries[0]], by_number[entries[1]]
        assert (long["project"], long["direction"], long["status"], long["attempts"]) == (LONG, "forward", "open", 1)
        assert long["error"].startswith("index row size ")
        assert (decided["status"], decided["note"], decided["decided_by"]) == ("accepted", NOTE, "ada")
        assert [each["what"] for each in decided["decisions"]] == ["accepted"]

    def test_closed_entries_are_listed_on_request(self, entries: list[int]) -> None:
        sql('UPDATE "AgentStateLeftAside" SET closed_at = now() WHERE id = %s', entries[0])
        assert entries[0] not in [each["id"] for each in listed()["entries"]]
        assert {each["id"]: each["status"] for each in listed("--all")["entries"]}[entries[0]] == "closed"

    def test_an_acceptance_of_what_has_changed_since_is_outdated(self, entries: list[int]) -> None:
        accept(entries[1])
        change_columns("p1", facts=["back"])
        assert call(LEFT_ASIDE, "list").lines[-1] == (
            "2 open, 0 accepted, 1 accepted but changed since, which count as open."
        )
        assert {each["id"]: each["status"] for each in listed()["entries"]}[entries[1]] == "outdated"

    def test_it_changes_nothing(self, entries: list[int]) -> None:
        before = dump("AgentStateLeftAside", "AgentStatePass")
        call(LEFT_ASIDE, "list", "--all")
        assert dump("AgentStateLeftAside", "AgentStatePass") == before


class TestAccept:
    def test_it_names_what_is_given_up_and_how_to_undo_it(self, entries: list[int]) -> None:
        ended = accept(entries[0])
        assert (ended.code, ended.stderr) == (0, "")
        first, content, project, _, last = ended.lines
        assert first.startswith(f"{entries[0]} ({LONG[:60]}…, ")
        assert first.endswith(f"forward): accepted by {process_owner()}. What is given up:")
        assert "(facts; 29 bytes) are not taken into the history." in content
        assert "reads stay with the columns" in project
        assert last.endswith(f"Run manage.py agentkit_left_aside retry {entries[0]} to revoke it.")

    def test_with_all_accepted_passes_and_verification_are_clean(self, entries: list[int]) -> None:
        for number in entries:
            accept(number)
        forward = call(FORWARD)
        assert forward.code == 0
        assert forward.lines[1:] == ["3 excluded by decision. Run manage.py agentkit_left_aside list to see them."]
        again = call(FORWARD, "--format", "json")
        assert (again.code, again.json["left_aside"], again.json["accepted"], again.json["failures"]) == (0, 0, 3, [])

        verified = call(VERIFY)
        assert verified.code == 0
        assert verified.lines[-2:] == [
            "3 excluded by decision. Run manage.py agentkit_left_aside list to see them.",
            "Clean.",
        ]
        assert call(VERIFY, "--format", "json").json["accepted"] == 3

    def test_an_entry_that_was_not_accepted_is_reported_as_before(self, entries: list[int]) -> None:
        accept(entries[0])
        ended = call(FORWARD)
        assert ended.code == 1
        assert ended.lines[1:3] == [
            "1 excluded by decision. Run manage.py agentkit_left_aside list to see them.",
            "2 projects left aside:",
        ]
        assert not any(LONG in line for line in ended.lines)

    @pytest.mark.parametrize("note", ["", "  ", "ab"])
    def test_a_note_is_required(self, entries: list[int], note: str) -> None:
        for options in ([], [f"--note={note}"]):
            ended = call(LEFT_ASIDE, "accept", str(entries[0]), *options)
            assert ended.code == 1
            assert "note" in ended.stderr
        assert LeftAside.objects.open().count() == 3

    def test_unknown_and_closed_entries_are_refused(self, entries: list[int]) -> None:
        unknown = accept(10**15)
        assert (unknown.code, unknown.stdout) == (1, "")
        assert unknown.stderr.startswith(f"No entry has the number {10**15}. Nothing was done.")
        impossible = accept(10**30)
        assert (impossible.code, impossible.stdout) == (1, "")
        assert f"{10**30} is more than {2**63 - 1}, the database's largest integer" in impossible.stderr
        sql('UPDATE "AgentStateLeftAside" SET closed_at = now()')
        closed = accept(entries[0])
        assert (closed.code, closed.stdout) == (1, "")
        assert closed.stderr.startswith(f"Already closed: {entries[0]}. The project was moved,")


class TestRetry:
    def test_a_project_that_can_be_moved_now_closes_its_entry(self, entries: list[int]) -> None:
        change_columns("p1", facts=["back"])
        ended = call(LEFT_ASIDE, "retry", str(entries[1]))
        assert ended.code == 0
        assert ended.lines == [
            f"{entries[1]} (p1, forward): closed. The project was moved, or nothing was left to move.",
            "1 closed, 0 open.",
        ]
        assert LeftAside.objects.open().count() == 2

    def test_a_project_that_fails_again_keeps_its_entry_open(self, entries: list[int]) -> None:
        accept(entries[0])
        ended = call(LEFT_ASIDE, "retry", str(entries[0]))
        assert ended.code == 1
        assert "ProgramLimitExceeded: index row size " in ended.lines[0]
        assert ended.lines[-1] == "0 closed, 1 open."
        assert LeftAside.objects.open().count() == 3
        assert LeftAside.objects.get(pk=entries[0]).attempts == 2

    def test_all_means_the_open_entries(self, entries: list[int]) -> None:
        accept(entries[0])
        change_columns("p1", facts=["back"])
        ended = call(LEFT_ASIDE, "retry", "--all")
        assert ended.code == 1
        assert ended.lines[-1] == "1 closed, 1 open."
        assert [each.pk for each in LeftAside.objects.accepted()] == [entries[0]]
        assert [each.pk for each in LeftAside.objects.open()] == [entries[2]]

    def test_a_fork_must_be_settled_first(self, entries: list[int]) -> None:
        save_in_agentkit("project_id = 'p1'", facts=["ours"])
        change_columns("p1", facts=["theirs"])
        ended = call(LEFT_ASIDE, "retry", str(entries[1]))
        assert ended.code == 1
        assert "still forked. Run manage.py backfill_agentkit_state --prefer" in ended.lines[0]

    def test_numbers_and_all_exclude_each_other(self, entries: list[int]) -> None:
        for options in ([], ["--all", str(entries[0])]):
            ended = call(LEFT_ASIDE, "retry", *options)
            assert (ended.code, ended.stderr) == (2, "Name entries by their numbers, or use --all.\n")

    def test_an_unknown_number_is_refused_and_nothing_is_retried(self, entries: list[int]) -> None:
        ended = call(LEFT_ASIDE, "retry", str(entries[0]), "999999999")
        assert (ended.code, ended.stdout) == (1, "")
        assert ended.stderr.startswith("No entry has the number 999999999.")
        assert LeftAside.objects.get(pk=entries[0]).attempts == 1

    def test_nothing_to_retry_says_so(self) -> None:
        assert call(LEFT_ASIDE, "retry", "--all") == (0, "0 closed, 0 open.\n", "")


def test_a_process_does_the_same(entries: list[int]) -> None:
    assert run(LEFT_ASIDE).process.returncode == 2
    assert run(LEFT_ASIDE, "accept", str(entries[0])).process.returncode == 2
    short = run(LEFT_ASIDE, "accept", str(entries[0]), "--note", " ab ")
    assert short.process.returncode == 2
    assert "a note must say why, in at least 3 characters" in short.stderr

    accepted = run(LEFT_ASIDE, "accept", str(entries[0]), "--note", NOTE, "--by", "ada")
    assert (accepted.process.returncode, accepted.stderr) == (0, "")
    kept = json.loads(run(LEFT_ASIDE, "list", "--format", "json").stdout)["entries"]
    assert {each["id"]: each["decided_by"] for each in kept}[entries[0]] == "ada"
    assert run(LEFT_ASIDE, "retry", str(entries[0])).process.returncode == 1


class TestVeryManyEntries:
    """The output is bounded, whatever a pass had to leave aside."""

    @pytest.fixture(autouse=True)
    def many(self) -> None:
        sql(
            """INSERT INTO "Project" (id, "userId", name, "factsJson") SELECT 'p' || n, 'u', 'p', '[1]'
            FROM generate_series(1, 1200) n"""
        )
        call(FORWARD)
        sql('UPDATE "Project" SET "factsJson" = NULL')

    def test_a_pass_prints_a_bounded_list(self) -> None:
        text, as_json = call(FORWARD), call(FORWARD, "--format", "json").json
        assert len(text.lines) == 13
        assert text.lines[1] == "1,200 projects left aside:"
        assert text.lines[-1] == "  … and 1,190 more. Run manage.py agentkit_left_aside list to see them."
        assert (as_json["left_aside"], len(as_json["failures"]), as_json["more_failures"]) == (1200, 1000, 200)

    def test_the_list_and_a_retry_print_a_bounded_list(self) -> None:
        call(FORWARD)
        lines = call(LEFT_ASIDE, "list").lines
        assert (len(lines), lines[-2:]) == (
            302,
            ["… and 1,100 more. Use --limit to list them.", "1,200 open, 0 accepted."],
        )
        assert len(call(LEFT_ASIDE, "list", "--limit", "1200").lines) == 3601
        found = listed()
        assert (len(found["entries"]), found["more"]) == (1000, 200)
        assert "more" not in listed("--limit", "1200")
        retried = call(LEFT_ASIDE, "retry", "--all").lines
        assert retried[100:] == [
            "… and 1,100 more. Run manage.py agentkit_left_aside list to see them.",
            "0 closed, 1,200 open.",
        ]
