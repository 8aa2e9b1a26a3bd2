"""Results of shadow reads: counts by the hour, and samples of differences."""

from __future__ import annotations

from django.db import models


class ReadCount(models.Model):
    """The number of reads in one hour that had one finding."""

    class Finding(models.TextChoices):
        COMPARED = "compared", "compared: the clocks said in sync"
        DIFFERENCE = "difference", "a document differed"
        LAG = "lag", "not compared: the clocks said that a home is ahead"
        FALLBACK = "fallback", "the legacy home answered for the AgentKit home"

    # The reason of a fallback for a project that an operator accepted as not moved.
    GIVEN_UP = "given_up"

    hour = models.DateTimeField(help_text="When the hour began.")
    finding = models.TextField(choices=Finding)
    # The state key that differed, the standing of a lag, or why a read fell back; empty for "compared".
    reason = models.TextField(default="", blank=True)
    count = models.BigIntegerField()

    class Meta:
        db_table = "AgentStateReadCount"
        constraints = [
            # Read by the upsert of counts, and by the rollout for the counts since an hour.
            models.UniqueConstraint(fields=["hour", "finding", "reason"], name="AgentStateReadCount_hour_key"),
        ]

    def __str__(self) -> str:
        return f"{self.count} times {self.finding} {self.reason} in the hour of {self.hour}"


class ReadDifference(models.Model):
    """A sample of a difference between the two homes of a project whose clocks said that they are in sync."""

    at = models.DateTimeField()
    # No foreign key: a sample must not block the deletion of the project.
    project_id = models.TextField()
    state_key = models.TextField()
    path = models.TextField(help_text="The JSON path of the first difference.")
    # NULL: the home had no value at this path.
    legacy = models.TextField(null=True, blank=True)  # noqa: DJ001
    agentkit = models.TextField(null=True, blank=True)  # noqa: DJ001

    class Meta:
        db_table = "AgentStateReadDifference"

    def __str__(self) -> str:
        return f"{self.path} of project {self.project_id}"
