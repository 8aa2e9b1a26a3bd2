"""What root opens for the embedded PostgreSQL, and what it refuses to open."""

from __future__ import annotations

import os
import pwd
import stat
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from project.embedded import folders
from project.embedded.errors import EmbeddedPostgresError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.project.processes import Manage

only_root = pytest.mark.skipif(os.geteuid() != 0, reason="a plain user's server runs as that user")


def mode(folder: Path) -> int:
    return stat.S_IMODE(folder.stat().st_mode)


@pytest.fixture
def closed(data_dir: Path) -> Path:
    folder = data_dir.parent / "closed"
    folder.mkdir(mode=0o700)
    return folder


def test_finds_what_others_cannot_enter(closed: Path) -> None:
    inner = closed / "open" / "inner"
    inner.mkdir(parents=True)
    assert folders.closed_folders_above([inner / "data"]) == [closed]


def test_finds_it_behind_a_symbolic_link(closed: Path, data_dir: Path) -> None:
    link = data_dir.parent / "link"
    (closed / "folder").mkdir()
    link.symlink_to(closed / "folder")
    assert folders.closed_folders_above([link / "data"]) == [closed]


def test_opens_and_names_a_closed_folder_outside_of_homes(closed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folders.open_folders_above([closed / "data"], may_open_homes=False)
    assert mode(closed) == 0o701
    assert capsys.readouterr().err == f"Note: the embedded PostgreSQL, run by root, lets every user enter {closed}.\n"


def test_says_nothing_where_everything_is_open(data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folders.open_folders_above([data_dir], may_open_homes=False)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("home", ["closed", "."])
def test_refuses_a_closed_folder_in_a_home_unless_told(
    home: str, closed: Path, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folders, "home_folders", lambda: {(data_dir.parent / home).resolve()})
    outside = data_dir.parent.with_name("outside")
    outside.mkdir(mode=0o700, exist_ok=True)
    with pytest.raises(EmbeddedPostgresError, match="AGENTSTATE_OPEN_PARENT_FOLDERS=1"):
        folders.open_folders_above([outside / "data", closed / "data"], may_open_homes=False)
    assert (mode(outside), mode(closed)) == (0o700, 0o700)

    folders.open_folders_above([outside / "data", closed / "data"], may_open_homes=True)
    assert (mode(outside), mode(closed)) == (0o701, 0o701)
    outside.rmdir()


def test_does_not_take_the_root_of_the_file_system_for_a_home() -> None:
    assert Path("/") not in folders.home_folders()


@only_root
def test_names_the_folders_it_opens_when_the_server_starts(manage: Manage, closed: Path) -> None:
    result = manage("dbshell", "--", "-Atc", "SELECT 1", AGENTSTATE_DATA_DIR=str(closed / "data"))
    assert (result.stdout, result.returncode) == ("1\n", 0)
    assert result.stderr == f"Note: the embedded PostgreSQL, run by root, lets every user enter {closed}.\n"
    assert mode(closed) == 0o701


@pytest.fixture
def closed_home() -> Iterator[Path]:
    """A folder in root's own home, which nobody is asked to open."""
    home = Path(pwd.getpwuid(0).pw_dir)
    if home == Path("/") or mode(home) & stat.S_IXOTH:
        pytest.skip("root's home is open")
    with tempfile.TemporaryDirectory(dir=home) as folder:
        yield Path(folder)


@only_root
def test_refuses_to_open_roots_home_and_changes_nothing(manage: Manage, closed_home: Path) -> None:
    before = mode(closed_home.parent)
    result = manage("migrate", AGENTSTATE_DATA_DIR=str(closed_home / "data"), AGENTSTATE_OPEN_PARENT_FOLDERS="")
    assert (result.stdout, result.returncode) == ("", 1)
    assert result.stderr.startswith("The embedded PostgreSQL, which root runs as a system user, cannot enter ")
    assert result.stderr.count("\n") == 1
    assert mode(closed_home.parent) == before
    assert list(closed_home.iterdir()) == []
