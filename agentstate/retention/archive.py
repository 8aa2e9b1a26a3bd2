"""Archives: what a pruning deletes, as gzip-compressed JSON lines.

The first line is the manifest. Each further line is ``{"run": row, "sessions": [ids], "documents": [ids]}`` or
``{"event": row}``; a run comes before its events. Rows are PostgreSQL's own JSON text, so numbers keep their digits.
The ids are those of the sessions and documents that named the run. A run's ``"json_null"`` names the columns that hold
JSON null; a null in its row is SQL NULL otherwise.

Each batch is a gzip member of its own and is on the disk before the batch's transaction commits. A process killed
in between leaves lines of rows that are still in the database.
"""

from __future__ import annotations

import gzip
import json
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from django.db import connection
from django.utils import timezone

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path
    from typing import BinaryIO

    from agentstate.retention.options import PruneOptions

FORMAT = 1
TABLES = {"run": "AgentWorkflowRun", "event": "AgentWorkflowRunEvent"}
# Tables with rows that name a run, their column, and the key of their ids in the run's line.
LINKS = (("AgentSession", "agent_run_id", "sessions"), ("AgentDocument", "run_id", "documents"))

_LINKED = "".join(
    f"""
        || ',"{key}":' || coalesce((
            SELECT json_agg(id ORDER BY id)::text FROM "{table}" WHERE {column} = run.id), '[]')"""
    for table, column, key in LINKS
)
# The columns of jsonb that may be SQL NULL. In a row's JSON that looks like JSON null.
NULLABLE_JSON = ("input", "result", "usage")
_JSON_NULL = f"""
        || ',"json_null":' || coalesce((
            SELECT json_agg(name)::text
            FROM (VALUES {", ".join(f"('{name}', run.{name})" for name in NULLABLE_JSON)}) each (name, value)
            WHERE jsonb_typeof(value) = 'null'), '[]')"""
_RUNS = f"""
    SELECT '{{"run":' || row_to_json(run)::text{_LINKED}{_JSON_NULL} || '}}'
    FROM "AgentWorkflowRun" run WHERE id = ANY (%(runs)s::text[]) ORDER BY id"""
_EVENTS = """
    SELECT '{{"event":' || row_to_json(event)::text || '}}' FROM "AgentWorkflowRunEvent" event
    WHERE run_id = ANY (%(runs)s::text[]) AND {condition} ORDER BY run_id, created_at"""


class Archive:
    """An archive that a pruning writes to."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self.path = path
        self._file = file

    def add(self, runs: list[str], *, with_runs: bool, condition: str) -> None:
        """Write these runs and those of their events that meet a condition. On the disk when this returns.

        Call it in the transaction that deletes them.
        """
        queries = [_RUNS] if with_runs else []
        self.write(
            line for query in (*queries, _EVENTS.format(condition=condition)) for line in _lines(query, {"runs": runs})
        )

    def write(self, lines: Iterable[str]) -> None:
        """Append lines as one gzip member."""
        with gzip.GzipFile(fileobj=self._file, mode="wb") as member:
            for line in lines:
                member.write(line.encode() + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())


@contextmanager
def new_archive(options: PruneOptions) -> Iterator[Archive | None]:
    """Create an archive in the folder that the options name, None if they name none.

    Raises:
        OSError: the folder cannot be written to.
    """
    if options.archive is None:
        yield None
        return
    now = timezone.now()
    options.archive.mkdir(parents=True, exist_ok=True)
    path = options.archive / f"agentkit-{now:%Y%m%dT%H%M%S.%fZ}.jsonl.gz"
    with path.open("xb") as file:
        archive = Archive(path, file)
        archive.write([json.dumps({"agentstate_archive": FORMAT, "made_at": now.isoformat(), **_content(options)})])
        yield archive


def _content(options: PruneOptions) -> dict[str, Any]:
    with connection.cursor() as cursor:
        introspection = connection.introspection
        columns = {
            table: [column.name for column in introspection.get_table_description(cursor, table)]
            for table in TABLES.values()
        }
    return {"options": options.as_json(), "columns": columns}


def _lines(query: str, parameters: dict[str, Any]) -> Iterator[str]:
    # On the server's side: a batch can have millions of events.
    with connection.chunked_cursor() as cursor:
        cursor.execute(query, parameters)
        for (line,) in cursor:
            yield line
