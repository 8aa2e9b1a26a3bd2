"""The API: its routes, and what they share."""

from __future__ import annotations

from django.http import Http404
from ninja import NinjaAPI
from ninja.errors import HttpError, ValidationError

from agentstate.api.access import TOKEN
from agentstate.api.exact import ExactParser, ExactRenderer
from agentstate.api.problems import on_exception
from agentstate.api.routes import decisions, documents, events, health, runs, sessions, state
from agentstate.api.waiting import limit_lock_waits

NAMESPACE = "agentstate-api"

api = NinjaAPI(
    title="agentstate",
    version="1",
    description="State, runs, events and transcripts of projects.",
    urls_namespace=NAMESPACE,
    auth=[TOKEN],  # the default; a route that reads names more
    parser=ExactParser(),
    renderer=ExactRenderer(),
    openapi_url=None,
    docs_url=None,
)
for error in (Exception, Http404, HttpError, ValidationError):  # ninja has handlers of its own for each
    api.add_exception_handler(error, on_exception)
api.add_decorator(limit_lock_waits, mode="view")
for router in (
    state.router,
    runs.router,
    events.router,
    sessions.router,
    documents.router,
    decisions.router,
    health.router,
):
    api.add_router("", router)
