"""Add the uploaded files that wait for an intake."""

from __future__ import annotations

import django.db.models.deletion
from django.db import migrations, models

import agentstate.models.fields
from agentstate.migrations._collation import match_collation
from agentstate.migrations._operations import RecordedMigration, RunLocking

TABLE = f"""
CREATE TABLE "AgentIncomingFile" (
    id text CONSTRAINT "AgentIncomingFile_pkey" PRIMARY KEY,
    run_id text NOT NULL,
    ordinal integer NOT NULL,
    name text NOT NULL,
    data bytea NOT NULL,
    CONSTRAINT "AgentIncomingFile_run_ordinal_key" UNIQUE (run_id, ordinal)
);
{match_collation(("AgentIncomingFile", "id"), ("AgentIncomingFile", "run_id"))}
ALTER TABLE "AgentIncomingFile"
    ADD CONSTRAINT "AgentIncomingFile_run_id_fkey"
        FOREIGN KEY (run_id) REFERENCES "AgentWorkflowRun" (id) ON DELETE CASCADE;
"""

# Intakes that have not read their files yet must be sent them again.
NO_TABLE = """DROP TABLE IF EXISTS "AgentIncomingFile";"""


class Migration(RecordedMigration):
    dependencies = [("agentstate", "0027_pruning_in_ledger")]
    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[RunLocking(TABLE, NO_TABLE)],
            state_operations=[
                migrations.CreateModel(
                    name="IncomingFile",
                    fields=[
                        (
                            "id",
                            models.TextField(
                                default=agentstate.models.fields.new_id, primary_key=True, serialize=False
                            ),
                        ),
                        ("ordinal", models.IntegerField(help_text="Its place among the files of the run.")),
                        ("name", models.TextField(help_text="The file's name, without its folder.")),
                        ("data", models.BinaryField()),
                        (
                            "run",
                            models.ForeignKey(
                                db_index=False,
                                on_delete=django.db.models.deletion.DO_NOTHING,
                                related_name="incoming",
                                to="agentstate.agentworkflowrun",
                            ),
                        ),
                    ],
                    options={
                        "db_table": "AgentIncomingFile",
                        "constraints": [
                            models.UniqueConstraint(
                                fields=("run", "ordinal"), name="AgentIncomingFile_run_ordinal_key"
                            ),
                        ],
                    },
                ),
            ],
        ),
    ]
