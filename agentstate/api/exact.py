"""Bodies in JSON whose numbers keep all their digits, in and out."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.http import HttpResponse
from ninja.parser import Parser
from ninja.renderers import BaseRenderer

from agentstate.api import limits
from agentstate.api.problems import Problem, too_large
from agentstate.state.documents import as_text, decode

if TYPE_CHECKING:
    from django.http import HttpRequest

JSON = "application/json"
# A string, which may contain brackets, or a bracket.
_BRACKET = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|([\[{])|[\]}]', re.DOTALL)


class ExactParser(Parser):
    """Parses a body as :func:`agentstate.state.documents.decode` parses a document: no number is rounded."""

    def parse_body(self, request: HttpRequest) -> Any:
        if request.content_type != JSON:
            raise Problem(
                415,
                "unsupported-media-type",
                f"The body is {request.content_type or 'of no stated type'}, and this route takes {JSON}.",
                f"Send JSON with the header Content-Type: {JSON}.",
            )
        most = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
        if most is not None and len(request.body) > most:  # Django has checked the length that the client stated
            raise too_large()
        try:
            text = request.body.decode()
        except UnicodeDecodeError as error:
            raise _not_json(f"byte {error.start} is not UTF-8") from None
        _refuse_depth(text)
        try:
            return decode(text)
        except (ValueError, ArithmeticError) as error:  # the latter for an exponent beyond that of any number
            raise _not_json(str(error) if isinstance(error, ValueError) else "a number is out of range") from None


class ExactRenderer(BaseRenderer):
    """Prints what a route returns with all digits of its numbers."""

    media_type = JSON

    def render(self, request: HttpRequest, data: Any, *, response_status: int) -> str:
        return as_text(data)


def answer(document: Any, status: int = 200) -> HttpResponse:
    """Return a document as a JSON response. Unlike what ninja makes of a schema, it may be nested to any depth."""
    return HttpResponse(as_text(document), status=status, content_type=JSON)


def moment(at: datetime | None) -> str | None:
    """Return a time as text in UTC, to the microsecond."""
    return None if at is None else at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _not_json(fact: str) -> Problem:
    return Problem(400, "not-json", f"The body is not valid JSON: {fact}.", "Send valid JSON.")


def _refuse_depth(text: str) -> None:
    """Refuse a body that is nested too deeply, before it is parsed."""
    most, depth = limits.JSON_DEPTH.value, 0
    if text.count("[") + text.count("{") <= most:
        return
    for bracket in _BRACKET.finditer(text):
        if bracket[1]:
            depth += 1
        elif bracket[0] in "]}":
            depth -= 1
        if depth > most:
            raise Problem(
                422,
                "too-deep",
                f"The body is nested more than {most} levels deep.",
                f"Send a flatter document. The operator can raise {limits.JSON_DEPTH.name}.",
            )
