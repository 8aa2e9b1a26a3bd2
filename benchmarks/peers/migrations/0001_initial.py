# ruff: noqa: E501

import django.db.models.deletion
import pgtrigger.compiler
import pgtrigger.migrations
import simple_history.models
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        ("pghistory", "0007_auto_20250421_0444"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="SimpleState",
            fields=[
                ("id", models.TextField(primary_key=True, serialize=False)),
                ("rfp_norm", models.JSONField(null=True)),
                ("facts", models.JSONField(null=True)),
                ("coverage", models.JSONField(null=True)),
                ("conflict_log", models.JSONField(null=True)),
                ("eligibility", models.JSONField(null=True)),
            ],
            options={
                "abstract": False,
            },
        ),
        migrations.CreateModel(
            name="TrackedState",
            fields=[
                ("id", models.TextField(primary_key=True, serialize=False)),
                ("rfp_norm", models.JSONField(null=True)),
                ("facts", models.JSONField(null=True)),
                ("coverage", models.JSONField(null=True)),
                ("conflict_log", models.JSONField(null=True)),
                ("eligibility", models.JSONField(null=True)),
            ],
            options={
                "abstract": False,
            },
        ),
        migrations.CreateModel(
            name="TrackedStateEvent",
            fields=[
                ("pgh_id", models.AutoField(primary_key=True, serialize=False)),
                ("pgh_created_at", models.DateTimeField(auto_now_add=True)),
                ("pgh_label", models.TextField(help_text="The event label.")),
                ("id", models.TextField(serialize=False)),
                ("rfp_norm", models.JSONField(null=True)),
                ("facts", models.JSONField(null=True)),
                ("coverage", models.JSONField(null=True)),
                ("conflict_log", models.JSONField(null=True)),
                ("eligibility", models.JSONField(null=True)),
            ],
            options={
                "abstract": False,
            },
        ),
        migrations.CreateModel(
            name="HistoricalSimpleState",
            fields=[
                ("id", models.TextField(db_index=True)),
                ("rfp_norm", models.JSONField(null=True)),
                ("facts", models.JSONField(null=True)),
                ("coverage", models.JSONField(null=True)),
                ("conflict_log", models.JSONField(null=True)),
                ("eligibility", models.JSONField(null=True)),
                ("history_id", models.AutoField(primary_key=True, serialize=False)),
                ("history_date", models.DateTimeField(db_index=True)),
                ("history_change_reason", models.CharField(max_length=100, null=True)),
                (
                    "history_type",
                    models.CharField(choices=[("+", "Created"), ("~", "Changed"), ("-", "Deleted")], max_length=1),
                ),
                (
                    "history_user",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "verbose_name": "historical simple state",
                "verbose_name_plural": "historical simple states",
                "ordering": ("-history_date", "-history_id"),
                "get_latest_by": ("history_date", "history_id"),
            },
            bases=(simple_history.models.HistoricalChanges, models.Model),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="trackedstate",
            trigger=pgtrigger.compiler.Trigger(
                name="insert_insert",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    func='INSERT INTO "peers_trackedstateevent" ("conflict_log", "coverage", "eligibility", "facts", "id", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id", "rfp_norm") VALUES (NEW."conflict_log", NEW."coverage", NEW."eligibility", NEW."facts", NEW."id", _pgh_attach_context(), NOW(), \'insert\', NEW."id", NEW."rfp_norm"); RETURN NULL;',
                    hash="3a61bcd25ac4198a0201f3d82d0f5cc8e6370ad0",
                    operation="INSERT",
                    pgid="pgtrigger_insert_insert_c923e",
                    table="peers_trackedstate",
                    when="AFTER",
                ),
            ),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name="trackedstate",
            trigger=pgtrigger.compiler.Trigger(
                name="update_update",
                sql=pgtrigger.compiler.UpsertTriggerSql(
                    condition="WHEN (OLD.* IS DISTINCT FROM NEW.*)",
                    func='INSERT INTO "peers_trackedstateevent" ("conflict_log", "coverage", "eligibility", "facts", "id", "pgh_context_id", "pgh_created_at", "pgh_label", "pgh_obj_id", "rfp_norm") VALUES (NEW."conflict_log", NEW."coverage", NEW."eligibility", NEW."facts", NEW."id", _pgh_attach_context(), NOW(), \'update\', NEW."id", NEW."rfp_norm"); RETURN NULL;',
                    hash="ac72eb22894fc9d4c08d2e23e47dcc4a581cfe67",
                    operation="UPDATE",
                    pgid="pgtrigger_update_update_af5b2",
                    table="peers_trackedstate",
                    when="AFTER",
                ),
            ),
        ),
        migrations.AddField(
            model_name="trackedstateevent",
            name="pgh_context",
            field=models.ForeignKey(
                db_constraint=False,
                null=True,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="+",
                to="pghistory.context",
            ),
        ),
        migrations.AddField(
            model_name="trackedstateevent",
            name="pgh_obj",
            field=models.ForeignKey(
                db_constraint=False,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="events",
                to="peers.trackedstate",
            ),
        ),
    ]
