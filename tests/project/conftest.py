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
from tests.forked import Forked
from tests.project.processes import CLONE, ENVIRONMENT, Manage, ask, is_gone

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


def new_folder(scratch: Path) -> Path:
    folder = Path(tempfile.mkdtemp(dir=scratch))
    folder.chmod(0o755)
    return folder / "data"


@pytest.fixture
def data_dir(scratch: Path) -> Path:
    return new_folder(scratch)


@pytest.fixture(scope="session")
def made_before(scratch: Path) -> Path:
    """The data folder of a server that was made and has ended."""
    folder = new_folder(scratch)
    ask(manage_in(folder))
    assert is_gone(folder)
    return folder


@pytest.fixture
def made(data_dir: Path, made_before: Path) -> None:
    """A server in the test's folder that need not be made. Making one takes a second."""
    subprocess.run(["cp", "-a", made_before, data_dir], check=True)


@pytest.fixture
def manage(data_dir: Path) -> Manage:
    """Run `manage.py` to its end, in a process that need not import everything."""
    return manage_in(data_dir)


def manage_in(data_dir: Path) -> Manage:
    def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        process = Forked(*arguments, environment={**ENVIRONMENT, "AGENTSTATE_DATA_DIR": str(data_dir), **environment})
        out, err = process.communicate()
        return subprocess.CompletedProcess(arguments, process.wait(), out, err)

    return run


@pytest.fixture
def new_python(data_dir: Path) -> Manage:
    """Run `manage.py` to its end in a Python that reads the settings for the first time."""

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
