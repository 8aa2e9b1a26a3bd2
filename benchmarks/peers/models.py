"""A project's state in one row, as django-simple-history and django-pghistory keep its versions."""

from __future__ import annotations

import pghistory
from django.db import models
from simple_history.models import HistoricalRecords


class _State(models.Model):
    id = models.TextField(primary_key=True)
    rfp_norm = models.JSONField(null=True)
    facts = models.JSONField(null=True)
    coverage = models.JSONField(null=True)
    conflict_log = models.JSONField(null=True)
    eligibility = models.JSONField(null=True)

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return self.id


class SimpleState(_State):
    """Versions are written by a signal's receiver."""

    history = HistoricalRecords()


@pghistory.track()
class TrackedState(_State):
    """Versions are written by a trigger."""
