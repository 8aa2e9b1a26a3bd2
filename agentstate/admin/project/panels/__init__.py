"""What the five documents say, taken apart for people: documents in, dataclasses out.

These documents were never validated. What fits a known shape becomes a field; everything else is kept unchanged,
as an :class:`Odd` part or among an entry's ``odd`` members. Nothing is dropped but null in the place of a field, and
nothing raises.
"""

from agentstate.admin.project.panels.changes import Change, change_of, changes
from agentstate.admin.project.panels.conflicts import Conflict, Conflicts, Provenance, conflicts
from agentstate.admin.project.panels.coverage import Coverage, Requirement, Suggestion, coverage, score_of
from agentstate.admin.project.panels.eligibility import Eligibility, Item, Override, eligibility
from agentstate.admin.project.panels.facts import Evidence, Fact, Facts, Person, facts
from agentstate.admin.project.panels.outline import Criterion, Outline, Section, outline
from agentstate.admin.project.panels.plot import Plot, plot
from agentstate.admin.project.panels.reading import Odd, short_number

__all__ = [
    "Change",
    "Conflict",
    "Conflicts",
    "Coverage",
    "Criterion",
    "Eligibility",
    "Evidence",
    "Fact",
    "Facts",
    "Item",
    "Odd",
    "Outline",
    "Override",
    "Person",
    "Plot",
    "Provenance",
    "Requirement",
    "Section",
    "Suggestion",
    "change_of",
    "changes",
    "conflicts",
    "coverage",
    "eligibility",
    "facts",
    "outline",
    "plot",
    "score_of",
    "short_number",
]
