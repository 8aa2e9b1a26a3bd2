"""A project's documents as its page shows them, read by one query and cut to what a page can hold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from django.db import connection

from agentstate import gates
from agentstate.state.documents import ABSENT, decode
from agentstate.state.homes import CLOCK, COLUMNS, NEWEST, PROJECTS
from agentstate.state.keys import STATE_KEYS
from agentstate.state.loading import FELL_BACK, SOURCE, is_behind
from agentstate.state.missing import missing
from agentstate.state.replay import state_at
from agentstate.state.standing import STANDING, Standing

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from django.http import HttpRequest

# Documents of more bytes are cut to the first entries of their lists. Both homes show this many characters of each.
LARGEST, ENTRIES, BEGINNING = 500_000, 50, 2_000

_COLUMN_OF = {key.name: key.column for key in STATE_KEYS}
_ORDER = {key.name: ordinal for ordinal, key in enumerate(STATE_KEYS)}

_HOMES = f"""(
    SELECT *, {SOURCE} AS source FROM (
        SELECT *, {FELL_BACK} AS fell_back FROM (
            SELECT {CLOCK} AS clock, p.has_columns, {COLUMNS}, {STANDING} AS standing,
                newest.id AS run_id, newest.snapshot_at, newest.legacy_at, newest.result,
                %(asked)s OR NOT p.has_columns AS asked, chosen.state AS chosen, before.state AS before
            FROM {PROJECTS} p {NEWEST}
            LEFT JOIN LATERAL {state_at("%(chosen)s::timestamptz")} chosen ON true
            LEFT JOIN LATERAL {state_at("%(before)s::timestamptz")} before ON true
            WHERE p.id = %(project)s
            OFFSET 0
        ) homes OFFSET 0
    ) judged OFFSET 0)"""


def _members(state: str) -> str:
    return f"jsonb_each(CASE jsonb_typeof({state}) WHEN 'object' THEN {state} ELSE '{{}}' END)"


_LEGACY = ", ".join(f"('{key.name}', homes.\"{key.column}\")" for key in STATE_KEYS)
_DOCUMENTS = f"""(
    SELECT 'legacy' AS place, key, document FROM (VALUES {_LEGACY}) columns (key, document) WHERE document IS NOT NULL
    UNION ALL SELECT 'snapshot', * FROM {_members("homes.result -> 'state'")}
    UNION ALL SELECT 'chosen', * FROM {_members("homes.chosen")}
    UNION ALL SELECT 'before', * FROM {_members("homes.before")})"""

_FIRST_ENTRIES = f"'$[0 to {ENTRIES - 1}]'"
_CUT = f"""(
    SELECT CASE WHEN octet_length(cut::text) <= {LARGEST} THEN cut::text END AS text, lengths::text
    FROM (
        SELECT CASE jsonb_typeof(unpacked)
            WHEN 'array' THEN jsonb_path_query_array(unpacked, {_FIRST_ENTRIES})
            WHEN 'object' THEN (
                SELECT jsonb_object_agg(name, CASE jsonb_typeof(member)
                    WHEN 'array' THEN jsonb_path_query_array(member, {_FIRST_ENTRIES}) ELSE member END)
                FROM (SELECT * FROM jsonb_each(unpacked) LIMIT {ENTRIES}) first (name, member))
            END AS cut,
            CASE jsonb_typeof(unpacked)
            WHEN 'array' THEN jsonb_build_object('entries', jsonb_array_length(unpacked))
            WHEN 'object' THEN (
                SELECT jsonb_object_agg(name, jsonb_array_length(member))
                FROM (SELECT * FROM jsonb_each(unpacked) WHERE jsonb_typeof(value) = 'array' LIMIT {ENTRIES})
                    lists (name, member))
            END AS lengths
        OFFSET 0
    ) parts)"""

_READ = f"""
    SELECT clock, has_columns, standing, run_id, snapshot_at, legacy_at, source, fell_back, place, key, shown.*
    FROM {_HOMES} homes
    LEFT JOIN LATERAL {_DOCUMENTS} documents ON true
    LEFT JOIN LATERAL (
        SELECT left(whole, {BEGINNING}), length(whole), jsonb_hash_extended(unpacked, 0),
            octet_length(whole) > {LARGEST},
            CASE WHEN octet_length(whole) <= {LARGEST} THEN whole ELSE cut.text END, cut.lengths
        FROM (SELECT document #> '{{}}' AS unpacked, document::text AS whole OFFSET 0) document
        LEFT JOIN LATERAL {_CUT} cut ON octet_length(whole) > {LARGEST}
    ) shown ON true"""

_TEXT = f"""
    SELECT document::text FROM {_HOMES} homes CROSS JOIN LATERAL {_DOCUMENTS} documents
    WHERE key = %(key)s
        AND place = coalesce(%(place)s, CASE source WHEN 'agentkit' THEN 'snapshot' ELSE source END)"""


class Document(NamedTuple):
    """A document of one home or one moment.

    Attributes:
        beginning: the first characters of its text.
        size: how many characters the text has.
        digest: equal for documents that jsonb calls equal.
        is_large: it is cut: its lists to their first entries.
        text: its JSON text, or that of what is left when it is cut; None if even that is large.
        lengths: of the lists of a large one, as JSON text.
    """

    beginning: str
    size: int
    digest: int
    is_large: bool
    text: str | None
    lengths: str | None

    @property
    def value(self) -> Any:
        """The document, as far as it is shown."""
        return decode(self.text)

    @property
    def is_beginning_cut(self) -> bool:
        return len(self.beginning) < self.size

    @property
    def list_lengths(self) -> dict[str, int]:
        """How many entries each list has that is cut, by its name."""
        lengths = decode(self.lengths) if self.lengths else {}
        return {name: length for name, length in lengths.items() if length > ENTRIES}


class DocumentPair(NamedTuple):
    """A document in both homes, None in a home that lacks it; ``column`` is None for a key that has none."""

    key: str
    column: str | None
    legacy: Document | None
    agentkit: Document | None

    @property
    def differs(self) -> bool:
        return digest_of(self.legacy) != digest_of(self.agentkit)


@dataclass(frozen=True)
class ProjectDocuments:
    """A project's clocks, and its documents in both homes, at the chosen moment and at the moment before it.

    Attributes:
        source: the home that answers a read: ``agentkit``, ``legacy`` or ``none``; ``fell_back`` is why it is not the
            one that the gate names, see :class:`agentstate.state.loading.ProjectState`.
        chosen, before: empty unless moments were given.
    """

    clock: datetime
    has_columns: bool
    standing: Standing
    run_id: str | None
    snapshot_at: datetime | None
    legacy_at: datetime | None
    source: str
    fell_back: str | None
    legacy: dict[str, Document]
    snapshot: dict[str, Document]
    chosen: dict[str, Document]
    before: dict[str, Document]

    @property
    def current(self) -> dict[str, Document]:
        """The documents that a read returns now."""
        return {"agentkit": self.snapshot, "legacy": self.legacy}.get(self.source, {})

    @property
    def as_of(self) -> datetime | None:
        return {"agentkit": self.snapshot_at, "legacy": self.clock}.get(self.source)

    @property
    def is_behind(self) -> bool:
        """Whether the gate makes the older home answer."""
        return is_behind(self.standing, self.source, self.clock, self.snapshot_at)

    @property
    def pairs(self) -> list[DocumentPair]:
        """The documents of both homes, in the order of the state keys; keys without a column come last."""
        keys = sorted({*_ORDER, *self.snapshot}, key=lambda key: (_ORDER.get(key, len(_ORDER)), key))
        return [DocumentPair(key, _COLUMN_OF.get(key), self.legacy.get(key), self.snapshot.get(key)) for key in keys]

    @property
    def is_unequal(self) -> bool:
        """Whether the documents differ although the clocks say in sync."""
        return self.has_columns and self.standing == Standing.IN_SYNC and any(pair.differs for pair in self.pairs)


def digest_of(document: Document | None) -> int | None:
    return document.digest if document else None


def value_of(document: Document | None) -> Any:
    return document.value if document else ABSENT


def read_documents(
    project_id: str, request: HttpRequest, *, chosen: datetime | None, before: datetime | None
) -> ProjectDocuments:
    """Read what a project's page shows, however large the documents are.

    Raises:
        ProjectNotFound: no project has this id.
        ProjectHidden: row-level security hides it, or no project has this id.
    """
    with connection.cursor() as cursor:
        cursor.execute(_READ, _parameters(project_id, request, chosen, before))
        rows = cursor.fetchall()
    if not rows:
        raise missing(project_id)
    clock, has_columns, standing, run_id, snapshot_at, legacy_at, source, fell_back = rows[0][:8]
    places = (_at(rows, place) for place in ("legacy", "snapshot", "chosen", "before"))
    return ProjectDocuments(
        clock, has_columns, Standing(standing), run_id, snapshot_at, legacy_at, source, fell_back, *places
    )


def _at(rows: Iterable[tuple[Any, ...]], place: str) -> dict[str, Document]:
    return {row[9]: Document(*row[10:]) for row in rows if row[8] == place}


def document_text(
    project_id: str, request: HttpRequest, key: str, *, place: str | None, chosen: datetime | None
) -> str | None:
    """Return a document's whole text, None where it is absent.

    Args:
        place: ``legacy``, ``snapshot`` or ``chosen``; without it the home that answers a read.
    """
    parameters = _parameters(project_id, request, chosen, None)
    with connection.cursor() as cursor:
        cursor.execute(_TEXT, {**parameters, "key": key, "place": place})
        found = cursor.fetchone()
    return found[0] if found else None


def _parameters(
    project_id: str, request: HttpRequest, chosen: datetime | None, before: datetime | None
) -> dict[str, Any]:
    asked = gates.agentkit_reads(project_id, request)
    return {"project": project_id, "asked": asked, "chosen": chosen, "before": before}
