"""The base of all our admin pages."""

from __future__ import annotations

import logging
from functools import wraps
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db import DatabaseError, connection, models, transaction
from django.forms import Script
from django.http import Http404
from django.template.response import SimpleTemplateResponse
from django.urls import URLPattern
from django.utils.text import capfirst

from agentstate.admin.shared.refused import refused, turned_away
from agentstate.distant_times import distant_times
from agentstate.row_security import RowsHidden

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.http import HttpRequest, HttpResponse
    from django.http.response import HttpResponseBase

    ModelAdmin = admin.ModelAdmin[models.Model]
else:
    ModelAdmin = admin.ModelAdmin

logger = logging.getLogger(__name__)


class BaseAdmin(ModelAdmin):
    """An admin whose pages show any time that PostgreSQL holds, and say why one cannot be shown."""

    class Media:
        css = {"all": ["agentstate/shared.css"]}
        js = [Script("agentstate/times.js", defer=True)]

    @property
    def urls(self) -> list[URLPattern]:
        patterns = self.get_urls()
        for pattern in patterns:
            pattern.callback = self._wrap(pattern.callback)
        return patterns

    def _wrap(self, view: Callable[..., HttpResponseBase]) -> Callable[..., HttpResponseBase]:
        @wraps(view)
        def answer(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            request.current_app = self.admin_site.name
            try:
                with distant_times():
                    response = view(request, *args, **kwargs)
                    # Templates run queries too.
                    return response.render() if isinstance(response, SimpleTemplateResponse) else response
            except (DatabaseError, RowsHidden) as error:
                logger.exception("The database refused %s", request.path)
                if connection.in_atomic_block:
                    transaction.set_rollback(True)
                return refused(request, error)
            except (Http404, PermissionDenied) as error:
                response = turned_away(request, error, self.admin_site.each_context(request))
                if connection.in_atomic_block and connection.settings_dict["ATOMIC_REQUESTS"]:
                    transaction.set_rollback(True)  # as Django does for an exception
                return response

        return answer

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        title = capfirst(self.opts.verbose_name_plural)
        return super().changelist_view(request, {"title": title, **(extra_context or {})})

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        # PostgreSQL refuses NUL in a text, even to compare it.
        return None if "\0" in object_id else super().get_object(request, object_id, from_field)
