"""Add the index by which the database finds the sessions of a run that is deleted, without blocking writers."""

from __future__ import annotations

from django.db import migrations, models
from django.db.models import Q

from agentstate.migrations._operations import AddIndex


class Migration(migrations.Migration):
    atomic = False  # CREATE INDEX CONCURRENTLY runs in no transaction
    dependencies = [("agentstate", "0037_plain_names")]
    operations = [
        AddIndex(
            "agentsession",
            models.Index(fields=["agent_run"], condition=Q(agent_run__isnull=False), name="AgentSession_run_idx"),
        ),
    ]
