"""What people decided: resolutions of conflicts and overrides of eligibility. Both outlive the next intake."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from agentstate.intake.conflicts import Conflict
from agentstate.intake.words import plain_words

RESOLUTIONS = ("latest", "previous")
_ALL_RESOLUTIONS = frozenset({"accepted", *RESOLUTIONS})


class UnknownDecision(Exception):
    """A conflict or eligibility item that is not there, or is there more than once. The message names what is."""


def standing_resolutions(conflicts: Sequence[Conflict], stored: Any) -> dict[tuple[str, str], str]:
    """Return the resolutions that still hold, by type and key.

    A resolution holds while the same document says the same. A later document that changes the same thing again gives
    the entry another next side, and opens it again. Entries of before, without values, decide nothing.
    """
    resolved = {
        _name_of(entry): entry for entry in entries_of(stored) if str(entry.get("resolved")) in _ALL_RESOLUTIONS
    }
    standing = {}
    for conflict in conflicts:
        entry = resolved.get((conflict.type, conflict.key))
        if entry is not None and _says_the_same(conflict, entry):
            standing[(conflict.type, conflict.key)] = str(entry["resolved"])
    return standing


def entries_of(stored: Any) -> list[Mapping[str, Any]]:
    """Return the entries of a stored conflict log, whatever its shape; what is no object is left out."""
    entries = stored if isinstance(stored, list) else [stored]
    return [entry for entry in entries if isinstance(entry, Mapping)]


def _name_of(entry: Mapping[str, Any]) -> tuple[str, str]:
    """Return an entry's type and key as text. The legacy application may have written numbers or objects."""
    return str(entry.get("type")), str(entry.get("key"))


def resolve(stored: Any, key: str, resolution: str) -> list[Any]:
    """Return the conflict log with one entry resolved.

    Args:
        stored: the stored conflict log.
        key: the entry's key, or ``type:key`` where several types have it.
        resolution: ``latest`` or ``previous``.

    Raises:
        UnknownDecision: if no entry, or more than one, has the key.
        ValueError: for another resolution.
    """
    if resolution not in RESOLUTIONS:
        raise ValueError(f"{resolution!r} is no resolution. Use latest or previous.")
    log = copy.deepcopy(stored if isinstance(stored, list) else [stored])
    matching = [
        entry
        for entry in log
        if isinstance(entry, dict) and "key" in entry and key in (_name_of(entry)[1], ":".join(_name_of(entry)))
    ]
    if len(matching) != 1:
        keys = sorted(":".join(_name_of(entry)) for entry in (matching or entries_of(log)) if "key" in entry)
        count = "No conflict has" if not matching else f"{len(matching)} conflicts have"
        raise UnknownDecision(f"{count} the key {key!r}. Choose of: {', '.join(keys) or 'none'}.")
    matching[0]["resolved"] = resolution
    return log


def overrides_of(stored: Any) -> dict[str, dict[str, Any]]:
    """Return the overrides of a stored eligibility document by item id, from both shapes.

    They stand in ``overrides`` beside ``items``, or on the item itself; what stands on the item is the newer shape.
    """
    found: dict[str, dict[str, Any]] = {}
    if isinstance(stored, Mapping):
        beside = stored.get("overrides")
        if isinstance(beside, Mapping):
            found |= {str(of): _as_override(one) for of, one in beside.items()}
        items = stored.get("items")
    else:
        items = stored
    for item in items if isinstance(items, list) else ():
        if isinstance(item, Mapping) and "id" in item and isinstance(item.get("overrides"), Mapping):
            found[str(item["id"])] = _as_override(item["overrides"])
    return found


def override(stored: Any, item_id: str, fatal: bool, note: str, at: str, by: str | None = None) -> dict[str, Any]:
    """Return the eligibility document with one item overridden.

    Args:
        stored: the stored eligibility document.
        item_id: the item's id.
        fatal: what the item shall be.
        note: why.
        at: when, in ISO 8601.
        by: who, if known.

    Raises:
        UnknownDecision: if no item has the id.
    """
    items = copy.deepcopy(_items_of(stored))
    named = {str(one["id"]): one for one in reversed(items) if isinstance(one, dict) and "id" in one}
    item = named.get(item_id)
    if item is None:
        ids = sorted(named)
        raise UnknownDecision(f"No eligibility item has the id {item_id!r}. Choose of: {', '.join(ids) or 'none'}.")
    made: dict[str, Any] = {"fatal": fatal, "note": note, "at": at}
    if by is not None:
        made["by"] = by
    if isinstance(stored, Mapping) and item.get("fatal") is fatal:
        before = overrides_of(stored).get(item_id, {})
        if {**before, "at": at} == made:  # overridden so already: its time stays
            return dict(stored)
    item["fatal"] = fatal
    item.pop("overrides", None)
    return {"items": items, "overrides": {**overrides_of(stored), item_id: made}}


def with_overrides(items: Sequence[Mapping[str, Any]], stored: Any) -> dict[str, Any]:
    """Return the eligibility document of an intake: its items with the stored overrides applied.

    Overrides of items that no document states any more are kept: a later document may state them again.
    """
    overrides = overrides_of(stored)
    applied = [
        {**item, "fatal": overrides[item["id"]]["fatal"]}
        if isinstance(overrides.get(item["id"], {}).get("fatal"), bool)
        else dict(item)
        for item in items
    ]
    return {"items": applied, **({"overrides": overrides} if overrides else {})}


def _items_of(stored: Any) -> list[Any]:
    items = stored.get("items") if isinstance(stored, Mapping) else stored
    return list(items) if isinstance(items, list) else []


def _as_override(value: Any) -> dict[str, Any]:
    if isinstance(value, Mapping):
        return copy.deepcopy(dict(value))
    return {"fatal": value} if isinstance(value, bool) else {"note": str(value)}


def _says_the_same(conflict: Conflict, entry: Mapping[str, Any]) -> bool:
    ours, theirs = conflict.as_json(), entry
    return all(_side(ours[side]) == _side(theirs.get(side)) for side in ("previous", "next"))


def _side(side: Any) -> tuple[Any, list[str]] | None:
    """Return what identifies a side: the document and the words of its value."""
    if not isinstance(side, Mapping):
        return None
    return side.get("source_upload_id"), plain_words(str(side.get("value", "")))
