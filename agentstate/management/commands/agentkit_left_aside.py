"""Decide about the projects that a pass could not move."""

from __future__ import annotations

import json
import shlex
from argparse import ArgumentTypeError
from typing import TYPE_CHECKING, Any

from django.core.management.base import CommandError, CommandParser

from agentstate.backfill.acceptance import SHORTEST_NOTE, accept, valid_acceptances
from agentstate.backfill.retry import Retried, retry
from agentstate.management.base import OperatorCommand
from agentstate.management.errors import INTERRUPTED, operator_errors
from agentstate.management.passes import positive, stopped_by_signals
from agentstate.management.progress import ProgressReport
from agentstate.management.text import counted, stream_of
from agentstate.models import LeftAside

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

USAGE = 2
# How much of an id, of an error, whose end is the way out, and of a note the list shows.
ID_CUT, ERROR_CUT, TEXT_CUT = 60, 400, 90


def note(text: str) -> str:
    """Parse a note that says something."""
    if len(text.strip()) < SHORTEST_NOTE:
        raise ArgumentTypeError(f"a note says why, in {SHORTEST_NOTE} characters or more")
    return text


class Command(OperatorCommand):
    help = (
        "Lists the projects that a pass could not move, tries them again, or keeps a person's decision that they are "
        "not moved. A retry exits with 1 if an entry stays open."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True, metavar="list|retry|accept")

        listing = actions.add_parser("list", help="List the entries that are open or accepted; change nothing.")
        listing.add_argument("--all", action="store_true", dest="everything", help="List the closed ones too.")
        listing.add_argument(
            "--format", choices=["text", "json"], default="text", dest="output", help="Entries as text or JSON."
        )

        retrying = actions.add_parser(
            "retry", help="Run a pass for these projects. What fails again is open, also where it was accepted."
        )
        retrying.add_argument("entries", nargs="*", type=positive, metavar="ID", help="An entry's number.")
        retrying.add_argument("--all", action="store_true", dest="everything", help="All open entries.")

        accepting = actions.add_parser(
            "accept", help="Decide that a project is not moved as it is now; says what is given up."
        )
        accepting.add_argument("entry", type=positive, metavar="ID", help="The entry's number.")
        accepting.add_argument("--note", type=note, required=True, metavar="TEXT", help="Why; it is kept.")
        accepting.add_argument(
            "--by", default="", metavar="NAME", help="Who decided (default: the operating system's user and host)."
        )

    def handle(self, *, action: str, **options: Any) -> None:
        with operator_errors():
            if action == "list":
                self._list(everything=options["everything"], output=options["output"])
            elif action == "retry":
                self._retry(options["entries"], everything=options["everything"], verbosity=options["verbosity"])
            else:
                self._accept(options["entry"], options["note"], by=options["by"])

    def _list(self, *, everything: bool, output: str) -> None:
        known = LeftAside.objects
        entries = list((known.all() if everything else known.unclosed()).order_by("pk"))
        holds = {each.entry_id for each in valid_acceptances()}
        counts = {
            "open": known.open().count(),
            "accepted": len(holds),
            "outdated": known.accepted().exclude(pk__in=holds).count(),
        }
        if output == "json":
            rows = [as_json(entry, holds) for entry in entries]
            self.stdout.write(json.dumps({**counts, "entries": rows}, default=str))
            return
        for entry in entries:
            self._write_entry(entry, _status(entry, holds))
        summary = f"{counts['open']:,} open, {counts['accepted']:,} accepted"
        if counts["outdated"]:
            summary += f", {counts['outdated']:,} accepted and changed since, which count as open"
        self.stdout.write(f"{summary}.")

    def _write_entry(self, entry: LeftAside, status: str) -> None:
        style = self.style.ERROR if status in ("open", "outdated") else self.style.SUCCESS
        self.stdout.write(f"{entry.pk:>6}  {_project(entry)}  {entry.direction}  {style(status)}")
        seen = f"{_said(entry.first_seen_at)} to {_said(entry.last_seen_at)}"
        error = f"{entry.error_class}: {_cut(entry.error, ERROR_CUT)}"
        details = [error, f"{counted(entry.attempts, 'attempt')}, {seen}"]
        if entry.accepted_at:
            details.append(f"accepted {_said(entry.accepted_at)} by {_cut(entry.decided_by)}: {_cut(entry.note)}")
        for detail in details:
            self.stdout.write(f"{'':6}  {detail}")

    def _retry(self, numbers: list[int], *, everything: bool, verbosity: int) -> None:
        if bool(numbers) == everything:
            raise CommandError("Name entries by their numbers, or say --all.", returncode=USAGE)
        entries = list(LeftAside.objects.open().order_by("pk")) if everything else _unclosed(numbers)
        with stopped_by_signals() as stop, ProgressReport(stream_of(self.stderr), verbosity) as report:
            retried = retry(entries, progress=report, stop=stop)
        self._write_retried(retried)
        if retried.untried:
            raise SystemExit(INTERRUPTED)
        if retried.failed or retried.unsettled:
            raise SystemExit(1)

    def _write_retried(self, retried: Retried) -> None:
        for entry in retried.closed:
            self.stdout.write(f"{_named(entry)}: closed. The project was moved, or nothing was left to move.")
        for entry in retried.failed:
            self.stdout.write(self.style.ERROR(f"{_named(entry)}: {entry.error_class}: {entry.error}"))
        for entry in retried.unsettled:
            self.stdout.write(
                self.style.WARNING(
                    f"{_named(entry)}: still forked. Settle it with manage.py backfill_agentkit_state --prefer legacy "
                    "or --prefer agentkit."
                )
            )
        left = len(retried.failed) + len(retried.unsettled)
        self.stdout.write(f"{len(retried.closed):,} closed, {left:,} open.")
        if retried.untried:
            self.stdout.write(f"Interrupted: {len(retried.untried):,} not tried.")

    def _accept(self, number: int, text: str, *, by: str) -> None:
        (entry,) = _unclosed([number])
        given_up = accept(entry, text, by=by)
        self.stdout.write(f"{_named(entry)}: accepted by {entry.decided_by}. What is given up:")
        for sentence in given_up.sentences:
            self.stdout.write(f"  {sentence}")
        self.stdout.write(
            f"It holds until the project changes; manage.py agentkit_left_aside retry {entry.pk} takes it back."
        )


