"""A batch: some candidates of a step, moved in one transaction."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Batch:
    """The candidates with ids above ``after`` (None: from the first) up to and including ``upto``.

    ``size`` is how many they are, ``weight`` the bytes of their documents as stored.
    """

    after: str | None
    upto: str
    size: int
    weight: int = 0

    def __add__(self, following: Batch) -> Batch:
        return Batch(self.after, following.upto, self.size + following.size, self.weight + following.weight)
