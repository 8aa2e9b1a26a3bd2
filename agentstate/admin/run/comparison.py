"""Two runs side by side: what differs in their documents, and their tool calls aligned."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from difflib import SequenceMatcher
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db.models import F, Func, TextField
from django.db.models.fields.json import KT
from django.db.models.functions import Cast, Left
from django.template.response import TemplateResponse
from django.urls import path

from agentstate.admin.run import timeline
from agentstate.admin.run.filters import OtherRunForm
from agentstate.admin.run.listing import Question
from agentstate.admin.shared.keyset import Keyset
from agentstate.admin.shared.links import address_of
from agentstate.admin.shared.read_only import ReadOnlyAdmin
from agentstate.admin.shared.time_limit import TookTooLong, time_limit
from agentstate.models import AgentWorkflowRun, AgentWorkflowRunEvent
from agentstate.models.expressions import WORKFLOW_LETTERS
from agentstate.state.differences import differences
from agentstate.state.documents import ABSENT, as_text, decode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from django.db.models import QuerySet
    from django.http import HttpRequest, HttpResponse
    from django.urls import URLPattern

SECONDS = 2.0
# Of each run so many tool calls are aligned; documents of more characters are not compared.
MOST_CALLS, LARGEST = 300, 500_000
MOST_PATHS, LONGEST_VALUE, MOST_OTHERS = 50, 200, 10
NAMES = ("input", "output", "state")
MEMBERS = ("call_id", "tool", "status", "duration_ms")


class Call(NamedTuple):
    """A tool's call in a run, with what its events record."""

    event: str
    tool: str
    arguments: str
    outcome: str
    duration: timedelta | None


class Pair(NamedTuple):
    """Calls of the two runs in the same place of the sequence; None where a run has none there."""

    left: Call | None
    right: Call | None

    @property
    def longer(self) -> timedelta | None:
        """How much longer the right one took."""
        if not (self.left and self.right and self.left.duration is not None and self.right.duration is not None):
            return None
        return self.right.duration - self.left.duration


class Value(NamedTuple):
    """A path at which documents differ, with both values on a line each."""

    path: str
    left: str
    right: str


@dataclass(frozen=True)
class DocumentDifference:
    """How a document differs between the runs.

    Attributes:
        values: the first paths at which it does; ``has_more`` are others.
        is_large: it was not compared.
    """

    name: str
    values: list[Value]
    has_more: bool = False
    is_large: bool = False
    is_in_neither: bool = False


def compared(name: str, left: str, right: str) -> DocumentDifference:
    """Compare a document of two runs."""
    texts = [timeline.document_of(run, name, LARGEST) for run in (left, right)]
    if any(text and text.is_cut for text in texts):
        return DocumentDifference(name, [], is_large=True)
    one, other = (decode(text.text) if text else ABSENT for text in texts)
    values = [
        Value(each.path or name, _line(each.one), _line(each.other))
        for each in islice(differences(one, other, ""), MOST_PATHS + 1)
    ]
    return DocumentDifference(name, values[:MOST_PATHS], len(values) > MOST_PATHS, is_in_neither=texts == [None, None])


def _line(value: Any) -> str:
    text = "absent" if value is ABSENT else as_text(value)
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}…"


def calls_of(run_id: str) -> list[Call]:
    """Return the first tool calls of a run in order.

    Raises:
        TookTooLong: the run has so many other events that these were not reached in time.
    """
    members: dict[str, Any] = {name: Left(KT(f"payload__{name}"), 200) for name in MEMBERS}
    arguments = Func(F("payload"), template="(%(expressions)s -> 'arguments')", output_field=TextField())
    events: QuerySet[Any, Any] = AgentWorkflowRunEvent.objects.filter(
        run=run_id, type__in=["tool.invocation", "tool.result"]
    )
    events = events.annotate(shown=Left(Cast(arguments, TextField()), LONGEST_VALUE), **members).order_by("created_at")
    with time_limit(SECONDS):
        found = list(events.values("pk", "type", "created_at", "shown", *MEMBERS)[: 2 * MOST_CALLS])
    return list(_calls(found))[:MOST_CALLS]


