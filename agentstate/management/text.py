"""Text and tables for a terminal."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from typing import Any, TextIO, cast

from django.core.management.base import OutputWrapper
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

WIDE = 200


def stream_of(output: OutputWrapper) -> TextIO:
    """Return the stream below a command's output, which adds no line break to a write."""
    return cast("TextIO", output._out)


def counted(count: int, noun: str) -> str:
    """Return a count with its noun: ``1 run``, ``2,000 runs``."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def named(count: int, ids: Sequence[str]) -> str:
    """Return the first ids of a list that is ``count`` long, each quoted for a shell."""
    return ", ".join(map(shlex.quote, ids)) + (", …" if count > len(ids) else "")


def print_table(stream: TextIO, title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Print a table below its title. Integers are right-aligned, and no cell is read as markup."""
    rows = list(rows)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for place, column in enumerate(columns):
        numbers = bool(rows) and all(isinstance(row[place], int) for row in rows)
        table.add_column(Text(column), justify="right" if numbers else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(f"{cell:,}" if isinstance(cell, int) else str(cell)) for cell in row))
    stream.write(f"{title}\n")
    # A file or a pipe has no width. Wide enough that ids are not wrapped and can be searched for.
    Console(file=stream, highlight=False, width=None if stream.isatty() else WIDE).print(table)
