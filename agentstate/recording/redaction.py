"""Make payloads storable, and let the host's function redact them first: the one place that both pass through.

``AGENTSTATE_REDACT = "dotted.path"`` names a function ``(kind, payload) -> payload``. It gets what would be stored:
plain JSON of its own, which it may change, with the marks of :mod:`agentstate.recording.storable`. ``kind`` is the
event's type, or ``run.input``, ``run.output``, ``run.error`` (text) and ``run.<name>`` of another member of a run's
result. It may be called from any thread.

If the function fails, nothing of the payload is stored, and the run goes on.
"""

from __future__ import annotations

import json
import logging
import traceback
from typing import TYPE_CHECKING, Any, cast

from django.conf import settings
from django.utils.module_loading import import_string

from agentstate.recording.storable import MARK, storable, storable_members, storable_text
from agentstate.state.documents import decode

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger(__name__)

NOT_STORED = {MARK: "redaction", "value": None}
ERROR_NOT_STORED = "The error's text is not stored, since AGENTSTATE_REDACT failed on it."


def stored(kind: str, value: object) -> str:
    """Return the JSON text to store of a payload. Never raises.

    Of a tool's call, a member that is too large is cut by itself.
    """
    is_call = kind.startswith("tool.") and type(value) is dict
    text = storable_members(cast("dict[str, object]", value)) if is_call else storable(value)
    if _path() is None:
        return text
    try:
        return storable(_redact(kind, decode(text)), keeps_marks=True)
    except Exception as error:
        _log(kind, error)
        return json.dumps(NOT_STORED)


def stored_error(text: str) -> str:
    """Return the text to store of an error that ended a run. Never raises."""
    if _path() is None:
        return text
    try:
        return storable_text(str(_redact("run.error", text)))
    except Exception as error:
        _log("run.error", error)
        return ERROR_NOT_STORED


def function_at(path: str) -> Callable[[str, Any], Any]:
    """Return the function that ``AGENTSTATE_REDACT`` names.

    Raises:
        ImportError: there is none.
    """
    function = import_string(path)
    if not callable(function):
        raise ImportError(f"{path} is a {type(function).__name__}, not a function.")
    return cast("Callable[[str, Any], Any]", function)


def _path() -> Any:
    return getattr(settings, "AGENTSTATE_REDACT", None)


def _redact(kind: str, payload: Any) -> Any:
    return function_at(_path())(kind, payload)


def _log(kind: str, error: Exception) -> None:
    """Log where it failed. The error's text may hold what was to be redacted."""
    place = traceback.extract_tb(error.__traceback__)[-1]
    logger.error(
        "AGENTSTATE_REDACT failed on %s, which is not stored: %s in %s, line %s",
        kind,
        type(error).__qualname__,
        place.filename,
        place.lineno,
    )
