"""SQL of the first difference between two documents: the JSON path and both values."""

from __future__ import annotations


def first_difference(one: str, other: str) -> str:
    """Return a subquery of the path of the first difference between two jsonb expressions, NULL if they are equal.

    Paths read like ``coverage.requirements[3].status``; a key that is not a plain name is in brackets and quotes.
    """
    return f"(SELECT ltrim(path, '.') FROM {difference(one, other)} difference)"


def difference(one: str, other: str) -> str:
    """Return a subquery of the first difference between two jsonb expressions: ``(path, one, other)``, or no row.

    ``path`` continues the documents' own path, and ``one`` and ``other`` are the values there. Each step of the
    recursion descends one level, to the first key or index whose values differ. Each level is detoasted once, not once
    for each of its members, so depth and size do not matter.
    """
    return f"""(
        WITH RECURSIVE difference AS (
            SELECT '' AS path, 0 AS depth, {one} AS one, {other} AS other
            UNION ALL
            SELECT difference.path || inner_difference.step, depth + 1, inner_difference.one, inner_difference.other
            FROM difference CROSS JOIN LATERAL (
                SELECT types = ARRAY['object', 'object'] AS objects, types = ARRAY['array', 'array'] AS arrays
                FROM (SELECT ARRAY[jsonb_typeof(difference.one), jsonb_typeof(difference.other)] AS types) each
            ) both_are CROSS JOIN LATERAL (
                SELECT step, member.one, member.other FROM (
                    SELECT key AS position,
                        CASE WHEN key ~ '^[A-Za-z_][A-Za-z0-9_]*$' THEN '.' || key
                             ELSE '[' || to_jsonb(key)::text || ']' END AS step,
                        ours.value AS one, theirs.value AS other
                    FROM jsonb_each(CASE WHEN objects THEN difference.one ELSE '{{}}' END) ours
                    FULL JOIN jsonb_each(CASE WHEN objects THEN difference.other ELSE '{{}}' END) theirs USING (key)
                    UNION ALL
                    SELECT lpad(place::text, 20, '0'), '[' || place - 1 || ']', ours.value, theirs.value
                    FROM jsonb_array_elements(CASE WHEN arrays THEN difference.one ELSE '[]' END)
                        WITH ORDINALITY ours (value, place)
                    FULL JOIN jsonb_array_elements(CASE WHEN arrays THEN difference.other ELSE '[]' END)
                        WITH ORDINALITY theirs (value, place) USING (place)
                ) member
                WHERE member.one IS DISTINCT FROM member.other
                ORDER BY position COLLATE "C" LIMIT 1
            ) inner_difference
        )
        SELECT path, one, other FROM difference WHERE one IS DISTINCT FROM other ORDER BY depth DESC LIMIT 1
    )"""
