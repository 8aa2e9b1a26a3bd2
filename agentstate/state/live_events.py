"""The events of a save: what changed, and what that means for coverage, conflicts and eligibility."""

from __future__ import annotations

from agentstate.state.legacy_snapshot import entries_of_conflicts, entries_of_eligibility

# An id made by the database, as models.fields.new_id() makes them.
NEW_ID = """'c' || lpad(to_hex((extract(epoch FROM clock_timestamp()) * 1000)::bigint), 11, '0')
               || left(replace(gen_random_uuid()::text, '-', ''), 12)"""

_SCORE = "CASE WHEN jsonb_typeof({0} -> 'score') = 'number' THEN {0} -> 'score' END"

# The part of an entry that stays the same when it is resolved. Not every entry of a log is an object.
_UNRESOLVED = "CASE jsonb_typeof({0}) WHEN 'object' THEN {0} - 'resolved' END"

# An entry is new if no entry of the document before equals it. The anti-join stays fast for long lists, and so does
# the join, which finds out whether the entry resolves an earlier one.
_NEW_CONFLICTS = f"""
    SELECT entry, position, known.unresolved IS NOT NULL AS resolves
    FROM jsonb_array_elements({entries_of_conflicts("after")}) WITH ORDINALITY item (entry, position)
    LEFT JOIN (
        SELECT DISTINCT {_UNRESOLVED.format("earlier")} AS unresolved
        FROM jsonb_array_elements({entries_of_conflicts("before")}) earlier
    ) known ON known.unresolved = CASE WHEN entry -> 'resolved' <> 'null' THEN {_UNRESOLVED.format("entry")} END
    WHERE NOT EXISTS (
        SELECT FROM jsonb_array_elements({entries_of_conflicts("before")}) earlier WHERE earlier = entry)"""
_NEW_ITEMS = f"""
    SELECT entry, position
    FROM jsonb_array_elements({entries_of_eligibility("after")}) WITH ORDINALITY item (entry, position)
    WHERE NOT EXISTS (
        SELECT FROM jsonb_array_elements({entries_of_eligibility("before")}) earlier WHERE earlier = entry)"""

# The type and payload of each event of a save, from the rows of ``changed``: a state key with its document before and
# after. ``state.changed`` has the save's clock value, the others follow it.
LIVE_EVENTS = f"""
        SELECT 1 AS part, 1::bigint AS position, 'state.changed' AS type,
            coalesce(jsonb_object_agg(key, after) FILTER (WHERE after IS NOT NULL), '{{}}')
            || CASE WHEN bool_or(after IS NULL)
                    THEN jsonb_build_object('absent', jsonb_agg(key) FILTER (WHERE after IS NULL)) ELSE '{{}}' END
            AS payload
        FROM changed HAVING count(*) > 0
        UNION ALL
        SELECT 2, 1, 'coverage.delta', jsonb_build_object('from', was, 'to', now) FROM (
            SELECT {_SCORE.format("before")} AS was, {_SCORE.format("after")} AS now
            FROM changed WHERE key = 'coverage'
        ) score WHERE was IS DISTINCT FROM now
        UNION ALL
        SELECT 3, position, CASE WHEN resolves THEN 'conflict.resolved' ELSE 'conflict.found' END, entry
        FROM changed CROSS JOIN LATERAL ({_NEW_CONFLICTS}) item WHERE key = 'conflictLog'
        UNION ALL
        SELECT 4, position, 'eligibility.flag', entry
        FROM changed CROSS JOIN LATERAL ({_NEW_ITEMS}) item WHERE key = 'eligibility'"""
