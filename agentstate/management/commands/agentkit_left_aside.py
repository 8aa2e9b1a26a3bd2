"""List, retry and accept the projects that a pass could not move."""

from __future__ import annotations

import json
import shlex
from argparse import ArgumentTypeError
from typing import TYPE_CHECKING, Any

from django.core.management.base import CommandError, CommandParser

from agentstate.backfill.acceptance import SHORTEST_NOTE, accept, status_of, valid_acceptances
from agentstate.backfill.retry import Retried, retry
from agentstate.management.arguments import positive
from agentstate.management.base import OperatorCommand
from agentstate.management.errors import operator_errors
from agentstate.management.interrupts import INTERRUPTED, stopped_by_signals
from agentstate.management.progress import ProgressReport
from agentstate.management.text import counted, stream_of
from agentstate.models import LeftAside

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

USAGE = 2
# The lengths to which the list cuts ids, errors (whose end says what to do) and notes.
ID_CUT, ERROR_CUT, TEXT_CUT = 60, 400, 90
# How many entries the text and the JSON name by default.
NAMED, NAMED_IN_JSON = 100, 1000


def note(text: str) -> str:
    """Parse a note of a minimum length."""
    if len(text.strip()) < SHORTEST_NOTE:
        raise ArgumentTypeError(f"a note must say why, in at least {SHORTEST_NOTE} characters")
    return text


class Command(OperatorCommand):
    help = (
        "Lists the projects that a pass could not move, retries them, or records an operator's decision not to move "
        "them. A retry exits with 1 if an entry stays open."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True, metavar="list|retry|accept")

        listing = actions.add_parser("list", help="List the open and the accepted entries. Change nothing.")
        listing.add_argument("--all", action="store_true", dest="everything", help="Also list the closed entries.")
        listing.add_argument(
            "--limit",
            type=positive,
            metavar="N",
            help=f"List at most N entries (default: {NAMED}, as JSON {NAMED_IN_JSON:,}).",
        )
        listing.add_argument(
            "--format", choices=["text", "json"], default="text", dest="output", help="Entries as text or JSON."
        )

        retrying = actions.add_parser(
            "retry", help="Run a pass for these projects. An entry that fails again is open, even if it was accepted."
        )
        retrying.add_argument("entries", nargs="*", type=positive, metavar="ID", help="The number of an entry.")
        retrying.add_argument("--all", action="store_true", dest="everything", help="All open entries.")

        accepting = actions.add_parser(
            "accept", help="Decide not to move a project as it is now. Prints what is given up."
        )
        accepting.add_argument("entry", type=positive, metavar="ID", help="The number of the entry.")
        accepting.add_argument("--note", type=note, required=True, metavar="TEXT", help="Why. The note is recorded.")
        accepting.add_argument(
            "--by", default="", metavar="NAME", help="Who decided (default: the operating system's user and host)."
        )

    def handle(self, *, action: str, **options: Any) -> None:
        with operator_errors():
            if action == "list":
                self._list(everything=options["everything"], limit=options["limit"], output=options["output"])
            elif action == "retry":
                self._retry(options["entries"], everything=options["everything"], verbosity=options["verbosity"])
            else:
                self._accept(options["entry"], options["note"], by=options["by"])

    def _list(self, *, everything: bool, limit: int | None, output: str) -> None:
        known = LeftAside.objects
        listed = known.all() if everything else known.unclosed()
        entries = list(listed.order_by("pk")[: limit or (NAMED_IN_JSON if output == "json" else NAMED)])
        more = listed.count() - len(entries)
        valid = valid_acceptances()
        counts = {
            "open": known.open().count(),
            "accepted": len(valid),
            "outdated": known.accepted().count() - len(valid),
        }
        if output == "json":
            rows = [as_json(entry, valid) for entry in entries]
            self.stdout.write(
                json.dumps({**counts, "entries": rows, **({"more": more} if more > 0 else {})}, default=str)
            )
            return
        for entry in entries:
            self._write_entry(entry, status_of(entry, valid))
        if more > 0:
            self.stdout.write(f"… and {more:,} more. Use --limit to list them.")
        summary = f"{counts['open']:,} open, {counts['accepted']:,} accepted"
        if counts["outdated"]:
            summary += f", {counts['outdated']:,} accepted but changed since, which count as open"
        self.stdout.write(f"{summary}.")

    def _write_entry(self, entry: LeftAside, status: str) -> None:
        style = self.style.ERROR if status in ("open", "outdated") else self.style.SUCCESS
        self.stdout.write(f"{entry.pk:>6}  {_project(entry)}  {entry.direction}  {style(status)}")
        seen = f"{_minute(entry.first_seen_at)} to {_minute(entry.last_seen_at)}"
        error = f"{entry.error_class}: {_cut(entry.error, ERROR_CUT)}"
        details = [error, f"{counted(entry.attempts, 'attempt')}, {seen}"]
        if entry.accepted_at:
            details.append(f"accepted {_minute(entry.accepted_at)} by {_cut(entry.decided_by)}: {_cut(entry.note)}")
        for detail in details:
            self.stdout.write(f"{'':6}  {detail}")

    def _retry(self, numbers: list[int], *, everything: bool, verbosity: int) -> None:
        if bool(numbers) == everything:
            raise CommandError("Name entries by their numbers, or use --all.", returncode=USAGE)
        entries = list(LeftAside.objects.open().order_by("pk")) if everything else _unclosed(numbers)
        with stopped_by_signals() as stop, ProgressReport(stream_of(self.stderr), verbosity) as report:
            retried = retry(entries, progress=report, stop=stop)
        self._write_retried(retried)
        if retried.untried:
            raise SystemExit(INTERRUPTED)
        if retried.failed or retried.unsettled:
            raise SystemExit(1)

    def _write_retried(self, retried: Retried) -> None:
        forked = (
            "still forked. Run manage.py backfill_agentkit_state --prefer legacy or --prefer agentkit to settle it."
        )
        lines = [
            *(
                f"{_named(each)}: closed. The project was moved, or nothing was left to move."
                for each in retried.closed
            ),
            *(self.style.ERROR(f"{_named(each)}: {each.error_class}: {each.error}") for each in retried.failed),
            *(self.style.WARNING(f"{_named(each)}: {forked}") for each in retried.unsettled),
            *(f"{_named(each)}: {each.decided_by} accepted it meanwhile." for each in retried.accepted),
        ]
        for line in lines[:NAMED]:
            self.stdout.write(line)
        if len(lines) > NAMED:
            self.stdout.write(
                f"… and {len(lines) - NAMED:,} more. Run manage.py agentkit_left_aside list to see them."
            )
        left = len(retried.failed) + len(retried.unsettled)
        self.stdout.write(f"{len(retried.closed):,} closed, {left:,} open.")
        if retried.untried:
            self.stdout.write(f"Interrupted. {len(retried.untried):,} not tried.")

    def _accept(self, number: int, text: str, *, by: str) -> None:
        (entry,) = _unclosed([number])
        given_up = accept(entry, text, by=by)
        self.stdout.write(f"{_named(entry)}: accepted by {entry.decided_by}. What is given up:")
        for sentence in given_up.sentences:
            self.stdout.write(f"  {sentence}")
        self.stdout.write(
            "The decision applies until the project changes. "
            f"Run manage.py agentkit_left_aside retry {entry.pk} to revoke it."
        )


