"""The ledger of passes, and the projects that were left aside."""

from __future__ import annotations

from django.contrib import admin

from agentstate.admin.read_only import ReadOnlyAdmin
from agentstate.models import BackfillPass, LeftAside


@admin.register(BackfillPass)
class BackfillPassAdmin(ReadOnlyAdmin):
    list_display = (
        "id",
        "direction",
        "outcome",
        "started_at",
        "ended_at",
        "candidates",
        "written",
        "merged",
        "left_aside",
        "runs",
        "events",
        "sessions",
        "requested_by",
    )
    list_filter = ("direction", "outcome")
    ordering = ("-id",)


@admin.register(LeftAside)
class LeftAsideAdmin(ReadOnlyAdmin):
    list_display = (
        "project_id",
        "direction",
        "error_class",
        "error",
        "attempts",
        "first_seen_at",
        "last_seen_at",
        "closed_at",
    )
    list_filter = ("direction", ("closed_at", admin.EmptyFieldListFilter), "error_class")
    search_fields = ("=project_id",)
    ordering = ("-last_seen_at", "-id")
