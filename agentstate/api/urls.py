"""The routes of the API, for a host to include: ``path("api/v1/", include("agentstate.api.urls"))``."""

from __future__ import annotations

from django.urls import URLPattern, re_path

from agentstate.api import openapi
from agentstate.api.application import NAMESPACE, api
from agentstate.api.views import no_such_route, shared

app_name = NAMESPACE
_patterns = [each for each in api.urls[0] if isinstance(each, URLPattern) and each.name != "api-root"]
urlpatterns = [
    *map(shared, [*_patterns, *openapi.urlpatterns]),
    re_path("", no_such_route, name="api-root"),
]
