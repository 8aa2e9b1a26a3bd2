"""Short ways from texts to a conflict log."""

from __future__ import annotations

from typing import Any

from agentstate.intake.documents import Document
from agentstate.intake.state import Stored, WorkedOut, work_out_state


def intake(*documents: tuple[str, str], stored: Stored | None = None) -> WorkedOut:
    """Work out the state of documents, each a name and a text."""
    return work_out_state([Document(name, name, text) for name, text in documents], stored)


def versions(*texts: str) -> WorkedOut:
    """Work out the state of successive versions of one call, with enough around each to be one."""
    return intake(*((f"Call_v{number}.md", called(text)) for number, text in enumerate(texts, 1)))


def called(text: str) -> str:
    return f"{HEAD}\n\n{text}\n\n{FOOT}"


def values(worked: WorkedOut) -> list[tuple[str | None, str | None]]:
    """Return the two values of each entry."""
    return [(_value(entry["previous"]), _value(entry["next"])) for entry in worked.conflict_log]


def _value(side: dict[str, Any] | None) -> str | None:
    return side["value"] if side else None


HEAD = """# Request for Proposals: Harbour Lights

## Background

The Harbour Lights Trust looks after old lighthouses along the coast and opens them to visitors every summer. Its
volunteers keep the lamps burning and the paths clear. The trust now seeks a partner for a travelling exhibition.

## Scope

The partner will design the exhibition, build it, and move it between eight harbours during two seasons. Schools in
each town take part, and their work is shown beside the historic objects. The trust provides the objects and the keys.

## Rules"""

FOOT = """## Closing words

The trust thanks everybody who takes the time to respond. Nothing in this document obliges the trust to award a
contract. Visits to the lighthouses can be arranged on weekdays with the keeper of each harbour."""
