"""The tokens of the HTTP API. ``manage.py agentkit_token`` makes and revokes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.template.loader import render_to_string

from agentstate.admin.shared.read_only import ReadOnlyAdmin
from agentstate.models import ApiToken

if TYPE_CHECKING:
    from datetime import datetime

    from django.db.models import QuerySet
    from django.http import HttpRequest


class StatusFilter(admin.SimpleListFilter):
    title = "status"
    parameter_name = "status"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("in_use", "in use"), ("revoked", "revoked")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[ApiToken]) -> QuerySet[ApiToken] | None:
        in_use = {"in_use": True, "revoked": False}.get(self.value() or "")
        return None if in_use is None else queryset.filter(revoked_at__isnull=in_use)


@admin.register(ApiToken)
class ApiTokenAdmin(ReadOnlyAdmin):
    list_display = ("name", "allowed", "created", "last_seen", "revoked")
    list_filter = (StatusFilter,)
    show_full_result_count = True  # without it, Django offers "Show all" where all are shown
    search_fields = ("name",)
    ordering = ("-created_at", "-pk")
    fields = readonly_fields = ("name", "allowed", "created_at", "last_seen_at", "revoked_at")

    @admin.display(description="scopes")
    def allowed(self, token: ApiToken) -> str:
        return ", ".join(token.scopes)

    @admin.display(description="created")
    def created(self, token: ApiToken) -> str:
        return _moment(token.created_at)

    @admin.display(description="last seen", empty_value="never")
    def last_seen(self, token: ApiToken) -> str | None:
        return _moment(token.last_seen_at) if token.last_seen_at else None

    @admin.display(description="revoked", empty_value="in use")
    def revoked(self, token: ApiToken) -> str | None:
        return _moment(token.revoked_at) if token.revoked_at else None


def _moment(when: datetime) -> str:
    return render_to_string("admin/agentstate/includes/moment.html", {"when": when})
