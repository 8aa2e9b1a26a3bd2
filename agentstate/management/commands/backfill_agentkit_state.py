"""Move every project whose legacy columns are ahead into the AgentKit tables."""

from __future__ import annotations

import json
from typing import Any

from django.core.management.base import CommandError, CommandParser

from agentstate.backfill import Pacing, PassOptions
from agentstate.backfill.expectation import Expectation
from agentstate.backfill.fleet import PROJECTS_IN_RANGE, begin
from agentstate.backfill.requests import queue
from agentstate.management.arguments import positive
from agentstate.management.backfill_command import BackfillCommand, make_selection
from agentstate.management.errors import operator_errors
from agentstate.management.expectation import before
from agentstate.management.text import counted
from agentstate.models.passes import Direction


class Command(BackfillCommand):
    help = (
        "Moves the legacy columns of every project that is legacy_ahead into a run with its events, merges forked "
        "projects whose homes changed different documents, then makes sessions of the legacy chats. Safe to "
        "interrupt, to kill and to repeat."
    )
    direction = Direction.FORWARD
    did = "moved"
    forks_call_for = "Both homes changed the same document. Use --prefer legacy or --prefer agentkit to settle it."

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--no-sessions", action="store_false", dest="sessions", help="Make no sessions of the chats."
        )
        parser.add_argument(
            "--enqueue",
            action="store_true",
            help="Cut all projects into ranges, and put each into the site's task queue for a fleet of workers.",
        )
        parser.add_argument(
            "--range-size",
            type=positive,
            default=PROJECTS_IN_RANGE,
            metavar="N",
            help=f"With --enqueue: projects in a range (default: {PROJECTS_IN_RANGE}).",
        )

    def handle(
        self,
        *,
        dry_run: bool,
        projects: list[str] | None,
        everyone: bool,
        batch_size: int,
        workers: int,
        limit: int | None,
        sessions: bool,
        prefer: str | None,
        enqueue: bool,
        range_size: int,
        target_seconds: float,
        sleep_ratio: float,
        max_lag: float | None,
        output: str,
        verbosity: int,
        **_: Any,
    ) -> None:
        options = PassOptions(
            direction=self.direction,
            selection=make_selection(projects, limit),
            dry_run=dry_run,
            batch_size=batch_size,
            workers=workers,
            pacing=Pacing(target_seconds, sleep_ratio, max_lag),
            sessions=sessions,
            prefer=prefer,
        )
        if enqueue:
            self._enqueue(options, range_size, everyone=everyone, output=output)
        else:
            self.run(options, everyone=everyone, output=output, verbosity=verbosity)

    def _enqueue(self, options: PassOptions, range_size: int, *, everyone: bool, output: str) -> None:
        if options.dry_run or options.selection.projects or options.selection.limit:
            raise CommandError("--enqueue is for all projects. Leave out --dry-run, --project and --limit.")
        self.refuse_undecided(options, everyone=everyone)
        with operator_errors():
            entry = begin(options, range_size)
            count = queue(entry)
        if output == "json":
            self.stdout.write(json.dumps({"pass": entry.pk, "ranges": count}))
        else:
            if (expected := Expectation.recorded(entry.expected)) and not expected.is_nothing:
                self.stdout.write(before(expected, is_shared=True))
            self.stdout.write(
                f"Pass {entry.pk}: {counted(count, 'range')} queued. Run manage.py agentkit_pass list to follow it."
            )
