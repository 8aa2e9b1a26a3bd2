"""What reads of both homes found: counts by the hour, and samples of the differences."""

from __future__ import annotations

from django.db import models


class ReadCount(models.Model):
    """How many reads of one hour had one finding."""

    class Finding(models.TextChoices):
        COMPARED = "compared", "compared: the clocks said in sync"
        DIFFERENCE = "difference", "a document differed"
        LAG = "lag", "not compared: the clocks said that a home is ahead"
        FALLBACK = "fallback", "the legacy home answered for the AgentKit home"

    # The reason of fallbacks that a person accepted, with what a pass could not move.
    GIVEN_UP = "given_up"

    hour = models.DateTimeField(help_text="When the hour began.")
    finding = models.TextField(choices=Finding)
    # The state key that differed, the standing of a lag, or why a read fell back; empty where there is nothing to add.
    reason = models.TextField(default="", blank=True)
    count = models.BigIntegerField()

    class Meta:
        db_table = "AgentStateReadCount"
        constraints = [
            # Its index serves the counting, and the counts since an hour.
            models.UniqueConstraint(fields=["hour", "finding", "reason"], name="AgentStateReadCount_hour_key"),
        ]

    def __str__(self) -> str:
        return f"{self.count} times {self.finding} {self.reason} in the hour of {self.hour}"


class ReadDifference(models.Model):
    """A sample: where the two homes of a project differed although their clocks said that they are in sync."""

    at = models.DateTimeField()
    # No foreign key: a sample must never block the project's deletion.
    project_id = models.TextField()
    state_key = models.TextField()
    path = models.TextField(help_text="The JSON path of the first difference.")
    # NULL says that the value was not there.
    legacy = models.TextField(null=True, blank=True)  # noqa: DJ001
    agentkit = models.TextField(null=True, blank=True)  # noqa: DJ001

    class Meta:
        db_table = "AgentStateReadDifference"

    def __str__(self) -> str:
        return f"{self.path} of project {self.project_id}"