def _unclosed(numbers: list[int]) -> list[LeftAside]:
    """Return the entries of these numbers.

    Raises:
        CommandError: a number is no entry's, or a closed entry's. Nothing was done.
    """
    entries = LeftAside.objects.filter(pk__in=numbers).in_bulk()
    unknown = [number for number in numbers if number not in entries]
    if unknown:
        raise CommandError(
            f"No entry has the number {', '.join(map(str, unknown))}. Nothing was done. "
            "manage.py agentkit_left_aside list names them."
        )
    closed = [number for number in numbers if entries[number].closed_at]
    if closed:
        raise CommandError(
            f"Closed already: {', '.join(map(str, closed))}. The project was moved, or nothing was left to move. "
            "Nothing was done."
        )
    return [entries[number] for number in dict.fromkeys(numbers)]


def as_json(entry: LeftAside, holds: Collection[int]) -> dict[str, Any]:
    """Return an entry as ``--format json`` prints it."""
    return {
        "id": entry.pk,
        "project": entry.project_id,
        "direction": entry.direction,
        "status": _status(entry, holds),
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


def _status(entry: LeftAside, holds: Collection[int]) -> str:
    """Return an entry's status; an acceptance of what has changed since holds no longer."""
    return "outdated" if entry.status == "accepted" and entry.pk not in holds else entry.status


def _named(entry: LeftAside) -> str:
    return f"{entry.pk} ({_project(entry)}, {entry.direction})"


def _project(entry: LeftAside) -> str:
    """Return a project's id as a shell takes it, or its beginning."""
    beginning = shlex.quote(entry.project_id[:ID_CUT])
    return beginning if len(entry.project_id) <= ID_CUT else f"{beginning}…"


def _cut(text: str, length: int = TEXT_CUT) -> str:
    words = " ".join(text.split())
    return words if len(words) <= length else f"{words[: length - 1]}…"


def _said(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M}"
