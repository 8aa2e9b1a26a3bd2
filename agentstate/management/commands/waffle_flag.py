"""waffle's own command, with a check of the percentage."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandError
from waffle.management.commands.waffle_flag import Command as WaffleCommand

from agentstate.management.base import OperatorCommand
from agentstate.management.errors import operator_errors


class Command(OperatorCommand, WaffleCommand):
    """Refuse a percentage that the database would refuse, before anything is changed."""

    def handle(self, *args: Any, percent: int | None = None, **options: Any) -> None:
        if percent is not None and not 0 <= percent <= 100:
            raise CommandError(f"--percent {percent} is not a percentage of the projects. Use a number from 0 to 100.")
        with operator_errors():
            super().handle(*args, percent=percent, **options)
