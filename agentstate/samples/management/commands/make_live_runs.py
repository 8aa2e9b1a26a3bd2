"""Record live runs of sample projects."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.core.management.base import CommandError

from agentstate.management.base import OperatorCommand
from agentstate.management.errors import operator_errors
from agentstate.samples import SamplesRefused
from agentstate.samples.live import make_live_runs

if TYPE_CHECKING:
    from argparse import ArgumentParser


class Command(OperatorCommand):
    help = (
        "Records live runs of four backfilled sample projects: runs that succeed, one that fails, one that is still "
        "running, conversations, and a fork. Refuses a database that holds other projects than samples."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--seed", type=int, default=1, metavar="S", help="Random seed of the samples (default: 1)."
        )
        parser.add_argument(
            "--pace",
            type=float,
            default=1.0,
            metavar="P",
            help="Multiplier for simulated tool durations; 0 disables delays (default: 1).",
        )

    def handle(self, *, seed: int, pace: float, **options: Any) -> None:
        if not 0 <= pace < float("inf"):
            raise CommandError(f"--pace {pace} is not a number from 0 on.")
        try:
            with operator_errors():
                scene = make_live_runs(seed, pace)
        except SamplesRefused as refusal:
            raise CommandError(str(refusal)) from refusal
        self.stdout.write(f"{scene.succeeded}: two runs succeeded, with a conversation")
        self.stdout.write(f"{scene.failed}: a run failed")
        self.stdout.write(f"{scene.running}: a run is running")
        self.stdout.write(f"{scene.forked}: forked, both homes changed the same document")
