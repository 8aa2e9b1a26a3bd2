"""Add the documents that an intake read, as their text."""

from __future__ import annotations

import django.db.models.deletion
from django.db import migrations, models
from django.db.models import Q

import agentstate.models.fields
from agentstate.migrations._collation import match_collation
from agentstate.migrations._operations import RecordedMigration, RunLocking

TABLE = f"""
CREATE TABLE "AgentDocument" (
    id text CONSTRAINT "AgentDocument_pkey" PRIMARY KEY,
    project_id text NOT NULL,
    run_id text,
    name text NOT NULL,
    family text NOT NULL,
    role text NOT NULL CONSTRAINT "AgentDocument_role_check"
        CHECK (role IN ('base', 'version', 'amendment', 'faq', 'template')),
    version text,
    released_on date,
    sha256 text NOT NULL,
    text text NOT NULL,
    size bigint NOT NULL,
    created_at timestamptz NOT NULL,
    CONSTRAINT "AgentDocument_project_sha256_key" UNIQUE (project_id, sha256)
);
{match_collation(("AgentDocument", "id"), ("AgentDocument", "project_id"), ("AgentDocument", "run_id"))}
CREATE INDEX "AgentDocument_run_idx" ON "AgentDocument" (run_id) WHERE run_id IS NOT NULL;
ALTER TABLE "AgentDocument"
    ADD CONSTRAINT "AgentDocument_project_id_fkey"
        FOREIGN KEY (project_id) REFERENCES "Project" (id) ON UPDATE CASCADE ON DELETE CASCADE,
    ADD CONSTRAINT "AgentDocument_run_id_fkey"
        FOREIGN KEY (run_id) REFERENCES "AgentWorkflowRun" (id) ON DELETE SET NULL;
"""

# The texts can be read again from the files that they were read from.
NO_TABLE = """DROP TABLE IF EXISTS "AgentDocument";"""


class Migration(RecordedMigration):
    dependencies = [("agentstate", "0020_prisma_runs")]
    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[RunLocking(TABLE, NO_TABLE)],
            state_operations=[
                migrations.CreateModel(
                    name="AgentDocument",
                    fields=[
                        (
                            "id",
                            models.TextField(
                                default=agentstate.models.fields.new_id, primary_key=True, serialize=False
                            ),
                        ),
                        ("name", models.TextField(help_text="The file's name, without its folder.")),
                        (
                            "family",
                            models.TextField(
                                help_text="Documents of one family are versions of each other, or speak about them."
                            ),
                        ),
                        (
                            "role",
                            models.TextField(
                                choices=[
                                    ("base", "Base"),
                                    ("version", "Version"),
                                    ("amendment", "Amendment"),
                                    ("faq", "FAQ"),
                                    ("template", "Template"),
                                ]
                            ),
                        ),
                        ("version", models.TextField(blank=True, null=True)),
                        ("released_on", models.DateField(blank=True, null=True)),
                        ("sha256", models.TextField(help_text="Of the text, in hexadecimal.")),
                        ("text", models.TextField()),
                        ("size", models.BigIntegerField(help_text="Of the file, in bytes.")),
                        ("created_at", models.DateTimeField()),
                        (
                            "project",
                            models.ForeignKey(
                                db_index=False,
                                on_delete=django.db.models.deletion.DO_NOTHING,
                                related_name="documents",
                                to="agentstate.project",
                            ),
                        ),
                        (
                            "run",
                            models.ForeignKey(
                                blank=True,
                                db_index=False,
                                help_text="The run that read it.",
                                null=True,
                                on_delete=django.db.models.deletion.DO_NOTHING,
                                related_name="documents",
                                to="agentstate.agentworkflowrun",
                            ),
                        ),
                    ],
                    options={
                        "db_table": "AgentDocument",
                        "indexes": [
                            models.Index(condition=Q(run__isnull=False), fields=["run"], name="AgentDocument_run_idx")
                        ],
                        "constraints": [
                            models.UniqueConstraint(
                                fields=("project", "sha256"), name="AgentDocument_project_sha256_key"
                            ),
                            models.CheckConstraint(
                                condition=Q(role__in=["base", "version", "amendment", "faq", "template"]),
                                name="AgentDocument_role_check",
                            ),
                        ],
                    },
                ),
            ],
        ),
    ]
