"""A project's documents as its page shows them, read by one query and cut to what a page can hold."""

from __future__ import annotations

from dataclasses import dataclass, replace
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

# Documents of more bytes are cut to the first entries of their lists, and are not compared unless the page asks. Both
# homes show this many characters of each.
LARGEST, ENTRIES, BEGINNING = 500_000, 50, 2_000
# A snapshot that is stored in more bytes is not compared unless the page asks. In sync, the columns are shown for it.
STORED = 100_000

_COLUMN_OF = {key.name: key.column for key in STATE_KEYS}
_ORDER = {key.name: ordinal for ordinal, key in enumerate(STATE_KEYS)}

_IS_LARGE = f"(NOT %(compares)s AND pg_column_size(newest.result) > {STORED})"
_BEFORE = f"CASE WHEN {_IS_LARGE} AND %(chosen)s::timestamptz IS NULL THEN NULL ELSE %(before)s::timestamptz END"

_HOMES = f"""(
    SELECT *, {SOURCE} AS source FROM (
        SELECT *, {FELL_BACK} AS fell_back FROM (
            SELECT {CLOCK} AS clock, p.has_columns, {COLUMNS}, {STANDING} AS standing,
                newest.id AS run_id, newest.snapshot_at, newest.legacy_at, newest.result,
                coalesce({_IS_LARGE}, false) AS is_large,
                %(asked)s OR NOT p.has_columns AS asked, chosen.state AS chosen, before.state AS before
            FROM {PROJECTS} p {NEWEST}
            LEFT JOIN LATERAL {state_at("%(chosen)s::timestamptz")} chosen ON true
            LEFT JOIN LATERAL {state_at(_BEFORE)} before ON true
            WHERE p.id = %(project)s
            OFFSET 0
        ) homes OFFSET 0
    ) judged OFFSET 0)"""


def _members(state: str) -> str:
    return f"jsonb_each(CASE jsonb_typeof({state}) WHEN 'object' THEN {state} ELSE '{{}}' END)"


_LEGACY = ", ".join(f"('{key.name}', homes.\"{key.column}\")" for key in STATE_KEYS)
_DOCUMENTS = f"""(
    SELECT 'legacy' AS place, key, document FROM (VALUES {_LEGACY}) columns (key, document) WHERE document IS NOT NULL
    UNION ALL SELECT 'snapshot', each.* FROM (
        SELECT homes.result -> 'state' AS state
        WHERE NOT (homes.is_large AND homes.has_columns AND homes.standing = 'in_sync') OFFSET 0
    ) snapshot CROSS JOIN LATERAL {_members("state")} each
    UNION ALL SELECT 'chosen', * FROM {_members("homes.chosen")}
    UNION ALL SELECT 'before', * FROM {_members("homes.before")})"""

# Of a large document: its first entries, and how many entries each of its lists has. JSON paths read a list in place,
# where jsonb_each would copy all of it.
_FIRST_ENTRIES = f"[0 to {ENTRIES - 1}]"
_CUT = f"""(
    SELECT CASE WHEN octet_length(cut::text) <= {LARGEST} THEN cut::text END AS text, lengths::text
    FROM (
        SELECT jsonb_path_query_array(unpacked, '${_FIRST_ENTRIES}') AS cut,
            jsonb_build_object('entries', jsonb_array_length(unpacked)) AS lengths
        WHERE jsonb_typeof(unpacked) = 'array'
        UNION ALL
        SELECT jsonb_object_agg(name, CASE WHEN length IS NULL THEN unpacked -> name
                ELSE jsonb_path_query_array(unpacked, (path || '{_FIRST_ENTRIES}')::jsonpath) END),
            jsonb_object_agg(name, length) FILTER (WHERE length IS NOT NULL)
        FROM (
            SELECT name, path, CASE jsonb_path_query_first(unpacked, (path || '.type()')::jsonpath) #>> '{{}}'
                WHEN 'array' THEN jsonb_path_query_first(unpacked, (path || '.size()')::jsonpath) END AS length
            FROM (SELECT name, '$.' || to_json(name) AS path
                  FROM (SELECT jsonb_object_keys(unpacked) AS name LIMIT {ENTRIES}) keys) paths
            OFFSET 0
        ) first
        WHERE jsonb_typeof(unpacked) = 'object' HAVING count(*) > 0
        OFFSET 0
    ) parts)"""

_READ = f"""
    SELECT clock, has_columns, standing, run_id, snapshot_at, legacy_at, source, fell_back, is_large,
        place, key, shown.*
    FROM {_HOMES} homes
    LEFT JOIN LATERAL {_DOCUMENTS} documents ON true
    LEFT JOIN LATERAL (
        SELECT left(coalesce(whole, cut.text, unpacked::text), {BEGINNING}), coalesce(length(whole), size),
            CASE WHEN whole IS NOT NULL OR %(compares)s OR place IN ('chosen', 'before')
                THEN jsonb_hash_extended(unpacked, 0) END,
            whole IS NULL, coalesce(whole, cut.text), cut.lengths
        FROM (
            SELECT *, CASE WHEN size <= {LARGEST} THEN unpacked::text END AS whole FROM (
                SELECT unpacked, pg_column_size(unpacked) AS size
                FROM (SELECT document #> '{{}}' AS unpacked OFFSET 0) detoasted OFFSET 0
            ) sized OFFSET 0
        ) document
        LEFT JOIN LATERAL {_CUT} cut ON whole IS NULL
    ) shown ON true"""

