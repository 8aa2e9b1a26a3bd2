"""Load an archive: put back the rows that a pruning deleted, exactly as they were."""

from __future__ import annotations

import gzip
import json
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.db import connection

from agentstate.backfill.transactions import BY_INDEX, pass_transaction
from agentstate.retention.archive import FORMAT, NULLABLE_JSON, TABLES
from agentstate.retention.selection import MARKER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path
    from typing import BinaryIO

    from django.db.backends.utils import CursorWrapper

BATCH_LINES = 1000
BATCH_CHARACTERS = 8_000_000

# The columns that both the archive and the table have are loaded. A project that was deleted since leaves its runs as
# orphans, as a plain DELETE does. Rows that are there already stay as they are.
_RUNS = """
    INSERT INTO "AgentWorkflowRun" ({columns})
    SELECT {values} FROM unnest(%(lines)s::json[]) line (value)
    CROSS JOIN LATERAL json_populate_record(NULL::"AgentWorkflowRun", line.value -> 'run') loaded
    ON CONFLICT DO NOTHING"""
# The value of a column in place of the one that was loaded. A payload is never SQL NULL.
_VALUES = {
    "project_id": '(SELECT id FROM "Project" WHERE id = loaded.project_id)',
    "payload": "coalesce(loaded.payload, 'null')",
    **{
        name: f"CASE WHEN (line.value -> 'json_null')::jsonb ? '{name}' THEN 'null' ELSE loaded.{name} END"
        for name in NULLABLE_JSON
    },
}
_EVENTS = """
    INSERT INTO "AgentWorkflowRunEvent" ({columns})
    SELECT {values} FROM unnest(%(lines)s::json[]) line (value)
    CROSS JOIN LATERAL json_populate_record(NULL::"AgentWorkflowRunEvent", line.value -> 'event') loaded
    WHERE EXISTS (SELECT FROM "AgentWorkflowRun" run WHERE run.id = loaded.run_id)
    ON CONFLICT DO NOTHING"""
_UNMARK = f"""
    DELETE FROM "AgentWorkflowRunEvent" WHERE type = '{MARKER}' AND run_id IN (
        SELECT line.value -> 'event' ->> 'run_id' FROM unnest(%(lines)s::json[]) line (value))"""
# Deleting the run set these to NULL. A row that names another run by now keeps it.
_LINKS = """
    UPDATE "{table}" linked SET {column} = run.id
    FROM unnest(%(lines)s::json[]) line (value)
    CROSS JOIN LATERAL json_array_elements_text(line.value -> '{key}') link (id)
    JOIN "AgentWorkflowRun" run ON run.id = line.value -> 'run' ->> 'id'
    WHERE linked.id = link.id AND linked.{column} IS NULL"""


class BrokenArchive(Exception):
    """The file is no archive, or of another version of agentstate, or damaged. The text says which."""


@dataclass
class Loaded:
    """What was loaded from an archive.

    Attributes:
        runs, events: how many rows were put back.
        present: how many rows were there already, or have no run to belong to.
        cut_short: the file ends in the middle of a batch. The pruning was killed then, so the rows of that batch were
            never deleted.
    """

    runs: int = 0
    events: int = 0
    present: int = 0
    cut_short: bool = False


def load_archive(path: Path, *, progress: Callable[[Loaded], None] = lambda _: None) -> Loaded:
    """Put back what an archive holds. Repeatable: rows that are there already are skipped.

    Args:
        progress: called after each batch.

    Raises:
        BrokenArchive: the file cannot be read as an archive.
        OSError: the file cannot be read.
    """
    loaded = Loaded()
    with path.open("rb") as file:
        lines = _lines(file, loaded)
        columns = _columns(next(lines, ""), path)
        for batch in _batches(lines):
            _load(batch, columns, loaded)
            progress(loaded)
    return loaded


def _lines(file: BinaryIO, loaded: Loaded) -> Iterator[str]:
    """Return the lines of all gzip members. The last member of a killed pruning is cut short."""
    try:
        with gzip.open(file, "rt", encoding="utf-8") as text:
            yield from text
    except EOFError:
        loaded.cut_short = True
    except (gzip.BadGzipFile, zlib.error, UnicodeDecodeError) as error:
        raise BrokenArchive(f"The file is damaged, or no gzip file: {error}.") from error


def _columns(line: str, path: Path) -> dict[str, list[str]]:
    """Return the columns that each table had, from the manifest."""
    try:
        manifest = json.loads(line)
        version, columns = manifest["agentstate_archive"], manifest["columns"]
    except (ValueError, KeyError, TypeError):
        raise BrokenArchive(f"{path} does not begin with the manifest of an archive of agentstate.") from None
    if version != FORMAT:
        raise BrokenArchive(f"{path} has the format {version}, and this version of agentstate reads {FORMAT}.")
    return {table: list(columns[table]) for table in TABLES.values()}


def _batches(lines: Iterable[str]) -> Iterator[list[str]]:
    batch: list[str] = []
    size = 0
    for line in lines:
        if batch and (len(batch) == BATCH_LINES or size + len(line) > BATCH_CHARACTERS):
            yield batch
            batch, size = [], 0
        batch.append(line)
        size += len(line)
    if batch:
        yield batch


def _load(batch: list[str], columns: dict[str, list[str]], loaded: Loaded) -> None:
    runs = {"lines": [line for line in batch if line.startswith('{"run":')]}
    events = {"lines": [line for line in batch if line.startswith('{"event":')]}
    with pass_transaction(BY_INDEX) as cursor:
        new_runs = _insert(cursor, _RUNS, "AgentWorkflowRun", columns, runs)
        for table, column, key in (
            ("AgentSession", "agent_run_id", "sessions"),
            ("AgentDocument", "run_id", "documents"),
        ):
            cursor.execute(_LINKS.format(table=table, column=column, key=key), runs)
        cursor.execute(_UNMARK, events)
        new_events = _insert(cursor, _EVENTS, "AgentWorkflowRunEvent", columns, events)
    loaded.runs += new_runs
    loaded.events += new_events
    loaded.present += len(batch) - new_runs - new_events


def _insert(
    cursor: CursorWrapper, statement: str, table: str, columns: dict[str, list[str]], lines: dict[str, list[str]]
) -> int:
    now = {column.name for column in connection.introspection.get_table_description(cursor, table)}
    both = [name for name in columns[table] if name in now]
    values = [_VALUES.get(name, f'loaded."{name}"') for name in both]
    names = ", ".join(f'"{name}"' for name in both)
    cursor.execute(statement.format(columns=names, values=", ".join(values)), lines)
    return int(cursor.rowcount)
