"""Resolve a conflict between two versions of a document."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.core.management.base import CommandError

from agentstate.management.base import OperatorCommand
from agentstate.management.intake import intake_errors, storable_text

if TYPE_CHECKING:
    from django.core.management.base import CommandParser


class Command(OperatorCommand):
    help = (
        "Resolves a conflict for the latest or the previous value. previous puts the previous value back into the "
        "outline. The resolution outlives later intakes, until a later document changes the same thing again."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("project", type=storable_text, help="The project's id.")
        parser.add_argument(
            "key", type=storable_text, help="The conflict's key; type:key where several types have it."
        )
        parser.add_argument("resolution", choices=["latest", "previous"])
        parser.add_argument(
            "--by", type=storable_text, default="", help="Who decides (default: the operating system's user and host)."
        )

    def handle(self, *, project: str, key: str, resolution: str, by: str, **_: Any) -> None:
        with intake_errors():
            from agentstate.intake.decisions import UnknownDecision
            from agentstate.orchestrator import resolve_conflict
            from agentstate.orchestrator.orchestrate import ProjectBusy

            try:
                decided = resolve_conflict(project, key, resolution, by=by or None)
            except (UnknownDecision, ProjectBusy) as error:
                raise CommandError(str(error)) from error
        self.stdout.write(f"{key}: {resolution}. Changed: {', '.join(decided.changed) or 'nothing'}.")
