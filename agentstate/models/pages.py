"""Proxies without tables of their own, for pages of the admin about all runs."""

from __future__ import annotations

from agentstate.models.runs import AgentWorkflowRun


class Usage(AgentWorkflowRun):
    """The tokens and the cost of runs by workflow and day."""

    class Meta:
        proxy = True
        default_permissions = ()
        verbose_name = verbose_name_plural = "usage"


class Storage(AgentWorkflowRun):
    """The disk that the tables take, and the runs of each workflow."""

    class Meta:
        proxy = True
        default_permissions = ()
        verbose_name = verbose_name_plural = "storage"