def _unclosed(numbers: list[int]) -> list[LeftAside]:
    """Return the entries with these numbers.

    Raises:
        CommandError: no entry has a number, or the entry is closed. Nothing was done.
    """
    entries = LeftAside.objects.filter(pk__in=numbers).in_bulk()
    unknown = [number for number in numbers if number not in entries]
    if unknown:
        raise CommandError(
            f"No entry has the number {', '.join(map(str, unknown))}. Nothing was done. "
            "Run manage.py agentkit_left_aside list to see the numbers."
        )
    closed = [number for number in numbers if entries[number].closed_at]
    if closed:
        raise CommandError(
            f"Already closed: {', '.join(map(str, closed))}. The project was moved, or nothing was left to move. "
            "Nothing was done."
        )
    return [entries[number] for number in dict.fromkeys(numbers)]


def as_json(entry: LeftAside, valid: Collection[int]) -> dict[str, Any]:
    """Return an entry as ``--format json`` prints it."""
    return {
        "id": entry.pk,
        "project": entry.project_id,
        "direction": entry.direction,
        "status": status_of(entry, valid),
        "error_class": entry.error_class,
        "error": entry.error,
        "attempts": entry.attempts,
        "first_seen_at": entry.first_seen_at.isoformat(),
        "last_seen_at": entry.last_seen_at.isoformat(),
        "closed_at": entry.closed_at and entry.closed_at.isoformat(),
        "accepted_at": entry.accepted_at and entry.accepted_at.isoformat(),
        "note": entry.note,
        "decided_by": entry.decided_by,
        "decisions": entry.decisions,
    }


def _named(entry: LeftAside) -> str:
    return f"{entry.pk} ({_project(entry)}, {entry.direction})"


def _project(entry: LeftAside) -> str:
    """Return a project's id, cut and quoted for a shell."""
    beginning = shlex.quote(entry.project_id[:ID_CUT])
    return beginning if len(entry.project_id) <= ID_CUT else f"{beginning}…"


def _cut(text: str, length: int = TEXT_CUT) -> str:
    words = " ".join(text.split())
    return words if len(words) <= length else f"{words[: length - 1]}…"


def _minute(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M}"
