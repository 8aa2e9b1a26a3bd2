"""Move every project whose legacy columns are ahead into the AgentKit tables."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from agentstate.backfill import Pacing, PassOptions
from agentstate.management.backfill_command import BackfillCommand, make_selection
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
        self.run(options, everyone=everyone, output=output, verbosity=verbosity)
