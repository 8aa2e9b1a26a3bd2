"""The base of our admin pages: history is looked at, never edited."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.db import models
from django.http import HttpRequest, HttpResponse

if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin[models.Model]
else:
    ModelAdmin = admin.ModelAdmin


class ReadOnlyAdmin(ModelAdmin):
    """Shows rows to those who may view them, and lets nobody add, change or delete any."""

    show_full_result_count = False
    list_per_page = 50

    class Media:
        css = {"all": ["agentstate/admin.css"]}

    def has_add_permission(self, request: HttpRequest, *args: Any) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:
        return False

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        # PostgreSQL refuses this character, also where it is only compared.
        return None if "\0" in object_id else super().get_object(request, object_id, from_field)

    def gone(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Return the admin's own answer to an address of no row: back to its index, with a message."""
        answer: HttpResponse = self._get_obj_does_not_exist_redirect(request, self.opts, object_id)  # type: ignore[attr-defined]
        return answer
