"""How hard the storms blow: ``--storms=long`` is for ``make test-faults``, the short ones are part of every run."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pytest

from tests.project.conftest import data_dir, scratch

__all__ = ["data_dir", "scratch"]


@dataclass(frozen=True)
class Profile:
    """What a storm is to do.

    Attributes:
        kills: how many writers are killed.
        crashes: how often the server is.
        every: each single setting of the server is tried, not all of them at once.
        seed: of everything that is left to chance; a failing test prints it.
        report: takes counts, by what they count, for the end of the run.
    """

    kills: int
    crashes: int
    every: bool
    seed: int
    report: Callable[[Mapping[str, int]], None]


@pytest.fixture
def profile(request: pytest.FixtureRequest) -> Profile:
    def report(counts: Mapping[str, int]) -> None:
        request.node.user_properties.extend((f"storms: {name}", count) for name, count in counts.items())

    seed = random.randrange(1_000)
    print(f"storm seed {seed}")  # noqa: T201
    if request.config.getoption("storms") == "long":
        return Profile(kills=60, crashes=8, every=True, seed=seed, report=report)
    return Profile(kills=3, crashes=1, every=False, seed=seed, report=report)
