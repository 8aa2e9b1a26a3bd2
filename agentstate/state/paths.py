"""The JSON path at which two documents first differ."""

from __future__ import annotations


def first_difference(one: str, other: str) -> str:
    """Return a subquery of the path of the first difference between two jsonb expressions, NULL where they are equal.

    Paths read like ``coverage.requirements[3].status``; a key that is no plain name stands in brackets and quotes.
    """
    return f"(SELECT ltrim(path, '.') FROM {difference(one, other)} difference)"


def difference(one: str, other: str) -> str:
    """Return a subquery of the first difference between two jsonb expressions: ``(path, one, other)``, or no row.

    ``path`` is to be written after the documents' own, and ``one`` and ``other`` are what stands there. It walks down
    one level a step, to the first key or index whose values differ, so that depth and size do not matter.
    """
    return f"""(
        WITH RECURSIVE difference AS (
            SELECT '' AS path, 0 AS depth, {one} AS one, {other} AS other
            UNION ALL
            SELECT difference.path || inner_difference.step, depth + 1, inner_difference.one, inner_difference.other
            FROM difference CROSS JOIN LATERAL (
                SELECT jsonb_typeof(difference.one) = 'object' AND jsonb_typeof(difference.other) = 'object' AS objects
            ) both_are CROSS JOIN LATERAL (
                SELECT step, member.one, member.other FROM (
                    SELECT key AS position,
                        CASE WHEN key ~ '^[A-Za-z_][A-Za-z0-9_]*$' THEN '.' || key
                             ELSE '[' || to_jsonb(key)::text || ']' END AS step,
                        difference.one -> key AS one, difference.other -> key AS other
                    FROM (
                        SELECT jsonb_object_keys(CASE WHEN objects THEN difference.one ELSE '{{}}' END)
                        UNION SELECT jsonb_object_keys(CASE WHEN objects THEN difference.other ELSE '{{}}' END)
                    ) keys (key)
                    UNION ALL
                    SELECT lpad(place::text, 20, '0'), '[' || place || ']',
                        difference.one -> place, difference.other -> place
                    FROM generate_series(
                        0,
                        CASE WHEN jsonb_typeof(difference.one) = 'array' AND jsonb_typeof(difference.other) = 'array'
                             THEN greatest(jsonb_array_length(difference.one), jsonb_array_length(difference.other))
                             ELSE 0 END - 1
                    ) place
                ) member
                WHERE member.one IS DISTINCT FROM member.other
                ORDER BY position COLLATE "C" LIMIT 1
            ) inner_difference
        )
        SELECT path, one, other FROM difference WHERE one IS DISTINCT FROM other ORDER BY depth DESC LIMIT 1
    )"""
