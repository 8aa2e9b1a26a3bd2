"""Validate the foreign keys, under a lock that reads and writes of "Project" don't notice."""

from __future__ import annotations

from django.db import migrations

from agentstate.migrations._operations import RunLocking

VALIDATE = """
ALTER TABLE "AgentWorkflowRun" VALIDATE CONSTRAINT "AgentWorkflowRun_project_id_fkey";
ALTER TABLE "AgentSession" VALIDATE CONSTRAINT "AgentSession_project_id_fkey";
"""


class Migration(migrations.Migration):
    dependencies = [("agentstate", "0003_foreign_keys")]
    # Nothing to take back: a constraint that was validated may stay so until 0003 drops it.
    operations = [RunLocking(VALIDATE, "SELECT 1")]
