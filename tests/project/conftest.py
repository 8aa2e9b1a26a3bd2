"""The scene of these tests: each server has a data folder of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from project.embedded.folders import open_folders_above
from project.embedded.postgres import PROGRAMS
from tests.project.processes import CLONE, ENVIRONMENT, Manage, is_gone

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def scratch() -> Iterator[Path]:
    """A folder that everybody may enter. Servers in it may linger until the end of the tests."""
    folder = Path(tempfile.mkdtemp(prefix="agentstate-tests-"))
    folder.chmod(0o755)
    if os.geteuid() == 0:
        # Of the clone itself it is said here, once, and not in the output that a test looks at.
        open_folders_above([PROGRAMS], may_open_homes=bool(ENVIRONMENT["AGENTSTATE_OPEN_PARENT_FOLDERS"]))
    yield folder
    assert is_gone(folder)
    shutil.rmtree(folder)


@pytest.fixture
def data_dir(scratch: Path) -> Path:
    folder = Path(tempfile.mkdtemp(dir=scratch))
    folder.chmod(0o755)
    return folder / "data"


@pytest.fixture
def manage(data_dir: Path) -> Manage:
    """Run `manage.py` to its end."""

    def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, CLONE / "manage.py", *arguments],
            check=False,
            capture_output=True,
            text=True,
            timeout=60,
            env={**ENVIRONMENT, "AGENTSTATE_DATA_DIR": str(data_dir), **environment},
        )

    return run
