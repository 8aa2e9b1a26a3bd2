"""Add the entries of long transcripts, as rows, and the view of whole transcripts."""

from __future__ import annotations

import django.db.models.deletion
from django.db import migrations, models

from agentstate.migrations._collation import match_collation
from agentstate.migrations._operations import RecordedMigration, RunLocking

ENTRIES = f"""
ALTER TABLE "AgentSession" ADD COLUMN further integer NOT NULL DEFAULT 0;
CREATE TABLE "AgentSessionEntry" (
    session_id text NOT NULL,
    number integer NOT NULL,
    item_id text,
    entry jsonb NOT NULL,
    CONSTRAINT "AgentSessionEntry_pkey" PRIMARY KEY (session_id, number)
);
{match_collation(("AgentSessionEntry", "session_id"))}
CREATE UNIQUE INDEX "AgentSessionEntry_item_key" ON "AgentSessionEntry" (session_id, item_id)
    WHERE item_id IS NOT NULL;
ALTER TABLE "AgentSessionEntry"
    ADD CONSTRAINT "AgentSessionEntry_session_id_fkey"
        FOREIGN KEY (session_id) REFERENCES "AgentSession" (id) ON UPDATE CASCADE ON DELETE CASCADE;
CREATE VIEW "AgentSessionTranscript" AS
SELECT id,
       CASE WHEN further = 0 THEN transcript_json
            ELSE transcript_json || coalesce((
                SELECT jsonb_agg(entry ORDER BY number) FROM "AgentSessionEntry" WHERE session_id = session.id), '[]')
       END AS transcript_json
FROM "AgentSession" session;
"""

# The version before reads the arrays only: they take the rows back. Another tool may have dropped parts.
NO_ENTRIES = """
DROP VIEW IF EXISTS "AgentSessionTranscript";
DO $do$
BEGIN
    IF to_regclass('"AgentSession"') IS NOT NULL AND to_regclass('"AgentSessionEntry"') IS NOT NULL THEN
        UPDATE "AgentSession" session SET transcript_json = transcript_json || rows.entries
        FROM (
            SELECT session_id, jsonb_agg(entry ORDER BY number) AS entries FROM "AgentSessionEntry" GROUP BY session_id
        ) rows
        WHERE rows.session_id = session.id;
    END IF;
END
$do$;
DROP TABLE IF EXISTS "AgentSessionEntry";
ALTER TABLE IF EXISTS "AgentSession" DROP COLUMN IF EXISTS further;
"""


class Migration(RecordedMigration):
    dependencies = [("agentstate", "0023_usage")]
    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[RunLocking(ENTRIES, NO_ENTRIES)],
            state_operations=[
                migrations.AddField(
                    model_name="agentsession",
                    name="further",
                    field=models.IntegerField(
                        default=0,
                        help_text="The number of the last entry, where entries are rows of their own; 0 where all are "
                        "in transcript_json.",
                    ),
                ),
                migrations.CreateModel(
                    name="AgentSessionEntry",
                    fields=[
                        (
                            "pk",
                            models.CompositePrimaryKey(
                                "session", "number", blank=True, editable=False, primary_key=True, serialize=False
                            ),
                        ),
                        ("number", models.IntegerField(help_text="The entry's place in the transcript, from 1.")),
                        ("item_id", models.TextField(blank=True, null=True)),
                        ("entry", models.JSONField()),
                        (
                            "session",
                            models.ForeignKey(
                                db_index=False,
                                on_delete=django.db.models.deletion.DO_NOTHING,
                                related_name="further_entries",
                                to="agentstate.agentsession",
                            ),
                        ),
                    ],
                    options={
                        "db_table": "AgentSessionEntry",
                        "constraints": [
                            models.UniqueConstraint(
                                condition=models.Q(item_id__isnull=False),
                                fields=("session", "item_id"),
                                name="AgentSessionEntry_item_key",
                            )
                        ],
                    },
                ),
            ],
        ),
    ]
