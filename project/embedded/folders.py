"""Folders that PostgreSQL must be able to enter if root starts it, since it then runs as a system user.

A closed folder above its data or programs is opened and reported; one in a home only if the settings allow it.
"""

from __future__ import annotations

import pwd
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from project.embedded.errors import EmbeddedPostgresError

if TYPE_CHECKING:
    from collections.abc import Iterable


def open_folders_above(paths: Iterable[Path], *, may_open_homes: bool) -> None:
    """Let every user enter the folders above these paths. Check all of them before changing any.

    Raises:
        EmbeddedPostgresError: a closed folder is in a home, and the settings do not allow opening it.
    """
    closed = closed_folders_above(paths)
    private = in_homes(closed, home_folders())
    if private and not may_open_homes:
        raise EmbeddedPostgresError(
            f"The embedded PostgreSQL, which root runs as a system user, cannot enter {private[0]}: "
            "keep the project and AGENTSTATE_DATA_DIR outside of this home, or set AGENTSTATE_OPEN_PARENT_FOLDERS=1 "
            "to let every user enter the folder, or DATABASE_URL to use another server."
        )
    if closed:
        names = ", ".join(map(str, closed))
        sys.stderr.write(f"Note: the embedded PostgreSQL, run by root, lets every user enter {names}.\n")
    for folder in closed:
        folder.chmod(stat.S_IMODE(folder.stat().st_mode) | stat.S_IXOTH)


def closed_folders_above(paths: Iterable[Path]) -> list[Path]:
    """Return the existing folders above these paths that other users cannot enter, outermost first."""
    folders = {folder for path in paths for form in (path, path.resolve()) for folder in form.parents}
    return sorted(folder for folder in folders if folder.exists() and not folder.stat().st_mode & stat.S_IXOTH)


def in_homes(folders: Iterable[Path], homes: set[Path]) -> list[Path]:
    """Return the folders that are homes or lie in one."""
    return [folder for folder in folders if not homes.isdisjoint((folder, *folder.parents))]


def home_folders() -> set[Path]:
    """Return the homes of all users, without the root of the file system, which some system users have."""
    return {Path(user.pw_dir) for user in pwd.getpwall()} - {Path("/")}
