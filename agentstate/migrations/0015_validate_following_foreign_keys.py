"""Validate the foreign keys of 0014, under a lock that reads and writes of "Project" do not notice."""

from __future__ import annotations

from agentstate.migrations._operations import RecordedMigration, RunLocking

VALIDATE = """
ALTER TABLE "AgentWorkflowRun" VALIDATE CONSTRAINT "AgentWorkflowRun_project_id_fkey";
ALTER TABLE "AgentSession" VALIDATE CONSTRAINT "AgentSession_project_id_fkey";
"""


class Migration(RecordedMigration):
    dependencies = [("agentstate", "0014_following_foreign_keys")]
    # Nothing to take back: a validated constraint may stay validated until 0003 drops it.
    operations = [RunLocking(VALIDATE, "SELECT")]
