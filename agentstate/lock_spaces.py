"""The first numbers of our advisory locks: one for each kind, so that locks of different kinds never meet."""

from __future__ import annotations

# "agst" in ASCII, which other applications on the database are unlikely to take.
DIRECTIONS = 0x61677374
# The second number is the id of what a worker is at.
PASSES = DIRECTIONS + 1
RANGES = DIRECTIONS + 5
# The second number is 0.
STEPS = DIRECTIONS + 2
# The second number is 0 for a count, 1 while its figures are kept.
COUNTS = DIRECTIONS + 3
# The second number is the id of the requested step.
REQUESTS = DIRECTIONS + 4
# The second number is a checksum of the id of the project that an operator decides about.
DECISIONS = DIRECTIONS + 6
