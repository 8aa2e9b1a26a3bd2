"""What the commands of the intake share."""

from __future__ import annotations

from argparse import ArgumentTypeError
from collections.abc import Iterator
from contextlib import contextmanager

from django.core.management.base import CommandError

from agentstate.management.errors import operator_errors
from agentstate.state import StateError

NEEDS_EXTRA = 'The libraries that read documents are missing ({}). Install them: pip install "agentstate[intake]".'


def storable_text(text: str) -> str:
    """Parse an argument that the database can store: bytes that are not UTF-8 reach Python as lone surrogates."""
    if "\x00" in text or text.encode("utf-8", "replace").decode() != text:
        raise ArgumentTypeError(f"{text!r} has characters that cannot be stored: use UTF-8")
    return text


@contextmanager
def intake_errors() -> Iterator[None]:
    """Turn what an operator can fix into a ``CommandError``, the missing extra among it.

    Raises:
        CommandError: the thing, the fact and the way out.
    """
    try:
        with operator_errors():
            yield
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("agentstate"):
            raise
        raise CommandError(NEEDS_EXTRA.format(error.name)) from error
    except StateError as error:
        raise CommandError(str(error)) from error
