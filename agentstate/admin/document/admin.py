"""Documents that intakes read: their list, and each as its text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.template.response import TemplateResponse

from agentstate.admin.shared.links import link_to
from agentstate.admin.shared.passages import MOST, span_of, window_of
from agentstate.admin.shared.search import FoundByProject
from agentstate.models import AgentDocument, AgentWorkflowRun, Project

if TYPE_CHECKING:
    from django.db.models import QuerySet


@admin.register(AgentDocument)
class AgentDocumentAdmin(FoundByProject):
    """What an intake read. The text is shown as it was extracted."""

    class Media:
        css = {"all": ["agentstate/document.css"]}

    list_display = ("name", "project_link", "family", "role", "version", "released_on", "run_link", "read_at")
    list_display_links = ("name",)
    search_help_text = "A document's id, or a project's: its id, how that begins, or a part of its name."
    keyset = ("-created_at", "-id")

    def get_queryset(self, request: HttpRequest) -> QuerySet[AgentDocument]:
        return AgentDocument.objects.defer("text")

    @admin.display(description="project")
    def project_link(self, document: Any) -> str:
        return link_to(Project, document.project_id, document.project_id, document.viewer)

    @admin.display(description="run")
    def run_link(self, document: Any) -> str:
        if document.run_id is None:
            return "\N{EN DASH}"
        return link_to(AgentWorkflowRun, document.run_id, document.run_id, document.viewer)

    @admin.display(description="read")
    def read_at(self, document: AgentDocument) -> str:
        return render_to_string("admin/agentstate/includes/moment.html", {"when": document.created_at})

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Show a window of a document's text, with the passage ``?from=…&to=…`` highlighted."""
        if request.method not in ("GET", "HEAD"):
            raise PermissionDenied
        document: Any = self.get_object(request, unquote(object_id))
        if not self.has_view_permission(request, document):
            raise PermissionDenied
        if document is None:
            raise Http404("There is no such document.")
        span = span_of([_number(request, "from"), _number(request, "to")])
        context = {
            **self.admin_site.each_context(request),
            "title": document.name,
            "opts": self.opts,
            "media": self.media,
            "document": document,
            "passage": window_of(document, _number(request, "start") or 0, span),
            "has_span": span is not None,
            **(extra_context or {}),
        }
        request.current_app = self.admin_site.name
        return TemplateResponse(request, "admin/agentstate/agentdocument/text.html", context)


def _number(request: HttpRequest, name: str) -> int | None:
    """Return an offset of the address, None where it is none."""
    given = request.GET.get(name, "")
    return min(int(given), MOST) if given.isascii() and given.isdigit() and len(given) < 20 else None
