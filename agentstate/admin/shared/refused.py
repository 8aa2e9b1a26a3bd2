"""The page in place of one that cannot be shown: why, and what the user can do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db import OperationalError
from django.http import Http404
from django.template.response import TemplateResponse
from psycopg import errors

from agentstate.row_security import RowsHidden

if TYPE_CHECKING:
    from django.core.exceptions import PermissionDenied
    from django.db import DatabaseError
    from django.http import HttpRequest, HttpResponse

_WAYS_OUT: dict[type[BaseException] | tuple[type[BaseException], ...], str] = {
    errors.InsufficientPrivilege: "Grant the site's database role what it lacks. Where the message names row-level "
    "security, give the role BYPASSRLS or a policy that lets it read every row.",
    (errors.UndefinedTable, errors.UndefinedColumn, errors.UndefinedFunction): "A part of the schema is missing. "
    "Run manage.py check --database default, then manage.py migrate.",
    (errors.QueryCanceled, errors.LockNotAvailable): "The database was too busy. Reload the page; if it stays so, "
    "look for long transactions in pg_stat_activity.",
}


def refused(request: HttpRequest, error: DatabaseError | RowsHidden) -> HttpResponse:
    """Return a page about a database error. It runs no query, since the next one may fail as well."""
    message, way_out = (str(error), "") if isinstance(error, RowsHidden) else (_message(error), _way_out(error))
    context = {"title": "The database refused this page", "message": message, "way_out": way_out}
    return TemplateResponse(request, "admin/agentstate/refused.html", context, status=503).render()


def turned_away(request: HttpRequest, error: Http404 | PermissionDenied, context: dict[str, Any]) -> HttpResponse:
    """Return a page about an address that names nothing, or that the user may not open.

    The project's own pages for such errors, which a host may not have made, do not look like the admin.

    Args:
        context: that of all pages of the admin.
    """
    if isinstance(error, Http404):
        title, status = "Not found", 404
        message = str(error) or "There is no page at this address."
        way_out = "It may have been deleted, or the link is incomplete."
    else:
        title, status = "Not permitted", 403
        message = str(error) or f"{request.user.get_username()} may not see this page or do this."
        way_out = "A superuser can grant the permission."
    context = {**context, "title": title, "message": message, "way_out": way_out}
    return TemplateResponse(request, "admin/agentstate/refused.html", context, status=status).render()


def _message(error: DatabaseError) -> str:
    cause = error.__cause__
    primary = cause.diag.message_primary if isinstance(cause, errors.Error) else None
    return primary or str(error)


def _way_out(error: DatabaseError) -> str:
    for kinds, way_out in _WAYS_OUT.items():
        if isinstance(error.__cause__, kinds):
            return way_out
    if isinstance(error, OperationalError):
        return "Check that the database server runs and that the site can reach it, then reload the page."
    return "The site's log has the details."
