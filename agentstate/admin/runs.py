"""Runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib import admin
from django.http import HttpRequest

from agentstate.admin.timeline import TimelinePages
from agentstate.models import AgentWorkflowRun

if TYPE_CHECKING:
    from django.db.models import QuerySet


@admin.register(AgentWorkflowRun)
class AgentWorkflowRunAdmin(TimelinePages):
    list_display = ("id", "workflow_id", "project_id", "status", "started_at", "completed_at", "snapshot_at")
    search_fields = ("=id", "=project__id")
    ordering = ("pk",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[AgentWorkflowRun]:
        # A list of runs shows no document, and one of them can be megabytes.
        return AgentWorkflowRun.objects.defer("input", "result")
