"""The base of pages that change nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agentstate.admin.shared.base import BaseAdmin

if TYPE_CHECKING:
    from django.db import models
    from django.http import HttpRequest, HttpResponse


class ReadOnlyAdmin(BaseAdmin):
    """Shows rows to users who may view them. No user may add, change or delete any."""

    show_full_result_count = False
    list_per_page = 50

    def has_add_permission(self, request: HttpRequest, *args: Any) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:
        return False

    def not_found(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Redirect to the admin's index with a message, as Django does where no row has this id."""
        answer: HttpResponse = self._get_obj_does_not_exist_redirect(request, self.opts, object_id)  # type: ignore[attr-defined]
        return answer
