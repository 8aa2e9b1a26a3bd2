"""The page of storage by table and by workflow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin

from agentstate.admin.shared.overviews import OverviewAdmin
from agentstate.admin.storage.sizes import SECONDS, sample, tables
from agentstate.models import Storage

if TYPE_CHECKING:
    from django.http import HttpRequest

MOST_WORKFLOWS = 100


@admin.register(Storage)
class StorageAdmin(OverviewAdmin):
    page_template = "admin/agentstate/storage/page.html"

    class Media:
        css = {"all": ["agentstate/usage.css"]}

    def page_context(self, request: HttpRequest) -> dict[str, Any]:
        all_tables = tables()
        found = sample(all_tables)
        return {
            "tables": all_tables,
            "total": sum(table.total for table in all_tables),
            "sample": found,
            "workflows": found.workflows[:MOST_WORKFLOWS] if found else [],
            "left_out": len(found.workflows[MOST_WORKFLOWS:]) if found else 0,
            "seconds": SECONDS,
        }
