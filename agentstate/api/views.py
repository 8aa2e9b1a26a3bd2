"""What all views of the API share: their methods, other origins, and transactions of their own."""

from __future__ import annotations

import inspect
from functools import wraps
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db import transaction
from django.http import HttpResponse, HttpResponseNotAllowed
from django.utils.cache import patch_vary_headers
from django.views.decorators.csrf import csrf_exempt

from agentstate.api.problems import Problem, on_exception

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.http import HttpRequest
    from django.http.response import HttpResponseBase
    from django.urls import URLPattern

ALLOWED_HEADERS = "Authorization, Content-Type, Last-Event-ID"
EXPOSED_HEADERS = "Retry-After, WWW-Authenticate"


def shared(pattern: URLPattern) -> URLPattern:
    """Return a pattern of ninja's whose view answers as all views of the API do."""
    view = pattern.callback
    if inspect.iscoroutinefunction(view):

        @wraps(view)
        async def answer_async(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            return _finished(request, _preflight(request) or await view(request, *args, **kwargs))

        answer: Callable[..., Any] = answer_async
    else:

        @wraps(view)
        def answer_sync(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            try:
                response = _preflight(request) or view(request, *args, **kwargs)
            except Exception as error:  # of a view that is no operation of ninja's
                response = on_exception(request, error)
            return _finished(request, response)

        answer = answer_sync
    # Each function that a route calls has a transaction of its own, which must end before the answer is sent.
    # No writing route takes a cookie, and a refusal by Django's check of CSRF would be a page.
    pattern.callback = csrf_exempt(transaction.non_atomic_requests(answer))
    return pattern


@csrf_exempt
def no_such_route(request: HttpRequest, *args: Any) -> HttpResponseBase:
    problem = Problem(
        404, "no-such-route", "The API has no such route.", "See openapi.json for the routes and their methods."
    )
    return problem.response()


def _preflight(request: HttpRequest) -> HttpResponse | None:
    """Answer a browser's question whether a page of another origin may send a request."""
    if request.method != "OPTIONS" or "Access-Control-Request-Method" not in request.headers:
        return None
    response = HttpResponse(status=204)
    if _is_allowed_origin(request):
        response["Access-Control-Allow-Methods"] = "GET, POST, PUT, PATCH"
        response["Access-Control-Allow-Headers"] = ALLOWED_HEADERS
        response["Access-Control-Max-Age"] = "600"
    return response


def _finished(request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
    if isinstance(response, HttpResponseNotAllowed):
        response = _not_allowed(request, response["Allow"])
    response.setdefault("Cache-Control", "no-store")
    if _is_allowed_origin(request):
        # No credentials: a page of another origin sends a token, never the site's cookies.
        response["Access-Control-Allow-Origin"] = request.headers["Origin"]
        response["Access-Control-Expose-Headers"] = EXPOSED_HEADERS
    if settings_origins():
        patch_vary_headers(response, ["Origin"])
    return response


def _not_allowed(request: HttpRequest, allowed: str) -> HttpResponse:
    allowed = ", ".join(sorted(allowed.split(", ")))
    return Problem(
        405,
        "method-not-allowed",
        f"This route does not take {request.method}.",
        f"Use {allowed}.",
        headers={"Allow": allowed},
    ).response()


def settings_origins() -> list[str]:
    """Return the origins whose pages may use the API from a browser; by default none."""
    return list(getattr(settings, "AGENTSTATE_API_ORIGINS", []))


def _is_allowed_origin(request: HttpRequest) -> bool:
    return request.headers.get("Origin") in settings_origins()
