"""The words and exit codes of the two backfill commands."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from tests.faults.processes import CLONE, database_url, run
from tests.management.commands import FORWARD, REVERSE, call
from tests.scenes import change_columns, empty_columns, make_fork, make_project, save_in_agentkit
from tests.sql import count, scalar, second_connection, sql

pytestmark = pytest.mark.django_db(transaction=True)

BOTH = pytest.mark.parametrize("command", [FORWARD, REVERSE])
SUMMARY = {
    "direction",
    "dry_run",
    "candidates",
    "written",
    "merged",
    "left_aside",
    "runs",
    "events",
    "sessions",
    "seconds",
    "failures",
}


@pytest.fixture
def projects() -> None:
    for number in range(3):
        make_project(f"p{number}", facts=[number], conflictLog=["a"], chat=[{"role": "user", "content": "Hello"}])


class TestOptions:
    @BOTH
    @pytest.mark.parametrize(
        ("options", "sentence"),
        [
            (["--batch-size", "0"], "argument --batch-size: '0' is not a positive integer"),
            (["--batch-size", "1.5"], "argument --batch-size: '1.5' is not a positive integer"),
            (["--limit", "-1"], "argument --limit: '-1' is not a positive integer"),
            (["--workers", "none"], "argument --workers: 'none' is not a positive integer"),
            (["--workers", "33"], "argument --workers: 33 is more than 32, the largest number of connections"),
            (["--project", "p1", "--all"], "argument --all: not allowed with argument --project"),
            (["--prefer", "mine", "--all"], "argument --prefer: invalid choice: 'mine'"),
            (["--format", "xml"], "argument --format: invalid choice: 'xml'"),
            (
                ["--prefer", "legacy"],
                "--prefer legacy decides for each project that it settles. Name them with --project, or use --all.",
            ),
            (["--project", "nobody"], "No project has the id nobody. Nothing was done."),
        ],
    )
    def test_invalid_options_are_refused(
        self, projects: None, command: str, options: list[str], sentence: str
    ) -> None:
        ended = call(command, *options)
        assert (ended.code, ended.stdout) == (1, "")
        assert sentence in ended.stderr
        assert count("AgentStatePass") == 0

    @pytest.mark.parametrize(
        ("options", "sentence"),
        [
            (["--force"], "--force overwrites columns. Name the projects with --project, or use --all."),
            (
                ["--force", "--all", "--prefer", "legacy"],
                "--force restores snapshots and --prefer settles forks. Run one, then the other.",
            ),
            (["--as-of", "2025-10-07"], "--as-of names the state that --force restores. Use both."),
            (
                ["--as-of", "yesterday", "--force", "--all"],
                "argument --as-of: 'yesterday' is not a time such as 2025-10-07T17:55:00Z",
            ),
        ],
    )
    def test_reverse_refuses_invalid_options(self, projects: None, options: list[str], sentence: str) -> None:
        ended = call(REVERSE, *options)
        assert (ended.code, ended.stdout) == (1, "")
        assert sentence in ended.stderr

    @pytest.mark.parametrize("option", ["--force", "--as-of", "--dry"])
    def test_forward_lacks_the_options_of_reverse(self, option: str) -> None:
        ended = call(FORWARD, option)
        assert ended.code == 1
        assert f"unrecognized arguments: {option}" in ended.stderr

    def test_a_process_exits_with_1_or_2_and_without_a_traceback(self, projects: None) -> None:
        refused = run(REVERSE, "--force")
        assert (refused.process.returncode, refused.stdout) == (1, "")
        assert refused.stderr == (
            "CommandError: --force overwrites columns. Name the projects with --project, or use --all.\n"
        )
        misspelt = run(FORWARD, "--workers", "0")
        assert misspelt.process.returncode == 2
        assert misspelt.stderr.endswith("error: argument --workers: '0' is not a positive integer\n")

    def test_no_sessions_leaves_the_chats(self, projects: None) -> None:
        assert call(FORWARD, "--no-sessions", "--format", "json").json["sessions"] == 0
        assert call(FORWARD, "--format", "json").json["sessions"] == 3

    def test_an_id_is_taken_literally(self) -> None:
        for name in ("-x", "a b", "it's", "100%", "{x}", "ÄÖ/\\"):
            make_project(name, facts=1)
            assert call(FORWARD, f"--project={name}", "--format", "json").json["written"] == 1

    def test_a_time_without_a_zone_is_utc(self, projects: None) -> None:
        call(FORWARD)
        then = timezone.now()
        change_columns("p1", facts="later")
        call(FORWARD)
        restored = call(REVERSE, "--force", "--all", "--as-of", f"{then:%Y-%m-%dT%H:%M:%S.%f}", "--format", "json")
        assert restored.json["written"] == 1
        assert scalar("""SELECT "factsJson" FROM "Project" WHERE id = 'p1'""") == "[1]"


class TestSummary:
    def test_forward_prints_its_counts(self, projects: None) -> None:
        ended = call(FORWARD, verbosity=0)
        assert ended.code == 0
        assert re.fullmatch(r"3 of 3 projects moved, 3 runs, 6 events, 3 sessions, \d+\.\d s\.\n", ended.stdout)

    def test_reverse_prints_its_counts(self, projects: None) -> None:
        call(FORWARD)
        save_in_agentkit("project_id = 'p1'", facts="new")
        ended = call(REVERSE)
        assert ended.code == 0
        assert re.fullmatch(r"1 of 1 project written back, 0 runs, 0 events, 0 sessions, \d+\.\d s\.\n", ended.stdout)

    def test_a_dry_run_prints_its_counts(self, projects: None) -> None:
        ended = call(FORWARD, "--dry-run")
        assert ended.code == 0
        said, nothing_changed = ended.lines
        assert re.fullmatch(
            r"3 of 3 projects would be moved, 3 runs, 6 events, 3 sessions, [\d,]+ bytes before compression\.", said
        )
        assert nothing_changed == "Dry run: nothing was changed."

    def test_a_dry_run_and_verification_need_no_write_permission(self, projects: None) -> None:
        read_only = {"default_transaction_read_only": "on"}
        assert run(FORWARD, "--dry-run", "--workers", "2", "--batch-size", "1", **read_only).process.returncode == 0
        assert run("verify_agentkit_state", "--audit", **read_only).stderr == ""
        refused = run(FORWARD, **read_only)
        assert (refused.process.returncode, refused.stdout) == (1, "")
        assert refused.stderr == (
            "CommandError: This database is read-only (cannot execute INSERT in a read-only transaction). Name "
            "the primary server in DATABASE_URL.\n"
        )

    @BOTH
    @pytest.mark.parametrize("options", [[], ["--dry-run"]])
    def test_json_is_one_object_with_these_keys(self, projects: None, command: str, options: list[str]) -> None:
        ended = call(command, "--format", "json", *options)
        assert ended.code == 0
        summary = ended.json
        assert set(summary) == SUMMARY
        seconds = summary.pop("seconds")
        assert isinstance(seconds, float)
        moved = 3 if command == FORWARD else 0
        assert summary == {
            "direction": "forward" if command == FORWARD else "reverse",
            "dry_run": bool(options),
            "candidates": moved,
            "written": moved,
            "merged": 0,
            "left_aside": 0,
            "runs": moved,
            "events": 2 * moved,
            "sessions": moved,
            "failures": [],
        }

    def test_merges_and_forks_are_named(self, projects: None) -> None:
        call(FORWARD)
        make_fork("p0", legacy={"coverage": 1}, agentkit={"facts": 2})
        make_fork("p1", legacy={"facts": 1}, agentkit={"facts": 2})
        dry_run = call(FORWARD, "--dry-run")
        ended = call(FORWARD)
        fork = (
            "1 project forked: p1. Both homes changed the same document. Use --prefer legacy or --prefer agentkit to "
            "settle it."
        )

        assert (ended.code, ended.lines[1:]) == (0, [fork])
        assert ended.lines[0].startswith("0 of 2 projects moved, 1 merged, 2 runs, 3 events, 0 sessions, ")
        assert dry_run.lines[0].startswith("0 of 2 projects would be moved, 1 would be merged, 2 runs, 3 events, ")
        assert dry_run.lines[1] == fork
        reverse = call(REVERSE)
        assert reverse.lines[1] == (
            "1 project forked: p1. Run manage.py backfill_agentkit_state to merge them, or use --prefer to settle "
            "them."
        )
        assert (
            call(FORWARD, "--prefer", "agentkit", "--project", "p1").lines[0].startswith("0 of 1 project moved, 1 m")
        )
        assert call(REVERSE, "--format", "json").json["written"] == 1

    def test_reverse_settles_and_seeds_in_one_pass(self, projects: None) -> None:
        call(FORWARD)
        make_fork("p1", legacy={"facts": 1}, agentkit={"facts": 2})
        ended = call(REVERSE, "--prefer", "agentkit", "--all", "--format", "json")
        assert (ended.json["candidates"], ended.json["written"], ended.json["merged"]) == (1, 1, 1)
        assert scalar("""SELECT "factsJson" FROM "Project" WHERE id = 'p1'""") == "2"

    def test_left_aside_projects_are_named(self, projects: None) -> None:
        call(FORWARD)
        empty_columns()
        make_project("it's fine", facts=1)
        ended = call(FORWARD)

        assert ended.code == 1
        assert ended.lines[0].startswith("1 of 4 projects moved, ")
        assert ended.lines[1] == "3 projects left aside:"
        assert [line.split(": ")[:2] for line in ended.lines[2:]] == [
            [f"  p{number}", "Emptied"] for number in range(3)
        ]
        assert "--prefer legacy --project ID" in ended.lines[2]
        again = call(FORWARD, "--format", "json")
        assert (again.code, again.json["left_aside"]) == (1, 3)
        assert [failure["project"] for failure in again.json["failures"]] == ["p0", "p1", "p2"]
        assert set(again.json["failures"][0]) == {"project", "error"}
        dry_run = call(FORWARD, "--dry-run")
        assert (dry_run.code, dry_run.lines[1]) == (0, "3 projects would be left aside:")

    def test_only_the_first_ten_are_named(self) -> None:
        for number in range(12):
            make_project(f"p{number:02}", facts=[number])
        call(FORWARD)
        empty_columns()
        ended = call(FORWARD)
        assert len(ended.lines) == 2 + 10 + 1
        assert ended.lines[-1] == "  … and 2 more. Run manage.py agentkit_left_aside list to see them."
        assert len(call(FORWARD, "--format", "json").json["failures"]) == 12

    def test_a_restore_names_projects_without_an_earlier_snapshot(self, projects: None) -> None:
        call(FORWARD)
        empty_columns("p1")
        make_project("o'neill", facts=1)
        then = timezone.now() - timedelta(days=1)

        ended = call(REVERSE, "--force", "--all")
        assert ended.code == 0
        assert "\nRestoring 1 project.\n" in ended.stderr
        assert ended.lines[0].startswith("1 of 1 project written back, 2 runs, 2 events, 0 sessions, ")
        assert ended.lines[1:] == ["""1 project without an earlier snapshot: 'o'"'"'neill'."""]
        nothing = call(REVERSE, "--force", "--project", "p1", "--as-of", then.isoformat())
        assert nothing.lines[1:] == ["1 project without an earlier snapshot: p1."]


class TestProgress:
    def test_without_a_terminal_it_is_a_plain_line(self, projects: None) -> None:
        ended = call(FORWARD)
        lines = ended.stderr.splitlines()
        assert [re.sub(r", [\d,]+/s$", "", line) for line in lines[1:-1]] == ["projects: 3 of 3", "sessions: 3 of 3"]
        assert re.fullmatch(
            r"Expects 3 projects, about 3 runs, 6 events, 3 sessions from 0\.0 MB; disk: about 0\.0 MB needed, "
            r"([\d,.]+ [MG]B|unknown) free; time: .* (s|min)\.",
            lines[0],
        )
        assert lines[-1].startswith(
            "Outcome of what was expected: projects 3 of 3, runs 3 of 3, events 6 of 6, sessions 3 of 3; disk "
        )

    def test_a_line_is_printed_every_few_seconds(self, projects: None, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("agentstate.management.progress.LINE_EVERY", 0)
        lines = call(FORWARD, "--batch-size", "1", "--no-sessions").stderr.splitlines()
        assert [line.split(",")[0] for line in lines[1:-1]] == [f"projects: {done} of 3" for done in range(4)]
        assert re.fullmatch(r"projects: 1 of 3, [\d,]+/s, \d+ (s|min) to go", lines[2])

    def test_nothing_to_do_prints_nothing(self) -> None:
        assert call(FORWARD).stderr == ""

    def test_verbosity_0_prints_nothing(self, projects: None) -> None:
        assert call(FORWARD, "--verbosity", "0").stderr == ""

    def test_a_terminal_shows_a_bar(self, projects: None) -> None:
        terminal, its_end = pty.openpty()
        process = subprocess.Popen(
            [sys.executable, CLONE / "manage.py", FORWARD, "--batch-size", "1"],
            stdout=subprocess.PIPE,
            stderr=its_end,
            text=True,
            env={
                "PATH": os.environ["PATH"],
                "DATABASE_URL": database_url(),
                "SECRET_KEY": "a key for tests only",
                "TERM": "xterm",
                "COLUMNS": "100",
            },
        )
        os.close(its_end)
        drawn = b""
        try:
            while read := os.read(terminal, 4096):
                drawn += read
        except OSError:  # its other end is closed
            pass
        finally:
            os.close(terminal)
        stdout, _ = process.communicate(timeout=60)

        assert process.returncode == 0
        assert stdout.startswith("3 of 3 projects moved, ")
        text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", drawn.decode())
        assert re.search(r"projects +━+ 3/3 +[\d,]+/s", text)
        assert re.search(r"sessions +━+ 3/3", text)


class TestTrouble:
    @pytest.mark.parametrize("command", [[FORWARD], [FORWARD, "--dry-run"], [REVERSE], ["verify_agentkit_state"]])
    def test_a_database_without_our_tables_is_reported(self, command: list[str]) -> None:
        name = connection.settings_dict["NAME"]
        ended = run(*command, database=database_url().replace(f"/{name}?", "/postgres?"))
        assert (ended.process.returncode, ended.stdout) == (1, "")
        assert re.fullmatch(
            r'CommandError: This database lacks a table or column of agentstate \(relation "\w+" does not exist\)\. '
            r"Run manage\.py migrate, or correct the database or schema in DATABASE_URL\.\n",
            ended.stderr,
        )

    def test_a_role_without_rights_is_reported(self, projects: None) -> None:
        sql("CREATE ROLE reader_of_nothing")
        try:
            ended = run(FORWARD, role="reader_of_nothing")
        finally:
            sql("DROP ROLE reader_of_nothing")
        assert (ended.process.returncode, ended.stdout) == (1, "")
        assert ended.stderr.startswith("CommandError: This role lacks a privilege (permission denied ")
        assert ended.stderr.count("\n") == 1

    def test_a_statement_that_the_server_canceled_is_reported(self, projects: None) -> None:
        with second_connection() as other:
            other.execute("BEGIN")
            other.execute('LOCK TABLE "AgentStatePass"')
            ended = run(FORWARD, statement_timeout="300ms")
        assert (ended.process.returncode, ended.stdout) == (1, "")
        assert ended.stderr.startswith("CommandError: The server canceled a statement (canceling statement due to ")
        assert "ALTER ROLE … SET statement_timeout" in ended.stderr

    def test_an_unreachable_server_is_reported(self) -> None:
        ended = run(FORWARD, database="postgres://postgres@127.0.0.1:1/nothing")
        assert (ended.process.returncode, ended.stdout) == (1, "")
        assert "Connection refused" in ended.stderr
        assert ended.stderr.count("\n") == 1
