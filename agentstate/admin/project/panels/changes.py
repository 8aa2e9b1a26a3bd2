"""The changes between two moments of a project's state, in words for known shapes."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from agentstate.admin.project.panels.conflicts import Conflict, Provenance, conflicts
from agentstate.admin.project.panels.coverage import NO_STATUS, coverage, score_of
from agentstate.admin.project.panels.eligibility import Item, eligibility
from agentstate.admin.project.panels.reading import Odd, short_number
from agentstate.state.differences import Difference, differences
from agentstate.state.documents import ABSENT, as_text
from agentstate.state.keys import STATE_KEYS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from decimal import Decimal

    from agentstate.state.loading import Documents

    Words = Callable[[Any, Any], Iterable[str]]

PATHS, LINES = 5, 8


@dataclass(frozen=True)
class Change:
    """A document that changed.

    Attributes:
        key: its state key.
        verb: ``added``, ``removed`` or ``changed``.
        lines: what that means, in words; a bounded number of them.
        more_lines: how many were left out.
        paths: the first places at which the two documents differ.
        has_more_paths: there are others.
    """

    key: str
    verb: str
    lines: list[str]
    more_lines: int
    paths: list[Difference]
    has_more_paths: bool


def changes(before: Documents, after: Documents) -> list[Change]:
    """Return which of the five documents differ and how, in the order of the state keys."""
    pairs = ((key.name, getattr(before, key.attribute), getattr(after, key.attribute)) for key in STATE_KEYS)
    return [change for pair in pairs if (change := change_of(*pair)) is not None]


def change_of(key: str, before: Any, after: Any) -> Change | None:
    """Return how one document changed, None if it did not."""
    paths = list(islice(differences(before, after, key), PATHS + 1))
    if not paths:
        return None
    verb = "added" if before is ABSENT else "removed" if after is ABSENT else "changed"
    lines = list(_WORDS[key](before, after)) if key in _WORDS else []
    return Change(key, verb, lines[:LINES], len(lines[LINES:]), paths[:PATHS], len(paths) > PATHS)


def _coverage(before: Any, after: Any) -> Iterator[str]:
    was, now = score_of(before), score_of(after)
    if was != now:
        yield f"score {_score(was)} → {_score(now)}"
    earlier = {requirement.id: requirement for requirement in coverage(before).requirements}
    later = {requirement.id: requirement for requirement in coverage(after).requirements}
    for id_, requirement in later.items():
        if id_ not in earlier:
            yield f"new requirement {id_ or 'without an id'}: {requirement.status or NO_STATUS}"
        elif requirement.status != earlier[id_].status:
            yield f"{id_}: {earlier[id_].status or NO_STATUS} → {requirement.status or NO_STATUS}"
    yield from (f"requirement {id_ or 'without an id'} is gone" for id_ in earlier if id_ not in later)


def _score(score: Decimal | None) -> str:
    return "none" if score is None else short_number(score)


def _conflicts(before: Any, after: Any) -> Iterator[str]:
    """Name the conflicts that were added, removed or resolved. All members but ``resolved`` identify a conflict."""
    earlier, later = conflicts(before), conflicts(after)
    unmatched: dict[tuple[object, ...], list[Conflict]] = {}
    for conflict in earlier.conflicts:
        unmatched.setdefault(_identity(conflict), []).append(conflict)
    for conflict in later.conflicts:
        same = unmatched.get(_identity(conflict))
        line = _turn(same.pop(0), conflict) if same else f"new conflict{_about(conflict)}{_versions(conflict)}"
        if line:
            yield line
    yield from (f"conflict{_about(gone)} is gone" for same in unmatched.values() for gone in same)
    yield from _odd_entries(earlier.odd, later.odd)


def _identity(conflict: Conflict) -> tuple[object, ...]:
    return conflict.type, conflict.key, *map(_origin, (conflict.previous, conflict.next))


def _origin(origin: Provenance | None) -> tuple[object, ...] | None:
    if origin is None:
        return None
    return origin.source_upload_id, origin.version, origin.release_date, origin.confidence, as_text(origin.odd)


def _turn(was: Conflict, now: Conflict) -> str | None:
    if now.is_open:
        return None if was.is_open else f"conflict{_about(now)} is open again"
    if was.is_open or was.resolved != now.resolved:
        return f"conflict{_about(now)} resolved: {now.resolved or 'yes'}"
    return None


def _about(conflict: Conflict) -> str:
    return f" in {conflict.key}" if conflict.key else ""


def _versions(conflict: Conflict) -> str:
    if not (conflict.previous and conflict.next):
        return ""
    was, now = conflict.previous.name, conflict.next.name
    return f": {was} → {now}"


def _eligibility(before: Any, after: Any) -> Iterator[str]:
    earlier, later = eligibility(before), eligibility(after)
    known = {_name(item): item for item in earlier.items}
    names = {_name(item) for item in later.items}
    for item in later.items:
        was = known.get(_name(item))
        if was is None:
            yield f"new {'fatal ' if item.fatal else ''}item: {_words(item)}"
        elif was.fatal != item.fatal:
            yield f"{'now' if item.fatal else 'no longer'} fatal: {_words(item)}"
        elif was.text != item.text:
            yield f"{_name(item)} now reads: {_words(item)}"
    yield from (f"item is gone: {_words(item)}" for item in earlier.items if _name(item) not in names)
    yield from (f"{of} is overridden" for of in sorted(later.overridden - earlier.overridden))
    yield from (f"{of} is no longer overridden" for of in sorted(earlier.overridden - later.overridden))
    yield from _odd_entries(earlier.odd, later.odd)


def _name(item: Item) -> str:
    return item.id or item.text or ""


def _words(item: Item) -> str:
    return item.text or item.id or "without a text"


def _odd_entries(before: list[Odd], after: list[Odd]) -> Iterator[str]:
    """Name the texts that were added or removed. Other odd parts are reported by their paths."""
    earlier, later = (
        Counter(odd.document for odd in odds if isinstance(odd.document, str)) for odds in (before, after)
    )
    yield from (f"new entry: {text}" for text in later - earlier)
    yield from (f"entry is gone: {text}" for text in earlier - later)


_WORDS: dict[str, Words] = {"coverage": _coverage, "conflictLog": _conflicts, "eligibility": _eligibility}
