"""The criteria by which proposals are scored, with their weights where they are stated."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from agentstate.intake.holding import Held
from agentstate.intake.layout import HEAD, ITEM, ROW
from agentstate.intake.quantities import quantities

_LEAD = re.compile(
    r"(?:evaluat|scor|assess|review|judg|rat|rank|select)\w*\b.{0,200}\b(?:following|below|these"
    r"|equal(?:ly)?)\b.{0,120}(?:criteri|factors?|basis|importan|weight)"
    r"|(?:criteri\w*|factors?)\b.{0,80}\b(?:follow|are|include|:)|(?:criteria|factors|scored as follows"
    r"|weighted as follows)\s*:?\s*$",
    re.IGNORECASE,
)
_TITLE = re.compile(
    r"\bcriteri|\bscoring\b|^\W*evaluation\W*$|\b(?:evaluation|selection|award) factors?\b|\breview\b"
    r"|\bhow (?:we|proposals|applications) .*(?:score|assess|evaluate)",
    re.IGNORECASE,
)
_NOT_THESE = re.compile(r"eligib|exclusion|selection criteria of|minimum|compliance", re.IGNORECASE)
_WEIGHTED = re.compile(
    r"(?P<name>[A-Za-z][A-Za-z&/,’' -]{2,70}?)\s*[(:–-]*\s*(?P<weight>\d{1,3}(?:\.\d+)?)\s?(?:%|points?|marks?|pts)\)?"
)


def criteria_of(held: Sequence[Held]) -> list[dict[str, Any]]:
    """Return the criteria: a list that follows a sentence about them, else a table, else weighted lines."""
    for way in (_listed, _tabled, _in_lines):
        found = _once(way(held))
        if len(found) > 1:
            return found
    return []


def _listed(held: Sequence[Held]) -> Iterator[dict[str, Any]]:
    for place, one in enumerate(held):
        statement = one.statement
        if statement.is_heading or not _LEAD.search(statement.text) or _NOT_THESE.search(statement.title):
            continue
        items: list[Held] = []
        for other in held[place + 1 :]:
            if other.statement.kind != ITEM or other.paper is not one.paper:
                break
            if not items or other.statement.block != items[-1].statement.block:
                items.append(other)
        found = [criterion for item in items if (criterion := _criterion(item.statement.text, item))]
        if len(found) > 1:
            yield from found
            return


def _tabled(held: Sequence[Held]) -> Iterator[dict[str, Any]]:
    head: str | None = None
    section: tuple[str, ...] = ()
    for one in held:
        statement = one.statement
        if statement.kind == HEAD:
            head, section = statement.text, statement.section
        elif statement.kind == ROW:
            about = f"{head or ''} {statement.title}" if statement.section == section else statement.title
            if re.search(r"criteri|factor|weight|points|score", about, re.IGNORECASE) and not _NOT_THESE.search(
                statement.title
            ):
                cells = statement.text.split(" | ")
                weights = [
                    cell
                    for cell in cells[1:]
                    if re.fullmatch(r"\d{1,3}(?:\.\d+)?\s?(?:%|points?|marks?)?", cell.strip())
                ]
                if weights and not re.match(r"(?i)total|criteri", cells[0]):
                    yield _entry(cells[0], weights[-1], one)


def _in_lines(held: Sequence[Held]) -> Iterator[dict[str, Any]]:
    for one in held:
        if _TITLE.search(one.statement.title) and not one.statement.is_heading:
            for found in _WEIGHTED.finditer(one.statement.text):
                if not re.match(r"(?i)total|up to|maximum|minimum", found["name"].strip()):
                    yield _entry(found["name"], found["weight"], one)


def _criterion(text: str, item: Held) -> dict[str, Any] | None:
    name = re.split(r"\s*[(:]|\s[–-]\s|\.\s", text, maxsplit=1)[0].strip(" .;,")
    if not 1 <= len(name.split()) <= 14:
        return None
    weights = [one for one in quantities(text) if one.unit in {"points", "percent"}]
    return _entry(name, weights[0].number if weights else None, item)


def _entry(name: str, weight: str | None, item: Held) -> dict[str, Any]:
    entry: dict[str, Any] = {"criterion": " ".join(name.strip(" .;,:").split())}
    if weight is not None:
        number = float(re.sub(r"[^\d.]", "", weight))
        entry["weight"] = int(number) if number.is_integer() else number
    entry["provenance"] = item.provenance()
    return entry


def _once(found: Iterator[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return each criterion once: what is said last counts, in the place where it was said first."""
    by_name: dict[str, dict[str, Any]] = {}
    for entry in found:
        by_name[entry["criterion"].casefold()] = entry
    return list(by_name.values())
