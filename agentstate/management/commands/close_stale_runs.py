"""Close the runs whose process died."""

from __future__ import annotations

import re
import shlex
from argparse import ArgumentTypeError
from datetime import timedelta
from typing import Any

from django.core.management.base import CommandParser

from agentstate.management.base import OperatorCommand
from agentstate.management.errors import operator_errors
from agentstate.management.text import counted
from agentstate.recording import close_stale_runs

UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
LONGEST = timedelta(days=36500)


def duration(text: str) -> timedelta:
    """Parse a length of time such as ``30m``, ``1h`` or ``2d``."""
    parsed = re.fullmatch(r"([0-9]{1,9})([smhd])", text)
    length = timedelta(**{UNITS[parsed[2]]: int(parsed[1])}) if parsed else timedelta(0)
    if not timedelta(0) < length <= LONGEST:
        raise ArgumentTypeError(f"{text!r} is not a length of time such as 90s, 30m, 1h or 2d")
    return length


class Command(OperatorCommand):
    help = (
        "Ends as failed the running runs that gave no sign of life, an event or a heartbeat, for too long: their "
        "process is taken for dead. An event that comes after all is kept, and marked as late. Runs that wait for a "
        "person are left alone."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--older-than",
            type=duration,
            required=True,
            metavar="TIME",
            help="How long a run may be silent: 90s, 30m, 1h, 2d.",
        )
        parser.add_argument("--dry-run", action="store_true", help="Name the runs; change nothing.")

    def handle(self, *, older_than: timedelta, dry_run: bool, **_: Any) -> None:
        with operator_errors():
            stale = close_stale_runs(older_than, dry_run=dry_run)
        for run in stale:
            project = "no project" if run.project_id is None else f"project {shlex.quote(run.project_id)}"
            last_sign = f"{run.last_sign:%Y-%m-%d %H:%M:%S} UTC"
            self.stdout.write(
                f"{shlex.quote(run.run_id)}: {run.workflow_id}, {project}, last sign of life {last_sign}"
            )
        would = "would be " if dry_run else ""
        self.stdout.write(f"{counted(len(stale), 'run')} {would}closed as stale.")
