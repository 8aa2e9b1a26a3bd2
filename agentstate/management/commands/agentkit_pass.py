"""List the passes, and pause, resume, cancel or slow down a running one."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from django.core.management.base import CommandError
from django.utils.text import Truncator

from agentstate.actors import actor
from agentstate.backfill.expectation import Expectation
from agentstate.backfill.requests import CANCEL, PAUSE, RESUME, ask, find_pass, set_pacing
from agentstate.management.arguments import positive
from agentstate.management.base import OperatorCommand
from agentstate.management.errors import operator_errors
from agentstate.management.expectation import afterwards, before
from agentstate.management.pacing import add_pacing
from agentstate.management.text import counted, print_table, stream_of
from agentstate.models import BackfillPass, PassRange
from agentstate.models.passes import PRUNING

if TYPE_CHECKING:
    from django.core.management.base import CommandParser

LISTED = 10
_HELP = {
    PAUSE: "Let a running pass wait after its current batches.",
    RESUME: "Let a paused pass go on.",
    CANCEL: "End a running pass after its current batches. What it has done stays.",
}
_DONE = {
    PAUSE: "is paused after its current batches. Run manage.py agentkit_pass resume {0} to continue.",
    RESUME: "continues.",
    CANCEL: "ends after its current batches. What it has done stays.",
}
_PACING = ("target_seconds", "sleep_ratio", "max_lag")


class Command(OperatorCommand):
    help = (
        "Lists the passes of the ledger. Pauses, resumes or cancels a running one, or changes its pacing. The pass "
        "obeys after its current batches."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True, metavar="list|pause|resume|cancel|set")
        listing = actions.add_parser("list", help="List the newest passes. Change nothing.")
        listing.add_argument(
            "--limit", type=positive, default=LISTED, metavar="N", help=f"How many passes (default: {LISTED})."
        )
        listing.add_argument(
            "--format", choices=["text", "json"], default="text", dest="output", help="Passes as text or JSON."
        )
        for action, help_text in _HELP.items():
            asking = actions.add_parser(action, help=help_text)
            asking.add_argument("entry", type=positive, metavar="ID", help="The number of the pass.")
            _add_by(asking)
        setting = actions.add_parser("set", help="Change the pacing of a running pass from its next batch on.")
        setting.add_argument("entry", type=positive, metavar="ID", help="The number of the pass.")
        add_pacing(setting, defaults=False)
        setting.add_argument("--no-max-lag", action="store_true", help="Do not look at replicas any more.")
        _add_by(setting)

    def handle(self, *, action: str, by: str = "", **options: Any) -> None:
        with operator_errors():
            if action == "list":
                self._list(options["limit"], options["output"])
            elif action == "set":
                self._set(options["entry"], by or actor(), options)
            else:
                entry = find_pass(options["entry"])
                ask(entry, action, by or actor())
                self.stdout.write(f"Pass {entry.pk} {_DONE[action].format(entry.pk)}")

    def _set(self, number: int, by: str, options: dict[str, Any]) -> None:
        changes: dict[str, float | None] = {name: options[name] for name in _PACING if options[name] is not None}
        if options["no_max_lag"]:
            changes["max_lag"] = None
        if not changes:
            raise CommandError("Name what to change: --target-seconds, --sleep-ratio, --max-lag or --no-max-lag.")
        pacing = set_pacing(find_pass(number), by, None, **changes)
        lag = "any replica lag" if pacing.max_lag is None else f"at most {pacing.max_lag:g} s of replica lag"
        target = f"batches of {pacing.target_seconds:g} s"
        self.stdout.write(f"Pass {number}: {target}, sleep ratio {pacing.sleep_ratio:g}, {lag}.")

    def _list(self, limit: int, output: str) -> None:
        entries = list(BackfillPass.objects.with_state().order_by("-pk")[:limit])
        if output == "json":
            self.stdout.write(json.dumps([as_json(entry) for entry in entries], default=str))
            return
        if not entries:
            self.stdout.write("No pass has run yet.")
            return
        columns = ["pass", "direction", "state", "started", "moved", "of", "rate", "left aside", "shared", "waits"]
        print_table(stream_of(self.stdout), "Passes", columns, [_row(entry) for entry in entries])
        self._write_expected(entries[0])
        self._write_unattended_ranges(entries[0])

    def _write_expected(self, newest: BackfillPass) -> None:
        """Write what the newest pass expected, and once it has ended what became of it."""
        expected = Expectation.recorded(newest.expected)
        if expected is None or expected.is_nothing:
            return
        is_shared = newest.ranges.exists()
        self.stdout.write(f"Pass {newest.pk}: {before(expected, is_shared=is_shared)}")
        if expected.took is not None:
            self.stdout.write(f"Pass {newest.pk}: {afterwards(expected, newest, is_shared=is_shared)}")

    def _write_unattended_ranges(self, newest: BackfillPass) -> None:
        unattended = newest.ranges.unattended()
        for part in unattended.exclude(error="")[:LISTED]:
            failed = f"failed after {counted(part.attempts, 'attempt')}, the last by {part.worker}"
            error = Truncator(" ".join(part.error.split())).chars(300)
            self.stdout.write(f"Pass {newest.pk}, range {part.number}: {failed}: {error}")
        if newest.outcome == BackfillPass.Outcome.RUNNING and unattended.exists():
            self.stdout.write(f"Run manage.py agentkit_pass resume {newest.pk} to queue failed and lost ranges again.")


def _add_by(parser: CommandParser) -> None:
    parser.add_argument(
        "--by", default="", metavar="NAME", help="Who asks (default: the operating system's user and host)."
    )


def _row(entry: Any) -> tuple[Any, ...]:
    return (
        entry.pk,
        entry.direction,
        entry.state,
        f"{entry.started_at:%Y-%m-%d %H:%M:%S}",
        *_moved(entry),
        entry.left_aside,
        PassRange.objects.shares(entry).words,
        entry.waits_for,
    )


def _moved(entry: Any) -> tuple[Any, Any, str]:
    if entry.direction == PRUNING:
        return "\N{EN DASH}", "\N{EN DASH}", f"{entry.events:,} events deleted"
    return entry.written + entry.merged, entry.candidates, f"{entry.rate:,.0f}/s"


def as_json(entry: Any) -> dict[str, Any]:
    """Return a pass as ``--format json`` prints it."""
    names = (
        "direction", "state", "requested_by", "started_at", "seen_at", "ended_at", "candidates", "written", "merged",
        "left_aside", "runs", "events", "sessions", "held", "throttled_seconds", "options", "requests", "expected",
        "error",
    )  # fmt: skip
    return {
        "pass": entry.pk,
        **{name: getattr(entry, name) for name in names},
        "ranges": PassRange.objects.shares(entry)._asdict(),
    }
