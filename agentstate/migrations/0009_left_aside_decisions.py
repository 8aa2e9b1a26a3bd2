"""Add the operator's decision about a project that was left aside.

The columns have defaults in the database, so that a pass of the version before can still write entries. Reversed, the
decisions are lost, and accepted entries are open again.
"""

from __future__ import annotations

from django.db import migrations, models

from agentstate.migrations._operations import RecordedMigration, dropping


class Migration(RecordedMigration):
    dependencies = [("agentstate", "0008_run_list")]
    operations = [
        migrations.AddField("leftaside", "accepted_at", models.DateTimeField(null=True, blank=True)),
        migrations.AddField(
            "leftaside",
            "note",
            models.TextField(blank=True, db_default="", help_text="Why it was accepted."),
        ),
        migrations.AddField(
            "leftaside",
            "decided_by",
            models.TextField(blank=True, db_default="", help_text="Who accepted it."),
        ),
        migrations.AddField(
            "leftaside",
            "accepted_clock",
            models.DateTimeField(
                null=True,
                blank=True,
                help_text="The clock of the state that was given up: "
                "the legacy home's, in reverse the newest snapshot's.",
            ),
        ),
        migrations.AddField(
            "leftaside",
            "accepted_chat",
            models.TextField(null=True, blank=True, help_text="The digest of the chat that was given up."),
        ),
        migrations.AddField(
            "leftaside",
            "decisions",
            models.JSONField(
                blank=True,
                db_default=models.Value([], models.JSONField()),
                help_text="All decisions about it, the oldest first: what, by whom, with which note, when.",
            ),
        ),
        migrations.AddConstraint(
            "leftaside",
            models.CheckConstraint(
                condition=models.Q(accepted_at=None) | ~models.Q(note=""), name="AgentStateLeftAside_accepted_check"
            ),
        ),
    ]
    operations = dropping(operations)
