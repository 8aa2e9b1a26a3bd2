"""The ledger of passes, and the projects that they left aside."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.db.models.functions import Left
from django.template.loader import render_to_string
from django.utils.text import Truncator

from agentstate.admin.passes.control import ControlPages
from agentstate.admin.passes.decisions import DecisionPages, recorded_moment
from agentstate.admin.shared.formats import length_of_time, pretty_json
from agentstate.admin.shared.links import link_to
from agentstate.admin.shared.paging import KeysetPages
from agentstate.backfill.expectation import Expectation
from agentstate.models import BackfillPass, LeftAside, PassRange, Project
from agentstate.models.passes import PRUNING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.contrib.admin.views.main import ChangeList
    from django.db.models import QuerySet

MADE = ("runs", "events", "sessions")
RANGES_SHOWN = 50
SPACE = "\N{NO-BREAK SPACE}"


@admin.register(BackfillPass)
class BackfillPassAdmin(ControlPages):
    reads_replica = False
    list_display = (
        "number",
        "direction",
        "outcome_word",
        "started",
        "duration",
        "moved",
        "made",
        "requested_by",
    )
    list_filter = ("direction", "outcome")
    keyset = ("-id",)
    fields = readonly_fields = (
        "outcome_word",
        "waits",
        "started",
        "ended",
        "duration",
        "moved",
        "speed",
        "made",
        "expected_and_made",
        "shares",
        "requested_by",
        "asked",
        "options_as_json",
        "error",
    )

    class Media:
        css = {"all": ["agentstate/passes.css"]}

    @admin.display(description="pass")
    def number(self, entry: BackfillPass) -> str:
        return f"{entry.pk:,}"

    def for_list(self, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.with_state()  # type: ignore[attr-defined, no-any-return]

    @admin.display(description="outcome")
    def outcome_word(self, entry: Any) -> str:
        return render_to_string("admin/agentstate/includes/status.html", {"status": entry.state})

    @admin.display(description="waits")
    def waits(self, entry: BackfillPass) -> str:
        now = f"now: {entry.waits_for}" if entry.waits_for else "not now"
        return f"{now}; {length_of_time(timedelta(seconds=entry.throttled_seconds))} in all"

    @admin.display(description="shared")
    def shares(self, entry: BackfillPass) -> str:
        words = PassRange.objects.shares(entry).words
        if not words:
            return "No, one process runs it"
        unfinished = entry.ranges.unfinished()[:RANGES_SHOWN]
        return render_to_string("admin/agentstate/backfillpass/ranges.html", {"words": words, "ranges": unfinished})

    @admin.display(description="asked")
    def asked(self, entry: BackfillPass) -> str:
        if not entry.requests:
            return "Nothing"
        return render_to_string("admin/agentstate/backfillpass/requests.html", {"requests": _requests(entry)})

    @admin.display(description="started")
    def started(self, entry: BackfillPass) -> str:
        return render_to_string("admin/agentstate/includes/moment.html", {"when": entry.started_at})

    @admin.display(description="ended")
    def ended(self, entry: BackfillPass) -> str:
        return render_to_string("admin/agentstate/includes/moment.html", {"when": entry.ended_at})

    @admin.display(description="duration")
    def duration(self, entry: BackfillPass) -> str:
        if entry.ended_at:
            return length_of_time(entry.ended_at - entry.started_at)
        return f"{length_of_time(entry.seen_at - entry.started_at)} so far"

    @admin.display(description="moved")
    def moved(self, entry: BackfillPass) -> str:
        if entry.direction == PRUNING:
            return "\N{EN DASH}"
        parts = [f"{entry.written:,} of {entry.candidates:,}"]
        if entry.merged:
            parts.append(f"{entry.merged:,}{SPACE}merged")
        if entry.left_aside:
            parts.append(f"{entry.left_aside:,}{SPACE}left aside")
        return ", ".join(parts)

    @admin.display(description="rate")
    def speed(self, entry: BackfillPass) -> str:
        return f"{entry.rate:,.0f} projects a second" if entry.rate else "\N{EN DASH}"

    @admin.display(description="made")
    def made(self, entry: BackfillPass) -> str:
        counts = {name: getattr(entry, name) for name in MADE}
        parts = [f"{count:,}{SPACE}{name if count != 1 else name[:-1]}" for name, count in counts.items() if count]
        done = f"{SPACE}deleted" if entry.direction == PRUNING else ""
        return f"{', '.join(parts)}{done}" if parts else "\N{EN DASH}"

    @admin.display(description="expected")
    def expected_and_made(self, entry: BackfillPass) -> str:
        expected = Expectation.recorded(entry.expected)
        if expected is None:
            return "Not estimated"
        context = {
            "expected": expected,
            "rows": expected.compared(entry),
            "times": [length_of_time(timedelta(seconds=seconds)) for seconds in dict.fromkeys(expected.seconds)],
            "took": None if expected.took is None else length_of_time(timedelta(seconds=expected.took)),
            "is_running": entry.outcome == BackfillPass.Outcome.RUNNING,
            "is_shared": entry.ranges.exists(),
        }
        return render_to_string("admin/agentstate/backfillpass/expected.html", context)

    @admin.display(description="options")
    def options_as_json(self, entry: BackfillPass) -> str:
        json = {"label": "JSON", "text": pretty_json(entry.options), "is_open": True}
        return render_to_string("admin/agentstate/includes/json.html", json)


def _requests(entry: BackfillPass) -> list[dict[str, Any]]:
    """Return what was asked of a pass; what others wrote in another shape is left out."""
    requests = entry.requests if isinstance(entry.requests, list) else []
    return [{**each, "at": recorded_moment(each.get("at"))} for each in requests if isinstance(each, dict)]


class WordedFilter(admin.EmptyFieldListFilter):
    """Filters rows with a time from rows without, and names both by what the time means."""

    words: tuple[str, str]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.title = type(self).title

    def choices(self, changelist: ChangeList) -> Iterator[Any]:
        for choice, word in zip(super().choices(changelist), ("All", *self.words), strict=True):
            yield {**choice, "display": word}


class ClosedFilter(WordedFilter):
    title = "closing"
    words = "Not closed", "Closed"


class AcceptedFilter(WordedFilter):
    title = "acceptance"
    words = "Not accepted", "Accepted"


@admin.register(LeftAside)
class LeftAsideAdmin(DecisionPages, KeysetPages):
    reads_replica = False
    list_display = ("project_link", "direction", "error_class", "beginning", "attempts", "last_seen", "closed")
    list_display_links = ("error_class",)
    list_filter = (
        "direction",
        ("closed_at", ClosedFilter),
        ("accepted_at", AcceptedFilter),
        "error_class",
    )
    search_fields = ("=project_id",)
    search_help_text = "A project's id."
    # Unindexed: at most one entry per project and direction, cheap to sort.
    keyset = ("-last_seen_at", "-id")

    class Media:
        css = {"all": ["agentstate/passes.css"]}

    def for_list(self, queryset: QuerySet[Any]) -> QuerySet[Any]:
        entries: QuerySet[Any] = queryset.defer("error").annotate(error_start=Left("error", 300))
        return entries

    @admin.display(description="project")
    def project_link(self, entry: Any) -> str:
        return link_to(Project, entry.project_id, Truncator(entry.project_id).chars(60), entry.viewer)

    @admin.display(description="error")
    def beginning(self, entry: Any) -> str:
        lines = entry.error_start.strip().splitlines()
        return render_to_string("admin/agentstate/includes/error_line.html", {"line": lines[0] if lines else ""})

    @admin.display(description="last seen")
    def last_seen(self, entry: LeftAside) -> str:
        return render_to_string("admin/agentstate/includes/moment.html", {"when": entry.last_seen_at})

    @admin.display(description="closed")
    def closed(self, entry: LeftAside) -> str:
        if entry.closed_at is None:
            return entry.status
        return render_to_string("admin/agentstate/includes/moment.html", {"when": entry.closed_at})
