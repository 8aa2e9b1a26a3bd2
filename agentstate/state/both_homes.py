"""Read both homes of a project side by side, whatever the gates say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from django.db import connection

from agentstate.models.fields import possible_id
from agentstate.state.homes import CLOCK, NEWEST, PROJECTS, readable
from agentstate.state.keys import STATE_KEYS
from agentstate.state.missing import missing
from agentstate.state.standing import STANDING, Standing

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

# A snapshot may have keys besides the five. They have no column, and make the homes differ.
_DOCUMENTS = ", ".join(f"('{key.name}', p.\"{key.column}\")" for key in STATE_KEYS)
_KEYS = ", ".join(f"'{key.name}'" for key in STATE_KEYS)
_BOTH = f"""
    SELECT {readable(CLOCK)}, p.has_columns, {STANDING}, newest.id,
        {readable("newest.snapshot_at")}, {readable("newest.legacy_at")}, document.key,
        left(legacy::text, %(cut)s), length(legacy::text), left(agentkit::text, %(cut)s), length(agentkit::text),
        legacy IS DISTINCT FROM agentkit
    FROM {PROJECTS} p {NEWEST}
    CROSS JOIN LATERAL (
        SELECT CASE WHEN jsonb_typeof(newest.result -> 'state') = 'object' THEN newest.result -> 'state'
                    ELSE '{{}}' END AS state OFFSET 0
    ) snapshot
    LEFT JOIN LATERAL (
        SELECT key, document AS legacy, state -> key AS agentkit FROM (VALUES {_DOCUMENTS}) columns (key, document)
        UNION ALL
        SELECT key, NULL, value FROM jsonb_each(state) WHERE key NOT IN ({_KEYS})
        OFFSET 0
    ) document ON %(keys)s::text[] IS NULL OR document.key = ANY (%(keys)s::text[])
    WHERE p.id = %(project)s"""

_ORDER = {key.name: ordinal for ordinal, key in enumerate(STATE_KEYS)}
_COLUMNS = {key.name: key.column for key in STATE_KEYS}
_WHOLE = 2**31 - 1


class DocumentText(NamedTuple):
    """A document's text, or the beginning of it, and how many characters it has."""

    text: str
    size: int

    @property
    def is_cut(self) -> bool:
        return len(self.text) < self.size


@dataclass(frozen=True)
class DocumentPair:
    """A document in both homes, None if a home lacks it.

    Attributes:
        key: the state key.
        column: the legacy column, None for a key besides the five.
        differs: the two are unequal as jsonb.
    """

    key: str
    column: str | None
    legacy: DocumentText | None
    agentkit: DocumentText | None
    differs: bool


@dataclass(frozen=True)
class BothHomes:
    """The content of the columns and of the newest snapshot.

    Attributes:
        clock: the legacy home's.
        has_columns: whether the legacy columns exist.
        standing: by the clocks alone.
        run_id: the run that carries the newest snapshot, None without one.
        snapshot_at, legacy_at: the snapshot's clock, and the legacy clock that it has taken in.
        pairs: the documents, in the order of the state keys.
    """

    clock: datetime
    has_columns: bool
    standing: Standing
    run_id: str | None
    snapshot_at: datetime | None
    legacy_at: datetime | None
    pairs: list[DocumentPair]

    @property
    def is_unequal(self) -> bool:
        """Whether the documents differ although the clocks say in sync: a write bypassed the trigger."""
        return self.has_columns and self.standing == Standing.IN_SYNC and any(pair.differs for pair in self.pairs)


def both_homes(project_id: str, *, keys: Collection[str] | None = None, cut: int = _WHOLE) -> BothHomes:
    """Read both homes of a project.

    Args:
        keys: the state keys to read; all by default.
        cut: the maximum of characters of each text.

    Raises:
        ProjectNotFound: no project has this id.
        ProjectHidden: row-level security hides it, or no project has this id.
    """
    parameters = {"project": possible_id(project_id), "keys": None if keys is None else list(keys), "cut": cut}
    with connection.cursor() as cursor:
        cursor.execute(_BOTH, parameters)
        rows = cursor.fetchall()
    if not rows:
        raise missing(project_id)
    clock, has_columns, standing, run_id, snapshot_at, legacy_at = rows[0][:6]
    pairs = [_pair(*row[6:]) for row in rows if row[6] is not None]
    pairs.sort(key=lambda pair: (_ORDER.get(pair.key, len(_ORDER)), pair.key))
    return BothHomes(clock, has_columns, Standing(standing), run_id, snapshot_at, legacy_at, pairs)


def _pair(
    key: str, legacy: str | None, legacy_size: int, agentkit: str | None, agentkit_size: int, differs: bool
) -> DocumentPair:
    return DocumentPair(
        key,
        _COLUMNS.get(key),
        None if legacy is None else DocumentText(legacy, legacy_size),
        None if agentkit is None else DocumentText(agentkit, agentkit_size),
        differs,
    )
