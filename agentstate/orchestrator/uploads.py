"""The texts that the legacy application kept in its own table ``"Upload"``."""

from __future__ import annotations

from django.db import connection

from agentstate.intake.reading import ReadFile, storable
from agentstate.intake.state import sha256_of

_COLUMNS = ("id", "projectId", "filename", "text")


class UploadsUnreadable(Exception):
    """The database has no table ``"Upload"`` of the legacy application, or one of another shape."""


def uploads_of(project_id: str) -> list[ReadFile]:
    """Return the uploads of a project, by name. One without text has an error.

    Raises:
        UploadsUnreadable: the table or one of its columns is missing.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT coalesce(array_agg(attname::text), '{}') FROM pg_attribute
            WHERE attrelid = to_regclass('"Upload"') AND attnum > 0 AND NOT attisdropped
            """
        )
        (columns,) = cursor.fetchone()
        if not columns:
            raise UploadsUnreadable('This database has no table "Upload". Name files instead of --uploads.')
        if missing := [name for name in _COLUMNS if name not in columns]:
            raise UploadsUnreadable(f'"Upload" has no column "{missing[0]}". Name files instead of --uploads.')
        cursor.execute(
            'SELECT coalesce(filename, id::text), text FROM "Upload" WHERE "projectId" = %s ORDER BY 1, id',
            [project_id],
        )
        return [_as_file(name, text) for name, text in cursor.fetchall()]


def _as_file(name: str, text: str | None) -> ReadFile:
    kept = storable(text or "")
    if not kept.strip():
        return ReadFile(name, sha256_of(""), 0, error="The upload has no text.")
    return ReadFile(name, sha256_of(kept), len(kept.encode()), kept)
