"""Print what the intake finds in the labelled bundle: recall, precision, every miss and every false alarm by name."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.intake_labels import Measured, labelled_bundle, measure, worked_out


def main() -> int:
    folder = labelled_bundle()
    if folder is None:
        print("There is no labelled bundle: shared/data/rfp/fedramp-dashboard beside the checkout.", file=sys.stderr)  # noqa: T201
        return 1
    worked = worked_out(folder)
    console = Console(highlight=False)
    console.print(table(measure(worked.conflict_log, folder)))
    console.print(f"deadline {worked.rfp_norm['meta'].get('deadline')}")
    for limit in worked.rfp_norm["submission"].get("page_limits", []):
        console.print(f"{limit['doc']}: {limit['limit']} {limit['unit']}")
    console.print("criteria: " + "; ".join(one["criterion"] for one in worked.rfp_norm.get("scoring", [])))
    return 0


def table(measured: Measured) -> Table:
    """Return the figures, then what was missed and what was reported wrongly."""
    shown = Table("measure", "value", "of what", title="Conflict log against the labels")
    facts = len(measured.hit) + len(measured.missed)
    entries = len(measured.right) + len(measured.wrong)
    shown.add_row("recall", f"{measured.recall:.3f}", f"{len(measured.hit)} of {facts} distinct core facts")
    counted = measured.counted_of - len(measured.counted)
    shown.add_row("", f"{counted}", f"of {measured.counted_of} limits, dates, eligibility and scoring items")
    shown.add_row("precision", f"{measured.precision:.3f}", f"{len(measured.right)} of {entries} entries")
    for name, lines in (
        ("missed", (" ".join(fact) for fact in measured.missed)),
        ("false alarm", map(_named, measured.wrong)),
        ("noise", (f"{place} ← {key}" for place, key in measured.noise)),
    ):
        for line in _or_none(lines):
            shown.add_row(name, "", line)
    return shown


def _or_none(lines: Iterable[str]) -> Iterator[str]:
    shown = list(lines)
    yield from shown or ["none"]


def _named(entry: dict[str, Any]) -> str:
    sides = " → ".join(repr(entry[side]["value"][:60]) if entry[side] else "nothing" for side in ("previous", "next"))
    return f"{entry['type']} {entry['key']} ({entry['change']}): {sides}"


if __name__ == "__main__":
    sys.exit(main())
