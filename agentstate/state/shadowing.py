"""Shadow reads: compare both homes while reading one."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import NamedTuple

from django.dispatch import Signal

from agentstate.state.keys import STATE_KEYS
from agentstate.state.paths import difference
from agentstate.state.standing import Standing

CUT_TO = 256  # characters of each of the two values

# Sent after reads that fell back or were shadowed, with ``readings``, a list of Reading.
readings_made = Signal()


class DocumentDifference(NamedTuple):
    """The first difference between the two versions of a document; a missing value is None."""

    key: str
    path: str
    legacy: str | None
    agentkit: str | None


@dataclass(frozen=True)
class Reading:
    """What a read showed about a project's two homes.

    Attributes:
        fell_back: why the legacy home answered in place of the AgentKit home; else None.
        lag: why the homes could not be compared: ``legacy_ahead``, ``agentkit_ahead``, ``forked``, ``no_snapshot``,
            ``malformed`` or ``error``; None if they were compared, or the read was not shadowed.
        differences: between the documents; None if they were not compared.
    """

    project_id: str
    fell_back: str | None = None
    lag: str | None = None
    differences: tuple[DocumentDifference, ...] | None = None

    @property
    def is_informative(self) -> bool:
        return (self.fell_back, self.lag, self.differences) != (None, None, None)


_DOCUMENTS = ", ".join(f"('{key.name}', \"{key.column}\", state -> '{key.name}')" for key in STATE_KEYS)

# The differences of a shadowed row whose clocks say in sync; reads no document of any other row.
DIFFERENCES = f"""
    CASE WHEN shadowed AND standing = '{Standing.IN_SYNC}' AND jsonb_typeof(result -> 'state') = 'object' THEN (
        SELECT coalesce(json_agg(json_build_array(
            key, key || first.path, left(first.one::text, {CUT_TO}), left(first.other::text, {CUT_TO})
        )), '[]')
        FROM (SELECT result -> 'state' AS state OFFSET 0) snapshot
        CROSS JOIN LATERAL (VALUES {_DOCUMENTS}) document (key, legacy, agentkit)
        CROSS JOIN LATERAL {difference("legacy", "agentkit")} first
        WHERE legacy IS DISTINCT FROM agentkit
    )::text END"""


def differences_from(text: str | None) -> tuple[DocumentDifference, ...] | None:
    """Parse the value of :data:`DIFFERENCES`."""
    return None if text is None else tuple(DocumentDifference(*each) for each in json.loads(text))


def lag(standing: str, has_snapshot: bool, is_compared: bool) -> str | None:
    """Return why a shadowed project was not compared; None if it was, or has no documents."""
    if is_compared or standing == Standing.EMPTY:
        return None
    if not has_snapshot:
        return "no_snapshot"
    return "malformed" if standing == Standing.IN_SYNC else str(standing)
