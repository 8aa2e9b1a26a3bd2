"""The collation of ``"Project".id``, for our columns that are compared with it."""

from __future__ import annotations


def match_collation(*columns: tuple[str, str]) -> str:
    """Return the statement that gives text columns, each a table and a name, the collation of ``"Project".id``.

    PostgreSQL cannot use an index whose collation differs from the one in the query. Columns whose collation is equal
    already are not touched, and their tables not locked.
    """
    values = ", ".join(f"""('"{table}"', '{name}')""" for table, name in columns)
    return f"""
DO $do$
DECLARE
    statement text;
BEGIN
    FOR statement IN
        SELECT format('ALTER TABLE %s %s', ours.attrelid::regclass, string_agg(
            format('ALTER COLUMN %I TYPE text COLLATE %I.%I', ours.attname, nspname, collname), ', '))
        FROM (VALUES {values}) ids (relation, name)
        JOIN pg_attribute ours ON ours.attrelid = to_regclass(relation) AND ours.attname = name
        JOIN pg_attribute theirs ON theirs.attrelid = '"Project"'::regclass AND theirs.attname = 'id'
        JOIN pg_collation ON pg_collation.oid = theirs.attcollation
        JOIN pg_namespace ON pg_namespace.oid = collnamespace
        WHERE ours.attcollation <> theirs.attcollation
        GROUP BY ours.attrelid
    LOOP
        EXECUTE statement;
    END LOOP;
END
$do$;
"""