def _calls(events: Sequence[dict[str, Any]]) -> Iterator[Call]:
    ends = {event["call_id"]: event for event in reversed(events) if event["type"] == "tool.result"}
    for event in events:
        if event["type"] == "tool.invocation":
            end = ends.get(event["call_id"])
            yield Call(
                event["pk"],
                event["tool"] or "without a name",
                event["shown"] or "",
                (end["status"] or "") if end else "no result",
                _duration(event["created_at"], end),
            )


def _duration(start: datetime, end: dict[str, Any] | None) -> timedelta | None:
    if end is None:
        return None
    try:
        return timedelta(milliseconds=float(end["duration_ms"]))
    except (TypeError, ValueError, OverflowError):
        lapsed: timedelta = end["created_at"] - start
        return max(lapsed, timedelta(0))


def aligned(left: Sequence[Call], right: Sequence[Call]) -> list[Pair]:
    """Pair the calls of two runs in their order: first equal calls, and between these, calls of the same tool."""
    return _paired(left, right, [lambda call: (call.tool, call.arguments), lambda call: call.tool])


def _paired(left: Sequence[Call], right: Sequence[Call], keys: Sequence[Callable[[Call], object]]) -> list[Pair]:
    if not keys:
        return [*(Pair(call, None) for call in left), *(Pair(None, call) for call in right)]
    key, *others = keys
    matcher = SequenceMatcher(None, list(map(key, left)), list(map(key, right)), autojunk=False)
    pairs: list[Pair] = []
    for kind, from_left, to_left, from_right, to_right in matcher.get_opcodes():
        ours, theirs = left[from_left:to_left], right[from_right:to_right]
        pairs += map(Pair, ours, theirs) if kind == "equal" else _paired(ours, theirs, others)
    return pairs


class ComparisonPages(ReadOnlyAdmin):
    """The page of two runs side by side."""

    def get_urls(self) -> list[URLPattern]:
        route, name = "<str:object_id>/compare/", "agentstate_agentworkflowrun_compare"
        return [path(route, self.admin_site.admin_view(self.comparison_view), name=name), *super().get_urls()]

    def comparison_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Show a run beside the one that ``?other=`` names; without one, others of its workflow to choose from."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        left = self.get_object(request, unquote(object_id))
        if left is None:
            return self.not_found(request, object_id)
        form = OtherRunForm(request.GET or None)
        other = form.cleaned_data["other"].strip() if form.is_valid() else ""
        right = self.get_object(request, other) if other else None
        if other and right is None:
            form.add_error("other", "No run has this id.")
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "media": self.media,
            "title": "Two runs side by side",
            "left": left,
            "left_url": address_of(AgentWorkflowRun, left.pk, request.user),
            "form": form,
            "others": [] if right else _others(left),
            **(self._compared(request, left.pk, right.pk) if right else {}),
        }
        return TemplateResponse(request, "admin/agentstate/agentworkflowrun/comparison.html", context)

    def _compared(self, request: HttpRequest, left: str, right: str) -> dict[str, Any]:
        runs = [(timeline.header_of(pk), address_of(AgentWorkflowRun, pk, request.user)) for pk in (left, right)]
        try:
            calls = [calls_of(pk) for pk in (left, right)]
        except TookTooLong:
            calls = None
        return {
            "runs": runs,
            "documents": [compared(name, left, right) for name in NAMES],
            "pairs": aligned(*calls) if calls else [],
            "are_calls_missing": calls is None,
            "are_calls_cut": calls is not None and any(len(each) == MOST_CALLS for each in calls),
        }


def _others(run: AgentWorkflowRun) -> list[AgentWorkflowRun]:
    """Return the newest other runs of the workflow."""
    listing = Question(workflow=run.workflow_id[:WORKFLOW_LETTERS]).listing()
    pks = [pk for pk in Keyset(listing.order, MOST_OTHERS).page(listing.parts).pks if pk != run.pk]
    runs = AgentWorkflowRun.objects.only("workflow_id", "status", "started_at", "completed_at").in_bulk(pks)
    return [runs[pk] for pk in pks if pk in runs]
