"""Report the stage of the rollout, and take one step up or down."""

from __future__ import annotations

import json
from argparse import ArgumentTypeError
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

from django.core.management.base import CommandError, CommandParser

from agentstate.management.base import OperatorCommand
from agentstate.management.errors import operator_errors
from agentstate.management.interrupts import INTERRUPTED, stopped_by_signals
from agentstate.management.progress import ProgressReport
from agentstate.management.rollout import refusal_as_json, step_as_json, write_refusal, write_status, write_step
from agentstate.management.text import counted, stream_of
from agentstate.rollout.errors import Interrupted, Refused, UnsuitablePercent
from agentstate.rollout.status import status
from agentstate.rollout.steps import StepMonitor, advance, retreat
from agentstate.rollout.waiting import listed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agentstate.models import RolloutStep
    from agentstate.rollout.waiting import Transaction

NOT_OPEN = 3


def share(text: str) -> Decimal:
    """Parse a percent as a flag stores it: above 0 and up to 100, with at most one decimal."""
    try:
        percent = Decimal(text)
        suits = 0 < percent <= 100 and percent == round(percent, 1)
    except InvalidOperation:
        suits = False
    if not suits:
        raise ArgumentTypeError(f"{text!r} is not a percent above 0 and up to 100, with at most one decimal")
    return percent


class Command(OperatorCommand):
    help = (
        "Takes this database from the legacy columns to the AgentKit tables, one step at a time, and back: legacy, "
        "dual_write, shadow_read, agentkit_read (1, 10, 50, then 100 percent of projects), agentkit_only, frozen, "
        "contracted. Status exits with 0 if the next step is open and with 3 if not; advance and retreat exit with 3 "
        "if they took no step."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "action",
            nargs="?",
            choices=["status", "advance", "retreat"],
            default="status",
            help="status (the default): print the stage, and the conditions of the next step. advance: take one step "
            "up, if its conditions are met. retreat: bring the columns up to date, then take one step down. Run an "
            "interrupted retreat again to continue it.",
        )
        parser.add_argument(
            "--percent",
            type=share,
            metavar="N",
            help="The share of projects to read from the AgentKit home: a larger one than now with advance, a smaller "
            "one with retreat.",
        )
        parser.add_argument(
            "--override",
            metavar="REASON",
            help="With advance: take the step although conditions are not met. The reason is recorded.",
        )
        parser.add_argument(
            "--format", choices=["text", "json"], default="text", dest="output", help="Print text or JSON."
        )

    def handle(
        self, *, action: str, percent: Decimal | None, override: str | None, output: str, verbosity: int, **_: Any
    ) -> None:
        if percent is not None and action == "status":
            raise CommandError("--percent applies to advance and retreat only.")
        if override is not None and action != "advance":
            raise CommandError("--override applies to advance only.")
        if override is not None and not override.strip():
            raise CommandError("--override needs a reason, which is recorded.")
        if override is not None and any("\ud800" <= character <= "\udfff" for character in override):
            raise CommandError("The reason contains characters that cannot be stored. Write it without them.")
        if action == "status":
            self._show_status(output)
        else:
            self._take_step(action, percent, (override or "").strip(), output, verbosity)

    def _show_status(self, output: str) -> None:
        try:
            with operator_errors():
                current = status()
        except Refused as error:
            raise CommandError(str(error)) from error
        if output == "json":
            self.stdout.write(json.dumps(current.as_json()))
        else:
            write_status(self, current)
        if not current.open:
            raise SystemExit(NOT_OPEN)

    def _take_step(self, action: str, percent: Decimal | None, override: str, output: str, verbosity: int) -> None:
        try:
            step = self._step(action, percent, override, verbosity)
        except UnsuitablePercent as error:
            raise CommandError(str(error)) from error
        except (Refused, Interrupted) as error:
            if output == "json":
                self.stdout.write(json.dumps(refusal_as_json(error)))
            else:
                write_refusal(self, error)
            raise SystemExit(INTERRUPTED if isinstance(error, Interrupted) else NOT_OPEN) from error
        if output == "json":
            self.stdout.write(json.dumps(step_as_json(step)))
        else:
            write_step(self, step)

    def _step(self, action: str, percent: Decimal | None, override: str, verbosity: int) -> RolloutStep:
        with (
            operator_errors(),
            stopped_by_signals() as stop,
            ProgressReport(stream_of(self.stderr), verbosity) as report,
        ):

            def wait(transactions: Sequence[Transaction]) -> None:
                report.say(f"Waiting for {counted(len(transactions), 'older transaction')}: {listed(transactions)}.")

            monitor = StepMonitor(progress=report, waiting=wait, stop=stop)
            if action == "retreat":
                return retreat(percent=percent, monitor=monitor)
            return advance(percent=percent, override=override, monitor=monitor)
