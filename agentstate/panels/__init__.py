"""What the five documents say, taken apart for people: documents in, dataclasses out.

Nothing ever validated these documents. What fits a known shape becomes a field; everything else is kept as it stands,
as an :class:`Odd` part or among an entry's ``odd`` members. Nothing is dropped but null in the place of a field, and
nothing raises.
"""

from agentstate.panels.changes import Change, changes
from agentstate.panels.conflicts import Conflict, Conflicts, Provenance, conflicts
from agentstate.panels.coverage import Coverage, Requirement, Suggestion, coverage, score_of
from agentstate.panels.eligibility import Eligibility, Item, Override, eligibility
from agentstate.panels.facts import Evidence, Fact, Facts, Person, facts
from agentstate.panels.outline import Criterion, Outline, Section, outline
from agentstate.panels.plot import Plot, plot
from agentstate.panels.reading import Odd, short_number

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
