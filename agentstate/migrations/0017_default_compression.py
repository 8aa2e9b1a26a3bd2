"""Let our JSON columns use the server's default compression.

0001 asks for lz4 where the server has it, and a dump that asks for lz4 cannot be restored on a server without it. The
passes choose lz4 for what they write instead, for their transactions only. Stored values stay as they are and remain
readable.
"""

from __future__ import annotations

from agentstate.migrations._operations import RecordedMigration, RunLocking

DEFAULT_COMPRESSION = """
DO $do$
DECLARE
    statement text;
BEGIN
    FOR statement IN
        SELECT format('ALTER TABLE %s %s', attrelid::regclass,
                      string_agg(format('ALTER COLUMN %I SET COMPRESSION default', attname), ', '))
        FROM unnest('{"AgentWorkflowRun", "AgentWorkflowRunEvent", "AgentSession"}'::text[]) name
        JOIN pg_attribute ON attrelid = to_regclass(quote_ident(name)) AND attcompression <> ''
        GROUP BY attrelid
    LOOP
        EXECUTE statement;
    END LOOP;
END
$do$
"""


class Migration(RecordedMigration):
    dependencies = [("agentstate", "0016_id_collation")]
    # Backwards, the default stays: the version before runs with it, on some servers slower.
    operations = [RunLocking(DEFAULT_COMPRESSION, "SELECT")]
