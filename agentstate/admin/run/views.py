"""The views of a run: its timeline, and the parts that it loads on demand."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from django.contrib.admin.utils import quote, unquote
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpResponse, HttpResponseRedirect, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils.http import content_disposition_header, urlencode

from agentstate.admin.run import timeline
from agentstate.admin.run.actions import ActionPages
from agentstate.admin.run.approvals import ApprovalPages
from agentstate.admin.run.neighbours import came_from, neighbours_of
from agentstate.admin.run.page_request import FEW_KINDS, PageRequest, page_request, window_of, window_query
from agentstate.admin.run.parts import PartPages
from agentstate.admin.run.timeline.header import MOST_SESSIONS
from agentstate.admin.shared.links import address_of
from agentstate.models import AgentSession
from agentstate.recording.following import pulses_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from django.http import HttpRequest
    from django.urls import URLPattern

    View = Callable[..., HttpResponseBase]

Response = TypeVar("Response", bound=HttpResponseBase)

TEMPLATES = "admin/agentstate/agentworkflowrun"
# How many characters of a document are shown. The download has all of it.
SHOWN = 200_000


class TimelinePages(ApprovalPages, ActionPages, PartPages):
    """The pages of a run. The view permission includes all of them; a decision needs another."""

    def get_urls(self) -> list[URLPattern]:
        views: dict[str, tuple[str, View]] = {
            "overview": ("<str:object_id>/overview/", self.overview_view),
            "live": ("<str:object_id>/live/", self.live_view),
            "payload": ("<str:object_id>/events/<str:event_id>/payload/", self.payload_view),
            "other_half": ("<str:object_id>/events/<str:event_id>/other-half/", self.other_half_view),
            "document": ("<str:object_id>/documents/<str:name>/", self.document_view),
            "download": ("<str:object_id>/download/", self.download_view),
        }
        ours = [
            path(route, self.admin_site.admin_view(view), name=f"agentstate_agentworkflowrun_{name}")
            for name, (route, view) in views.items()
        ]
        return [*ours, *super().get_urls()]

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Show a run's timeline."""
        self._allow(request)
        run = timeline.header_of(_id(object_id))
        if run is None:
            return self.not_found(request, object_id)
        asked = replace(page_request(request.GET, run), came_from=came_from(request))
        failures = timeline.failures_of(run.id)
        try:
            events = self._events(run, asked, failures)
        except timeline.EventNotFound:
            problem = f"This run has no event “{asked.place.event[:60]}”."
            asked = PageRequest(problem=problem, came_from=asked.came_from)
            events = self._events(run, asked, failures)
        context = {
            **self._context(request, run),
            **self._surroundings(request, run),
            **self._filters(run, asked, failures),
            **self.approvals(request, run),
            **self.run_actions(request, run),
            **events,
            "download_url": self._address("download", run.id),
            **(extra_context or {}),
        }
        return TemplateResponse(request, f"{TEMPLATES}/timeline.html", context)

    def live_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Return the parts of a running run that change: header, kinds, last events; 204 if none has changed."""
        self._allow(request)
        run_id = _id(object_id)
        if pulses_of([run_id]).get(run_id, "gone") == request.GET.get("pulse"):
            return HttpResponse(status=204)
        run = self._run(run_id)
        asked = PageRequest(timeline.PagePosition(is_last=True), came_from=came_from(request))
        failures = timeline.failures_of(run.id)
        context = {
            **self._context(request, run),
            **self._filters(run, asked, failures),
            **self._events(run, asked, failures),
        }
        return TemplateResponse(request, f"{TEMPLATES}/live.html", context)

    def overview_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Show the whole run as a strip, and the position of a page in it."""
        self._allow(request)
        run = self._run(_id(object_id))
        window = window_of(request.GET)
        overview = timeline.overview_of(run.id, window)
        context = {
            **self._context(request, run),
            "overview": overview,
            "carried": PageRequest(came_from=came_from(request)).carried,
            "run_url": reverse("admin:agentstate_agentworkflowrun_change", args=[quote(run.id)]),
        }
        part = "overview" if "part" in request.GET else "overview_page"
        return TemplateResponse(request, f"{TEMPLATES}/{part}.html", context)

    def payload_view(self, request: HttpRequest, object_id: str, event_id: str) -> HttpResponse:
        """Show an event's payload."""
        self._allow(request)
        run_id, event_id = _id(object_id), _id(event_id)
        text = timeline.payload_of(run_id, event_id, self._longest(request))
        return self._show(request, run_id, text, "payload", f"Payload of event {event_id}", event_id)

    def document_view(self, request: HttpRequest, object_id: str, name: str) -> HttpResponse:
        """Show a run's input, output, state or error."""
        self._allow(request)
        if name not in timeline.DOCUMENTS:
            raise Http404
        run_id = _id(object_id)
        text = timeline.document_of(run_id, name, self._longest(request))
        return self._show(request, run_id, text, name, name.capitalize())

    def other_half_view(self, request: HttpRequest, object_id: str, event_id: str) -> HttpResponse:
        """Redirect from a tool's invocation to its result, or back."""
        self._allow(request)
        run_id = _id(object_id)
        other = timeline.other_half(run_id, _id(event_id))
        if other is None:
            self.message_user(request, "The other half of this call was not found.", level="WARNING")
        address = reverse("admin:agentstate_agentworkflowrun_change", args=[quote(run_id)])
        carried = PageRequest(came_from=came_from(request)).carried
        return HttpResponseRedirect(f"{address}?{urlencode({'event': other or _id(event_id)})}{carried}#chosen")

    def download_view(self, request: HttpRequest, object_id: str) -> StreamingHttpResponse:
        """Stream a run with all its events as JSON."""
        self._allow(request)
        run_id = _id(object_id)
        pieces = timeline.run_as_json(run_id)
        first = next(pieces, None)
        if first is None:
            raise Http404
        response = StreamingHttpResponse(_joined(first, pieces), content_type="application/json")
        return _as_file(response, run_id)

    # -- pieces

    def _allow(self, request: HttpRequest) -> None:
        if request.method not in ("GET", "HEAD") or not self.has_view_permission(request):
            raise PermissionDenied

    def _run(self, run_id: str) -> timeline.RunHeader:
        run = timeline.header_of(run_id)
        if run is None:
            raise Http404
        return run

    def _address(self, view: str, *ids: str) -> str:
        return reverse(f"admin:agentstate_agentworkflowrun_{view}", args=[*map(quote, ids)])

    def _context(self, request: HttpRequest, run: timeline.RunHeader) -> dict[str, Any]:
        return {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "media": self.media,
            "title": f"{run.workflow_id} {run.id}",
            "run": run,
        }

    def _surroundings(self, request: HttpRequest, run: timeline.RunHeader) -> dict[str, Any]:
        sessions = timeline.sessions_of(run)
        return {
            "sessions": [(each, address_of(AgentSession, each, request.user)) for each in sessions[:MOST_SESSIONS]],
            "has_more_sessions": len(sessions) > MOST_SESSIONS,
            "neighbours": neighbours_of(self, request, run),
        }

    def _filters(
        self, run: timeline.RunHeader, asked: PageRequest, failures: timeline.Failures | None
    ) -> dict[str, Any]:
        kinds = asked.choices(timeline.counts_of(run.id))
        return {
            "kinds": kinds[:FEW_KINDS],
            "other_kinds": kinds[FEW_KINDS:],
            "failures": failures,
            "failures_only": asked.failures(failures.short if failures else "0"),
        }

    def _events(
        self, run: timeline.RunHeader, asked: PageRequest, failures: timeline.Failures | None
    ) -> dict[str, Any]:
        """Return the context of a page of events."""
        place = timeline.opening_of(run, failures) if asked.is_default and not asked.wanted else asked.place
        page = timeline.page_of(run, place, asked.wanted)
        is_live = run.is_running and not asked.wanted and place == timeline.PagePosition(is_last=True)
        return {
            "page": page,
            "page_request": asked,
            "links": asked.links(page),
            "live_url": f"{self._address('live', run.id)}?{asked.carried.removeprefix('&')}" if is_live else "",
            "overview_url": (
                f"{self._address('overview', run.id)}?{window_query(page.window)}{asked.carried}" if page.rows else ""
            ),
        }

    def _longest(self, request: HttpRequest) -> int | None:
        return None if "raw" in request.GET else SHOWN

    def _show(
        self,
        request: HttpRequest,
        run_id: str,
        text: timeline.DocumentText | None,
        name: str,
        title: str,
        event_id: str = "",
    ) -> HttpResponse:
        """Return a text as a page, as a part of another page, or as a file."""
        if text is None:
            raise Http404
        is_json = name != "error"
        if "raw" in request.GET:
            kind = "application/json" if is_json else "text/plain; charset=utf-8"
            return _as_file(
                HttpResponse(text.text, content_type=kind), f"{event_id or run_id}-{name}", is_json=is_json
            )
        context = {"text": text, "is_json": is_json, "address": request.path}
        if "part" in request.GET:
            return TemplateResponse(request, f"{TEMPLATES}/text.html", context)
        context |= {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "media": self.media,
            "title": title,
            "run_id": run_id,
            "event_id": event_id,
            "part": f"{TEMPLATES}/text.html",
        }
        return TemplateResponse(request, f"{TEMPLATES}/document.html", context)


def _id(quoted: str) -> str:
    found = unquote(quoted)
    if "\0" in found:  # PostgreSQL refuses it, so no row has it
        raise Http404
    return found


def _joined(first: str, rest: Iterator[str]) -> Iterator[str]:
    """Yield larger pieces, since a server sends each in a packet of its own."""
    parts, size = [first], len(first)
    for piece in rest:
        parts.append(piece)
        size += len(piece)
        if size > 50_000:
            yield "".join(parts)
            parts, size = [], 0
    yield "".join(parts)


def _as_file(response: Response, name: str, *, is_json: bool = True) -> Response:
    safe = re.sub(r"[^\w.-]+", "_", name)[:100]
    response.headers["Content-Disposition"] = content_disposition_header(
        True, f"{safe}.{'json' if is_json else 'txt'}"
    )
    return response
