"""Override whether an eligibility item is fatal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.core.management.base import CommandError

from agentstate.management.base import OperatorCommand
from agentstate.management.intake import intake_errors, storable_text

if TYPE_CHECKING:
    from django.core.management.base import CommandParser


class Command(OperatorCommand):
    help = "Says of an eligibility item whether it is fatal. The override outlives later intakes."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("project", type=storable_text, help="The project's id.")
        parser.add_argument("item", type=storable_text, metavar="id", help="The item's id.")
        parser.add_argument("--fatal", choices=["yes", "no"], required=True)
        parser.add_argument("--note", type=storable_text, required=True, help="Why.")
        parser.add_argument(
            "--by", type=storable_text, default="", help="Who decides (default: the operating system's user and host)."
        )

    def handle(self, *, project: str, item: str, fatal: str, note: str, by: str, **_: Any) -> None:
        with intake_errors():
            from agentstate.intake.decisions import UnknownDecision
            from agentstate.orchestrator import override_eligibility
            from agentstate.orchestrator.orchestrate import ProjectBusy

            try:
                decided = override_eligibility(project, item, fatal == "yes", note, by=by or None)
            except (UnknownDecision, ProjectBusy, ValueError) as error:
                raise CommandError(str(error)) from error
        changed = ", ".join(decided.changed) or "nothing"
        self.stdout.write(f"{item}: {'fatal' if fatal == 'yes' else 'not fatal'}. Changed: {changed}.")
