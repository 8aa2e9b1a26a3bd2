"""Write the statements of ``load``, ``save`` and the passes to ``docs/sql/``: ``make sql``.

Each file shows what the server gets, with psycopg's placeholders, so that a change of a piece shows as a diff of every
statement that it is part of. A test keeps the files up to date.
"""

from __future__ import annotations

import os
import re
import sys
import textwrap
from pathlib import Path
from typing import Any

import django

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "docs" / "sql"

WIDTH = 119
_OPENING, _CLOSING = re.compile(r"\(|\bCASE\b"), re.compile(r"\)|\bEND\b")
_QUOTED = re.compile(r"'(?:[^']|'')*'|\"[^\"]*\"")


class _Recorder:
    """A cursor that keeps the statements that it is given, and finds nothing."""

    rowcount = 0

    def __init__(self) -> None:
        self.statements: list[str] = []

    def execute(self, sql: str, parameters: object = None) -> None:
        self.statements.append(sql)

    def fetchone(self) -> tuple[int, int]:
        return 0, 0

    def fetchall(self) -> list[Any]:
        return []


def files() -> dict[str, str]:
    """Return the content of each file by its name."""
    return {
        f"{name}.sql": "\n".join(f"-- {title}\n{indented(sql)};\n" for title, sql in statements)
        for name, statements in _statements().items()
    }


def _statements() -> dict[str, list[tuple[str, str]]]:
    from agentstate.backfill.chats import MakeSessions
    from agentstate.backfill.forward import AdoptOrphans, TakeIn
    from agentstate.backfill.options import PassOptions
    from agentstate.backfill.reverse import FillColumns
    from agentstate.backfill.settle import Settle
    from agentstate.models.passes import Direction
    from agentstate.state import filling, loading, merging, restoring, save_statements
    from agentstate.state.history import AT, HISTORY
    from agentstate.state.keys import STATE_KEYS

    forward = PassOptions(Direction.FORWARD)

    def moved(step: type[Any]) -> list[str]:
        recorder = _Recorder()
        step(forward).move(recorder, {})
        return recorder.statements

    def locked(step: type[Any]) -> str:
        recorder = _Recorder()
        step(forward).lock(recorder, {})
        return recorder.statements[0]

    keys = tuple(key.name for key in STATE_KEYS)
    adopted, obstructed = moved(AdoptOrphans)
    return {
        "load": [
            ("Read the newest snapshot, where the AgentKit home is asked", loading.LOAD_SNAPSHOT.sql),
            ("Read a state, where that cannot answer or is not asked", loading.LOAD.sql),
            ("Read a state with agentkit_shadow_reads", loading.LOAD_SHADOWED.sql),
            ("Read states of several projects", loading.LOAD_MANY),
            ("Read the columns, after an error of the others", loading.LOAD_LEGACY),
        ],
        "save": [
            ("Lock the project", save_statements.LOCK_PROJECT.sql),
            ("Lock the given run", save_statements.LOCK_RUN.sql),
            ("Read the standing, and what changes in the AgentKit home", save_statements.LOOK_AT_SNAPSHOT.sql),
            ("The same if only the columns are written", save_statements.LOOK_AT_COLUMNS.sql),
            ("Take in columns that are ahead", save_statements.TAKE_IN_COLUMNS),
            ("Read the standing after that, or after a merge", save_statements.READ_STANDING),
            ("Write a new run with the snapshot, and the events", save_statements.WRITE_NEW_RUN.sql),
            ("The same on the given run", save_statements.WRITE_GIVEN_RUN.sql),
            ("Write the columns beside the snapshot", save_statements.update_columns(keys, in_sync=True).sql),
            ("Write the columns alone", save_statements.update_columns(keys, in_sync=False).sql),
        ],
        "history": [("Rebuild the state at a moment", AT), ("List the moments", HISTORY)],
        "forward": [
            ("Take in a batch", moved(TakeIn)[0]),
            ("Adopt orphaned runs of the same content", adopted),
            ("Name the projects that other content obstructs", obstructed),
        ],
        "settle": [("Lock a batch", locked(Settle)), ("Merge forks, take in under new clocks", merging.SETTLE)],
        "reverse": [("Lock a batch", locked(FillColumns)), ("Fill the columns", filling.FILL)],
        "restore": [("Restore", restoring.RESTORE)],
        "sessions": [("Make the sessions of a batch", moved(MakeSessions)[0])],
    }


def indented(sql: str) -> str:
    """Return a statement with its lines wrapped, and indented by what is open: parentheses and CASE."""
    lines, depth = [], 0
    for line in filter(None, map(str.strip, sql.splitlines())):
        bare = _QUOTED.sub("", line)
        closes_first = re.match(r"(\)|END\b)*", bare)
        indent = "    " * (depth - (len(_CLOSING.findall(closes_first[0])) if closes_first else 0))
        unbroken = _QUOTED.sub(lambda quoted: quoted[0].replace(" ", "\N{NO-BREAK SPACE}"), line)
        wrapped = textwrap.fill(
            unbroken,
            WIDTH,
            initial_indent=indent,
            subsequent_indent=f"{indent}    ",
            break_long_words=False,
            break_on_hyphens=False,
        )
        lines.append(wrapped.replace("\N{NO-BREAK SPACE}", " "))
        depth += len(_OPENING.findall(bare)) - len(_CLOSING.findall(bare))
    return "\n".join(lines)


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")
    django.setup()
    for name, text in files().items():
        (FOLDER / name).write_text(text)
