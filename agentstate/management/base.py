"""What all commands have in common: options by their whole names, and output whose reader may leave."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand

from agentstate.management.text import stream_of

if TYPE_CHECKING:
    from typing import TextIO

    from django.core.management.base import CommandParser


class OperatorCommand(BaseCommand):
    """A command whose work and exit code do not depend on whether its output is read to the end.

    ``… | head -1`` closes the pipe while a pass or a step may still be running. From then on the output is dropped.
    """

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        """Take options by their whole names only: forward would take ``--force`` for Django's ``--force-color``."""
        return super().create_parser(prog_name, subcommand, allow_abbrev=False, **kwargs)

    def run_from_argv(self, argv: list[str]) -> None:
        outputs = (self.stdout, self.stderr)
        for output in outputs:
            output._out = _DroppedIfUnread(stream_of(output))  # type: ignore[attr-defined]
        try:
            super().run_from_argv(argv)
        finally:
            for output in outputs:
                output.flush()


class _DroppedIfUnread:
    """A text stream that goes on, and writes to nowhere, once its pipe is closed at the other end."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except BrokenPipeError:
            self._drop()
            return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except BrokenPipeError:
            self._drop()

    def _drop(self) -> None:
        # Also what is still buffered, which Python writes when the process ends.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self._stream.fileno())
        os.close(nowhere)
