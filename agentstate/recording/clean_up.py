"""Clean up after an error: it takes precedence over whatever fails while its run is ended."""

from __future__ import annotations

import contextlib
import logging
import os
import traceback
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from django.db import InterfaceError, OperationalError, connection

import agentstate
from agentstate.models.runs import IllegalStatusChange
from agentstate.recording.errors import RunFinished
from agentstate.recording.storable import described, storable_text

if TYPE_CHECKING:
    from collections.abc import Iterator

logger = logging.getLogger(__name__)

FRAMES = 6
# Code that stands between a block and its body in a traceback, and says nothing about the error.
_PACKAGE = Path(agentstate.__file__).parent
_PLUMBING = (
    *(f"{_PACKAGE / name}{os.sep}" for name in ("recording", "integrations")),
    *(str(_PACKAGE / name) for name in ("enclosing.py", "isolation.py", "threads.py")),
    contextlib.__file__,
)


@contextmanager
def logged(run_id: str) -> Iterator[None]:
    """Log errors during clean-up; the block's own exception takes precedence."""
    try:
        yield
    except (IllegalStatusChange, RunFinished) as refusal:
        logger.warning("The end of run %s was not recorded: %s", run_id, refusal)
    except (InterfaceError, OperationalError) as failure:
        logger.error(
            "The end of run %s could not be recorded: %s. close_stale_runs closes it.", run_id, cause(failure)
        )
    except Exception:
        logger.exception("The end of run %s could not be recorded", run_id)


def cause(failure: InterfaceError | OperationalError) -> str:
    """Return the first line of what the database said."""
    return str(failure).strip().partition("\n")[0]


def drop_broken_connection() -> None:
    """Close a connection that is lost, or that an interruption left with a running statement. Django opens another.

    Inside a transaction it stays: a statement on another connection would not be part of it.
    """
    if connection.connection is not None and connection.get_autocommit() and not connection.is_usable():
        connection.close()


def with_traceback(error: BaseException) -> str:
    """Return an error's text, followed by the last frames of its traceback, without those of recording itself."""
    stack = traceback.extract_tb(error.__traceback__)
    outside = [frame for frame in stack if not frame.filename.startswith(_PLUMBING)]
    frames = storable_text("".join(traceback.format_list((outside or list(stack))[-FRAMES:])))
    return f"{described(error)}\n\nTraceback (at most the last {FRAMES} frames):\n{frames}".rstrip()
