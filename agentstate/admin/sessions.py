"""Sessions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib import admin
from django.http import HttpRequest

from agentstate.admin.read_only import ReadOnlyAdmin
from agentstate.models import AgentSession

if TYPE_CHECKING:
    from django.db.models import QuerySet


@admin.register(AgentSession)
class AgentSessionAdmin(ReadOnlyAdmin):
    list_display = ("id", "project_id", "agent_run_id", "created_at", "updated_at")
    search_fields = ("=id", "=project__id")
    ordering = ("pk",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[AgentSession]:
        # A list of sessions shows no transcript.
        return AgentSession.objects.defer("transcript_json", "metadata")
