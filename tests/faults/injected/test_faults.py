"""After any fault no state is lost, no row is half written, the error is clear, and a retry completes the work."""

from __future__ import annotations

import os
import random
from typing import TYPE_CHECKING

from tests.faults.injected.faults import FAULTS, full_disk
from tests.faults.injected.subjects import SUBJECTS
from tests.migrations.databases import Result

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pytest

    from tests.faults.injected.faults import Fault
    from tests.faults.injected.scene import Scene
    from tests.faults.injected.server import Database
    from tests.faults.storms.conftest import Profile
    from tests.forked import Forked

FULL = "disk full"
ALL = [*FAULTS, FULL]
FEW = ["server crashed", "connections cut", "process killed", *([FULL] if os.geteuid() == 0 else [])]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "faults" in metafunc.fixturenames:
        is_long = metafunc.config.getoption("storms") == "long"
        # A few in one test: a server takes longer to make than they take.
        metafunc.parametrize("faults", [[fault] for fault in ALL] if is_long else [FEW], ids=", ".join)


def test_a_fault_loses_nothing(
    request: pytest.FixtureRequest, scene: Scene, faults: list[str], profile: Profile
) -> None:
    chance, quick = random.Random(profile.seed), [name for name, subject in SUBJECTS.items() if not subject.is_slow]
    for fault in faults:
        for name in [*SUBJECTS] * 2 if profile.every else [chance.choice(quick)]:
            if fault == FULL:
                scene.disturb(name, fill(request.getfixturevalue("small_disk")), tablespace="small")
            else:
                scene.disturb(name, FAULTS[fault])
            profile.report({f"faults: {fault}": 1})


def fill(folder: Path) -> Fault:
    """Return the fault of a full disk."""

    def fault(database: Database, start: Callable[[], Forked], moment: float) -> Result:
        with full_disk(folder):
            return Result.of(start())

    return fault
