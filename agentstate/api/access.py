"""Who may use a route: a token with the scope that the method needs, or a staff session that may view the model.

Access is decided before a route looks for anything, so no refusal tells whether an id exists.
"""

from __future__ import annotations

import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from django.contrib.auth import get_user
from django.http import HttpRequest
from django.utils import timezone
from ninja.security.base import AuthBase

from agentstate.api.problems import Problem, unauthorized
from agentstate.models import ApiToken
from agentstate.models.tokens import Scope, digest_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
SECONDS_REMEMBERED = 1.0  # a revoked token is refused within two
LAST_SEEN_EVERY = timedelta(minutes=10)
LONGEST_TOKEN = 200


class Caller(NamedTuple):
    """Who sent a request: a token, by its name, or a user of the site."""

    name: str
    scopes: frozenset[str]


class BearerToken(AuthBase):
    """A token in the header Authorization. Safe methods need the scope ``read``, all others ``write``."""

    openapi_type = "http"
    openapi_scheme = "bearer"

    def __call__(self, request: HttpRequest) -> Caller | None:
        header = request.headers.get("Authorization")
        if header is None:
            return None
        scheme, _, token = header.partition(" ")
        caller = caller_of(token.strip()) if scheme.lower() == "bearer" else None
        if caller is None:
            raise unauthorized("The token is not known or was revoked.")
        scope = Scope.READ if request.method in SAFE_METHODS else Scope.WRITE
        if scope not in caller.scopes:
            raise Problem(
                403,
                "scope-missing",
                f"The token lacks the scope {scope}.",
                f"Use a token made with --scope {scope}.",
            )
        return caller


class StaffSession(AuthBase):
    """A session of the site, of a staff user with a permission. For reading: writes need a token.

    So a request that another site makes a browser send with its cookies changes nothing.
    """

    openapi_type = "apiKey"
    openapi_in = "cookie"
    openapi_name = "sessionid"

    def __init__(self, permission: str | None = None) -> None:
        super().__init__()
        self.permission = permission and f"agentstate.{permission}"

    def __call__(self, request: HttpRequest) -> Caller | None:
        user: Any = getattr(request, "user", None)
        if user is None or not user.is_authenticated:
            return None
        is_staff = user.is_active and user.is_staff
        if not (is_staff and (self.permission is None or user.has_perm(self.permission))):
            lacks = f" or lacks the permission {self.permission}" if self.permission else ""
            raise Problem(
                403,
                "permission-missing",
                f"The session's user is not staff{lacks}.",
                "Use a token, or ask the operator for the permission.",
            )
        return Caller(user.get_username(), frozenset({Scope.READ}))


TOKEN = BearerToken()


def may_still_read(request: HttpRequest, permission: str) -> bool:
    """Tell whether the sender of a request that has been let in would be let in now. For answers that take long.

    Any thread may ask: the session and its user are read again.
    """
    try:
        if "Authorization" in request.headers:
            return TOKEN(request) is not None
        again = HttpRequest()
        again.session = type(request.session)(request.session.session_key)
        again.user = get_user(again)
        return StaffSession(permission)(again) is not None
    except Problem:
        return False


def readers(permission: str) -> list[Callable[[HttpRequest], Any]]:
    """Return who may use a route that reads: a token, or a staff session with a permission such as ``view_project``.

    Writing routes need no argument ``auth``: the default is a token.
    """
    return [TOKEN, StaffSession(permission)]


def require(request: HttpRequest, checks: Iterable[Callable[[HttpRequest], Any]]) -> None:
    """Check access as ninja does, for a view that is none of its operations.

    Raises:
        Problem: the request has no access.
    """
    if not any(check(request) for check in checks):
        raise unauthorized()


# The tokens that were looked up in the last second, by digest.
_remembered: dict[str, tuple[float, Caller]] = {}


def caller_of(token: str) -> Caller | None:
    """Return whose token it is, None for one that is not in use."""
    if not token or len(token) > LONGEST_TOKEN:
        return None
    digest, now = digest_of(token), time.monotonic()
    until, caller = _remembered.get(digest, (0.0, None))
    if caller is None or until <= now:
        caller = _look_up(digest)
        if caller is None:
            _remembered.pop(digest, None)
        else:
            _remembered[digest] = now + SECONDS_REMEMBERED, caller
    return caller


def _look_up(digest: str) -> Caller | None:
    token = ApiToken.objects.in_use().filter(digest=digest).first()
    if token is None:
        return None
    now = timezone.now()
    if token.last_seen_at is None or token.last_seen_at < now - LAST_SEEN_EVERY:
        ApiToken.objects.filter(pk=token.pk).update(last_seen_at=now)
    return Caller(token.name, frozenset(token.scopes))


def forget_tokens() -> None:
    """Look each token up again at its next use."""
    _remembered.clear()
