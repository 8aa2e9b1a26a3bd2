"""The rows: which of them are odd, large or empty; the statements that make them and find them."""

from __future__ import annotations

from agentstate.samples.dice import chance, integer, one_in, pick, rolled, wide_integer
from agentstate.samples.documents import (
    CHARTER,
    CHAT,
    CONFLICT_LOG,
    COVERAGE,
    ELIGIBILITY,
    FACTS,
    OTHER_META,
    RFP_BUNDLE,
    RFP_NORM,
    SLO,
    SWELLING,
)
from agentstate.samples.oddities import ODDITIES, document_or_odd, id_or_odd

LARGER, LARGE, VERY_LARGE = 15_000, 200_000, 3_000_000

# 25 characters that look like a cuid. The seven after "cm" are the row's number plus this, so that ids sort by it.
FIRST_HANDLE = 0x1000000
HANDLE_PATTERN = "cm([1-9a-f][0-9a-f]{6})[0-9a-z]{16}"
HANDLE = f"""
    concat('cm', to_hex({FIRST_HANDLE} + n), substr(
        translate(encode(dice, 'base64'), 'ABCDEFGHIJKLMNOPQRSTUVWXYZ+/', 'abcdefghijklmnopqrstuvwxyz01'), 1, 16
    ))
"""


def drawn(numbers: str) -> str:
    """Return a query that draws the properties of each row ``n`` of the query ``numbers``.

    ``swollen`` is the place of the one larger document and ``bytes`` its approximate size, both NULL for an ordinary
    row. ``odd`` is the place of the row's oddity, NULL for most. ``spare`` is true for a row that is neither odd nor
    large, whose documents may be absent.
    """
    return f"""
        SELECT *, odd IS NULL AND coalesce(bytes, 0) < {LARGE} AS spare
        FROM (
            SELECT *,
                CASE WHEN bytes IS NOT NULL THEN {integer(8, len(SWELLING))} END AS swollen,
                CASE
                    WHEN bytes >= {LARGE} THEN NULL
                    WHEN {one_in(20, "odd")} THEN mod(n / 20, {len(ODDITIES)})
                END AS odd
            FROM (
                SELECT n, dice, {HANDLE} AS handle,
                    CASE
                        WHEN {one_in(20_000, "very large")} THEN {VERY_LARGE}
                        WHEN {one_in(2_000, "large")} THEN {LARGE}
                        WHEN {chance(7, 5)} THEN {LARGER}
                    END AS bytes
                FROM (SELECT n, {rolled("row", "n")} AS dice FROM ({numbers}) numbers OFFSET 0) rolled
                OFFSET 0
            ) sized
            OFFSET 0
        ) turned
        OFFSET 0
    """


def or_null(document: str, at: int) -> str:
    """Return the document, sometimes SQL NULL or JSON null; SQL NULL for each document of an empty project."""
    return f"""
        CASE
            WHEN spare AND ({chance(0, 4)} OR {chance(at, 3)}) THEN NULL
            WHEN spare AND {chance(at, 5.5)} THEN 'null'
            ELSE {document}
        END
    """


META = f"""
    CASE
        WHEN {chance(1, 50)} THEN {OTHER_META} || jsonb_build_object('chat', {CHAT})
        WHEN {chance(1, 54)} THEN NULL
        WHEN {chance(1, 58)} THEN 'null'
        WHEN {chance(1, 62)} THEN '{{"chat": []}}'
        WHEN {chance(1, 66)} THEN '{{"chat": null}}'
        WHEN {chance(1, 70)} THEN '{{}}'
        ELSE {OTHER_META}
    END
"""

# A growing number of projects a day over at most two years, in the order of the numbers give or take two hours.
CREATED_AT = f"""
    timestamp '2024-09-01' + interval '1 millisecond' * (63072000000 * n / (n + 10000) + {wide_integer(9, 7_200_000)})
"""

# A user has four projects.
USER_ID = f"concat('cu', substr(encode({rolled('user', 'n / 4')}, 'hex'), 1, 23))"

NORMAL = f"""
    SELECT
        odd,
        handle,
        {USER_ID} AS "userId",
        concat({pick("undertakings", 12)}, ', ', {pick("organizations", 13)}) AS name,
        {CREATED_AT} AS "createdAt",
        CASE WHEN {chance(14, 70)} THEN {pick("packs", 15)} END AS "agencyPackId",
        CASE WHEN {chance(16, 90)} THEN {pick("project_statuses", 17)} END AS status,
        CASE WHEN {chance(18, 60)} THEN {CHARTER} WHEN {chance(18, 63)} THEN 'null' END AS "charterJson",
        CASE WHEN {chance(19, 50)} THEN {RFP_BUNDLE} END AS "rfpBundleMeta",
        CASE WHEN {chance(19, 30)} THEN {SLO} END AS "sloJson",
        {or_null(FACTS, 2)} AS "factsJson",
        {or_null(COVERAGE, 3)} AS "coverageJson",
        {or_null(RFP_NORM, 4)} AS "rfpNormJson",
        {or_null(CONFLICT_LOG, 5)} AS "conflictLogJson",
        {or_null(ELIGIBILITY, 6)} AS "eligibilityJson",
        {META} AS meta
    FROM ({drawn("SELECT n FROM generate_series(%(first)s::bigint, %(last)s::bigint) AS n")}) drawn
    OFFSET 0
"""

MAKE_ROWS = f"""
INSERT INTO "Project" (
    id, "userId", name, "createdAt", "agencyPackId", status, "charterJson", "rfpBundleMeta", "sloJson",
    "factsJson", "coverageJson", "rfpNormJson", "conflictLogJson", "eligibilityJson", meta
)
SELECT
    {id_or_odd()}, "userId", name, "createdAt", "agencyPackId", status, "charterJson", "rfpBundleMeta", "sloJson",
    {document_or_odd("factsJson")},
    {document_or_odd("coverageJson")},
    {document_or_odd("rfpNormJson")},
    {document_or_odd("conflictLogJson")},
    {document_or_odd("eligibilityJson")},
    {document_or_odd("meta")}
FROM ({NORMAL}) normal
"""

# An id's number counts only if the row of that number has exactly this id. Rows of other seeds and other origins are
# ignored.
NUMBERS_IN_USE = f"""
    SELECT DISTINCT ('x' || digits)::bit(28)::int::bigint - {FIRST_HANDLE} AS n
    FROM (SELECT substring(id COLLATE "C" FROM '{HANDLE_PATTERN}') AS digits FROM "Project" OFFSET 0) found
    WHERE digits IS NOT NULL
"""

FIND_LAST_NUMBER = f"""
SELECT coalesce(max(n), 0)
FROM ({drawn(NUMBERS_IN_USE)}) drawn
JOIN "Project" ON "Project".id = {id_or_odd()}
"""

COUNT_OTHERS = f"""
SELECT count(*) FROM "Project"
WHERE id NOT IN (SELECT {id_or_odd()} FROM ({drawn(NUMBERS_IN_USE)}) drawn)
"""
