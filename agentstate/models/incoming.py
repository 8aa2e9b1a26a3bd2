"""Files that wait until a worker reads them."""

from __future__ import annotations

from django.db import models

from agentstate.models.fields import new_id
from agentstate.models.runs import AgentWorkflowRun


class IncomingFile(models.Model):
    """An uploaded file that the intake of its run has not read yet. It is deleted once it is read.

    In the database, because a worker may run on another machine than the request that took the file.
    """

    id = models.TextField(primary_key=True, default=new_id)
    # The database deletes a run's files with it.
    run = models.ForeignKey(AgentWorkflowRun, on_delete=models.DO_NOTHING, db_index=False, related_name="incoming")
    ordinal = models.IntegerField(help_text="Its place among the files of the run.")
    name = models.TextField(help_text="The file's name, without its folder.")
    data = models.BinaryField()

    class Meta:
        db_table = "AgentIncomingFile"
        constraints = [
            # Its index is read by the intake, and by the foreign key's cascade.
            models.UniqueConstraint(fields=["run", "ordinal"], name="AgentIncomingFile_run_ordinal_key"),
        ]

    def __str__(self) -> str:
        return self.name
