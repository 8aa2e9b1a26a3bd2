"""Limits of the HTTP API: settings of the host, each with a safe default.

The size of a body that is no upload is Django's ``DATA_UPLOAD_MAX_MEMORY_SIZE``.
"""

from __future__ import annotations

from typing import NamedTuple

from django.conf import settings


class Limit(NamedTuple):
    """A positive integer that a host may set."""

    name: str
    default: int
    most: int

    @property
    def value(self) -> int:
        return int(getattr(settings, self.name, self.default))


# Brackets within brackets in a body. The recorder marks what is deeper than 500 levels.
JSON_DEPTH = Limit("AGENTSTATE_API_JSON_DEPTH", 100, most=500)
EVENTS = Limit("AGENTSTATE_API_EVENTS", 1_000, most=100_000)  # or entries of a transcript, in one request
STREAMS = Limit("AGENTSTATE_API_STREAMS", 500, most=100_000)  # open at once in one process
# Of an upload of documents. A server reads all of a request before Django sees it: limit its size there, too.
FILES = Limit("AGENTSTATE_API_FILES", 20, most=1_000)
FILE_BYTES = Limit("AGENTSTATE_API_FILE_BYTES", 20 * 1024 * 1024, most=50 * 1024 * 1024)  # what an intake reads
UPLOAD_BYTES = Limit("AGENTSTATE_API_UPLOAD_BYTES", 100 * 1024 * 1024, most=2**31)

LIMITS = (JSON_DEPTH, EVENTS, STREAMS, FILES, FILE_BYTES, UPLOAD_BYTES)