_TEXT = f"""
    SELECT document::text FROM {_HOMES} homes CROSS JOIN LATERAL {_DOCUMENTS} documents
    WHERE key = %(key)s
        AND place = coalesce(%(place)s, CASE source WHEN 'agentkit' THEN 'snapshot' ELSE source END)"""


class Document(NamedTuple):
    """A document of one home or one moment.

    Attributes:
        beginning: the first characters of its text.
        size: how many characters the text has; of a large one, how many bytes the document has.
        digest: equal for documents that jsonb calls equal; None for a large one that is not compared.
        is_large: it is cut: its lists to their first entries.
        text: its JSON text, or that of what is left when it is cut; None if even that is large.
        lengths: of the lists of a large one, as JSON text.
    """

    beginning: str
    size: int
    digest: int | None
    is_large: bool
    text: str | None
    lengths: str | None

    @property
    def value(self) -> Any:
        """The document, as far as it is shown."""
        return decode(self.text)

    @property
    def is_beginning_cut(self) -> bool:
        return self.is_large or len(self.beginning) < self.size

    @property
    def list_lengths(self) -> list[tuple[str, int]]:
        """The name of each list that is cut, and how many entries it has."""
        lengths = decode(self.lengths) if self.lengths else {}
        return [(name, length) for name, length in lengths.items() if length > ENTRIES]


class DocumentPair(NamedTuple):
    """A document in both homes, None in a home that lacks it; ``column`` is None for a key that has none."""

    key: str
    column: str | None
    legacy: Document | None
    agentkit: Document | None

    @property
    def differs(self) -> bool:
        return digest_of(self.legacy) != digest_of(self.agentkit) or (self.legacy is None) != (self.agentkit is None)

    @property
    def is_compared(self) -> bool:
        """Whether ``differs`` is known. Large documents are compared on request."""
        documents = [document for document in (self.legacy, self.agentkit) if document]
        return len(documents) < 2 or any(document.digest is not None for document in documents)


@dataclass(frozen=True)
class ProjectDocuments:
    """A project's clocks, and its documents in both homes, at the chosen moment and at the moment before it.

    Attributes:
        source: the home that answers a read: ``agentkit``, ``legacy`` or ``none``; ``fell_back`` is why it is not the
            one that the gate names, see :class:`agentstate.state.loading.ProjectState`.
        chosen, before: empty unless moments were given.
        is_large: the newest snapshot is large, and was not compared: ``snapshot`` has the columns' documents where the
            clocks say in sync, and ``before`` is empty unless a moment was chosen.
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
    is_large: bool

    @property
    def is_same_by_clocks(self) -> bool:
        """Whether ``snapshot`` has the columns' documents, since the clocks say in sync."""
        return self.is_large and self.has_columns and self.standing == Standing.IN_SYNC

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
    project_id: str,
    request: HttpRequest,
    *,
    chosen: datetime | None,
    before: datetime | None,
    compares: bool = False,
) -> ProjectDocuments:
    """Read what a project's page shows, however large the documents are.

    Args:
        compares: compare large documents, too.

    Raises:
        ProjectNotFound: no project has this id.
        ProjectHidden: row-level security hides it, or no project has this id.
    """
    with connection.cursor() as cursor:
        cursor.execute(_READ, {**_parameters(project_id, request, chosen, before), "compares": compares})
        rows = cursor.fetchall()
    if not rows:
        raise missing(project_id)
    clock, has_columns, standing, run_id, snapshot_at, legacy_at, source, fell_back, is_large = rows[0][:9]
    legacy, snapshot, chosen_then, before_then = (
        _at(rows, place) for place in ("legacy", "snapshot", "chosen", "before")
    )
    documents = ProjectDocuments(
        clock,
        has_columns,
        Standing(standing),
        run_id,
        snapshot_at,
        legacy_at,
        source,
        fell_back,
        legacy,
        snapshot,
        chosen_then,
        before_then,
        is_large,
    )
    return replace(documents, snapshot=legacy) if documents.is_same_by_clocks else documents


def _at(rows: Iterable[tuple[Any, ...]], place: str) -> dict[str, Document]:
    return {row[10]: Document(*row[11:]) for row in rows if row[9] == place}


def document_text(
    project_id: str, request: HttpRequest, key: str, *, place: str | None, chosen: datetime | None
) -> str | None:
    """Return a document's whole text, None where it is absent.

    Args:
        place: ``legacy``, ``snapshot`` or ``chosen``; without it the home that answers a read.
    """
    parameters = _parameters(project_id, request, chosen, None)
    with connection.cursor() as cursor:
        cursor.execute(_TEXT, {**parameters, "key": key, "place": place, "compares": True})
        found = cursor.fetchone()
    return found[0] if found else None


def _parameters(
    project_id: str, request: HttpRequest, chosen: datetime | None, before: datetime | None
) -> dict[str, Any]:
    asked = gates.agentkit_reads(project_id, request)
    return {"project": project_id, "asked": asked, "chosen": chosen, "before": before}
