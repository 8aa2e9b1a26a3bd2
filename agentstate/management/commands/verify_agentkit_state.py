"""Report whether the two homes agree, and where they do not."""

from __future__ import annotations

import json
import shlex
from typing import Any, NamedTuple

from django.core.management.base import CommandParser
from django.db import DEFAULT_DB_ALIAS

from agentstate.backfill import verification
from agentstate.backfill.verification import Audit, Verification
from agentstate.management.backfill_command import excluded
from agentstate.management.base import OperatorCommand
from agentstate.management.errors import operator_errors
from agentstate.management.rollout import bypassing_writes_in_words
from agentstate.management.text import print_table, stream_of
from agentstate.read_database import read_alias, seconds_behind
from agentstate.rollout.bypassing_writes import BypassingWriteCounts
from agentstate.rollout.counting import keep
from agentstate.rollout.figures import Figures
from agentstate.rollout.waiting import server_time
from agentstate.state.standing import Standing

ADVICE = {
    "legacy_ahead": "run manage.py backfill_agentkit_state",
    "forked": "run manage.py backfill_agentkit_state, then settle the rest with --prefer legacy or --prefer agentkit",
    "unequal": "changed without the trigger; settle with --prefer legacy or --prefer agentkit",
    "clock": 'set a valid one: UPDATE "Project" SET "stateUpdatedAt" = now() for the id, or correct the run',
    "event": "the event table was changed: these are not the events of the snapshot's content",
    "session": "run manage.py backfill_agentkit_state",
    "missing_project": 'runs or sessions name projects that this "Project" does not have: complete that table',
    "left_aside": "run manage.py agentkit_left_aside list for the errors, then fix and retry, or accept",
}


class Replica(NamedTuple):
    """The database that was read instead of the primary, and how far it was behind before."""

    alias: str
    seconds_behind: float


class Command(OperatorCommand):
    help = (
        "Compares the legacy columns with the AgentKit tables in one repeatable-read transaction. Changes no "
        "project. Without --project, keeps what it found for the rollout's page, if this role may write. "
        "Exits with 0 if everything is clean, with 1 if not."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--project", action="append", dest="projects", metavar="ID", help="Only this project. Repeatable."
        )
        parser.add_argument(
            "--format", choices=["text", "json"], default="text", dest="output", help="Findings as text or JSON."
        )
        parser.add_argument(
            "--audit",
            action="store_true",
            help="Also run the migration plan's auditing queries, and show their first rows.",
        )

    def handle(self, *, projects: list[str] | None, output: str, audit: bool, **_: Any) -> None:
        selected, using = tuple(projects or ()), read_alias()
        with operator_errors(using):
            figures = _verify(selected, using) if selected else _count_all()
            found, bypassed = figures.verification, figures.bypassing_writes
            audits = verification.audit(selected, using=using) if audit else None
        replica = None if using == DEFAULT_DB_ALIAS else Replica(using, round(figures.seconds_behind, 1))
        if output == "json":
            self.stdout.write(json.dumps(as_json(found, audits, bypassed, replica), default=str))
        else:
            self._write(found, audits or [], bypassed, replica)
        if not found.clean:
            raise SystemExit(1)

    def _write(
        self, found: Verification, audits: list[Audit], bypassed: BypassingWriteCounts, replica: Replica | None
    ) -> None:
        stream = stream_of(self.stdout)
        unequal = [("unequal", found.unequal)] if found.unequal else []
        print_table(stream, "Standing", ["standing", "projects"], [*found.standing.items(), *unequal])
        if found.has_columns:
            in_sync = found.standing[Standing.IN_SYNC] + found.unequal
            print_table(
                stream,
                "Equal documents of the projects whose clocks say in sync"
                if unequal
                else "Equal documents of the projects in sync",
                ["state key", "equal", "of"],
                [(key, equal, in_sync) for key, equal in found.equal.items()],
            )
        else:
            self.stdout.write("The legacy columns have been dropped, so nothing is compared.")
        print_table(stream, "Rows", ["table", "rows"], found.tables.items())
        if found.offenders:
            print_table(
                stream,
                "Problems, the first of each kind",
                ["kind", "project", "path"],
                [(each.kind, shlex.quote(each.project or "-"), each.path or "") for each in found.offenders],
            )
        for each in audits:
            print_table(stream, each.sql, each.columns, each.rows)
            if each.more:
                self.stdout.write("… and more rows.")
        if bypassed.count:
            self.stdout.write(
                f"{bypassing_writes_in_words(bypassed)}. Run manage.py agentkit_rollout for the details."
            )
        if replica:
            self.stdout.write(f"Read from the replica {replica.alias!r}, which was {replica.seconds_behind} s behind.")
        self._write_verdict(found)

    def _write_verdict(self, found: Verification) -> None:
        if found.accepted:
            self.stdout.write(excluded(found.accepted))
        if found.clean:
            self.stdout.write(self.style.SUCCESS("Clean."))
            if not found.tables["Project"]:
                self.stdout.write(
                    self.style.WARNING(
                        'There is nothing to verify: "Project" has no rows. If you expected some, check the database '
                        "and the schema that DATABASE_URL names."
                    )
                )
            return
        self.stdout.write(self.style.ERROR("Not clean:"))
        for kind, count in found.problems.items():
            if count:
                self.stdout.write(f"  {count:,} {kind}: {ADVICE[kind]}")


def _verify(projects: tuple[str, ...], using: str) -> Figures:
    behind = seconds_behind(using)
    return Figures(verification.verify(projects, using=using), seconds_behind=behind)


def _count_all() -> Figures:
    """Verify all projects, and keep that for the rollout's page: it shows the last verification, whoever ran it."""
    started_at = server_time()
    figures = Figures.count()
    keep(figures, started_at)
    return figures


def as_json(
    found: Verification, audits: list[Audit] | None, bypassed: BypassingWriteCounts, replica: Replica | None = None
) -> dict[str, Any]:
    """Return the findings as the one object that ``--format json`` prints."""
    result: dict[str, Any] = {
        "clean": found.clean,
        "standing": {str(standing): count for standing, count in found.standing.items()},
        "unequal": found.unequal,
        "left_aside": found.left_aside,
        "tables": found.tables,
        "offenders": [each._asdict() for each in found.offenders],
    }
    if replica:
        result["replica"] = replica._asdict()
    if found.accepted:
        result["accepted"] = found.accepted
    if bypassed.count:
        result["escapes"] = bypassed.count
    if not found.has_columns:
        result["columns"] = "dropped"
    if audits is not None:
        result["audit"] = [{"sql": each.sql, "columns": each.columns, "rows": each.rows} for each in audits]
    return result
