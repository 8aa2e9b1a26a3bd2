"""Retention: delete old runs and events, archive them first, and load an archive again.

See docs/retention.md for the rules of what stays.
"""

from agentstate.retention.loading import BrokenArchive, Loaded, load_archive
from agentstate.retention.options import PruneOptions
from agentstate.retention.pruning import Pruned, prune

__all__ = ["BrokenArchive", "Loaded", "PruneOptions", "Pruned", "load_archive", "prune"]
