"""Add the files that users attach to their messages in a chat."""

from __future__ import annotations

import django.db.models.deletion
from django.db import migrations, models
from django.db.models import Q

import agentstate.models.fields
from agentstate.migrations._collation import match_collation
from agentstate.migrations._operations import RecordedMigration, RunLocking

# A row outlives its project and its session, as the only one that names the file.
TABLE = f"""
CREATE TABLE "AgentAttachment" (
    id text CONSTRAINT "AgentAttachment_pkey" PRIMARY KEY,
    project_id text,
    session_id text,
    user_id text NOT NULL,
    data jsonb NOT NULL,
    file text,
    size bigint NOT NULL,
    created_at timestamptz NOT NULL
);
{match_collation(("AgentAttachment", "id"), ("AgentAttachment", "project_id"), ("AgentAttachment", "session_id"))}
CREATE INDEX "AgentAttachment_project_idx" ON "AgentAttachment" (project_id);
CREATE INDEX "AgentAttachment_session_idx" ON "AgentAttachment" (session_id) WHERE session_id IS NOT NULL;
ALTER TABLE "AgentAttachment"
    ADD CONSTRAINT "AgentAttachment_project_id_fkey"
        FOREIGN KEY (project_id) REFERENCES "Project" (id) ON UPDATE CASCADE ON DELETE SET NULL,
    ADD CONSTRAINT "AgentAttachment_session_id_fkey"
        FOREIGN KEY (session_id) REFERENCES "AgentSession" (id) ON DELETE SET NULL;
"""

# The files stay in the storage.
NO_TABLE = """DROP TABLE IF EXISTS "AgentAttachment";"""


class Migration(RecordedMigration):
    dependencies = [("agentstate", "0021_documents")]
    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[RunLocking(TABLE, NO_TABLE)],
            state_operations=[
                migrations.CreateModel(
                    name="AgentAttachment",
                    fields=[
                        (
                            "id",
                            models.TextField(
                                default=agentstate.models.fields.new_id, primary_key=True, serialize=False
                            ),
                        ),
                        (
                            "user_id",
                            models.TextField(help_text="Who attached it, as the application names its users."),
                        ),
                        (
                            "data",
                            models.JSONField(help_text="What the chat knows of it: name, media type, addresses."),
                        ),
                        (
                            "file",
                            models.TextField(
                                blank=True,
                                help_text="Its name in the storage; none until it is uploaded.",
                                null=True,
                            ),
                        ),
                        ("size", models.BigIntegerField(help_text="In bytes; 0 until it is uploaded.")),
                        ("created_at", models.DateTimeField()),
                        (
                            "project",
                            models.ForeignKey(
                                blank=True,
                                db_index=False,
                                null=True,
                                on_delete=django.db.models.deletion.DO_NOTHING,
                                related_name="attachments",
                                to="agentstate.project",
                            ),
                        ),
                        (
                            "session",
                            models.ForeignKey(
                                blank=True,
                                db_index=False,
                                help_text="The thread that it was sent in; none until it is sent.",
                                null=True,
                                on_delete=django.db.models.deletion.DO_NOTHING,
                                related_name="attachments",
                                to="agentstate.agentsession",
                            ),
                        ),
                    ],
                    options={
                        "db_table": "AgentAttachment",
                        "indexes": [
                            models.Index(fields=["project"], name="AgentAttachment_project_idx"),
                            models.Index(
                                condition=Q(session__isnull=False),
                                fields=["session"],
                                name="AgentAttachment_session_idx",
                            ),
                        ],
                    },
                ),
            ],
        ),
    ]
