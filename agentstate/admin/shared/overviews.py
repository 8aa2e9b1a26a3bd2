"""The base of pages about all runs, whose models are proxies of runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.core.exceptions import PermissionDenied
from django.template.response import TemplateResponse
from django.urls import path

from agentstate.admin.shared.links import may_see
from agentstate.admin.shared.read_only import ReadOnlyAdmin
from agentstate.models import AgentWorkflowRun

if TYPE_CHECKING:
    from django.db.models import Model
    from django.http import HttpRequest, HttpResponse
    from django.urls import URLPattern


class OverviewAdmin(ReadOnlyAdmin):
    """One page in place of a list, for those who may view runs.

    Attributes:
        page_template: the template, which gets what ``page_context`` returns.
    """

    page_template: str

    def has_view_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return may_see(AgentWorkflowRun, request.user)

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)

    def get_urls(self) -> list[URLPattern]:
        name = f"{self.opts.app_label}_{self.opts.model_name}_changelist"
        return [path("", self.admin_site.admin_view(self.changelist_view), name=name)]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        context = {
            **self.admin_site.each_context(request),
            "title": str(self.opts.verbose_name_plural).capitalize(),
            "opts": self.opts,
            "media": self.media,
            **self.page_context(request),
            **(extra_context or {}),
        }
        return TemplateResponse(request, self.page_template, context)

    def page_context(self, request: HttpRequest) -> dict[str, Any]:
        raise NotImplementedError
