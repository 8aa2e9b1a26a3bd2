"""The page of usage by workflow and day."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from django.contrib import admin

from agentstate.admin.shared.overviews import OverviewAdmin
from agentstate.admin.usage.daily import FIRST, SECONDS, summary
from agentstate.models import Usage

if TYPE_CHECKING:
    from django.http import HttpRequest


@admin.register(Usage)
class UsageAdmin(OverviewAdmin):
    page_template = "admin/agentstate/usage/page.html"

    class Media:
        css = {"all": ["agentstate/usage.css"]}

    def page_context(self, request: HttpRequest) -> dict[str, Any]:
        last = datetime.now(UTC).date() + timedelta(days=1)  # the database's clock may be ahead of ours
        asked = request.GET.get("until", "")
        until = _day(asked)
        return {
            "summary": summary(min(max(until or last, FIRST), last), SECONDS),
            "is_newest": until is None or until >= last,
            "problem": asked and until is None,
            "asked": asked,
            "seconds": SECONDS,
        }


def _day(text: str) -> date | None:
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None
