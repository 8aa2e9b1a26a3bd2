"""The statements in docs/sql/ are those that the code sends."""

from __future__ import annotations

from scripts.write_sql import FOLDER, files


def test_the_files_are_up_to_date() -> None:
    written = {path.name: path.read_text() for path in FOLDER.iterdir()}
    assert written == files(), "run make sql"
