"""One server for all tests of injected faults."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.faults.injected.scene import Scene
from tests.faults.injected.server import Server
from tests.faults.storms.conftest import profile
from tests.project.conftest import scratch

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["profile", "scratch"]

DISK = 96  # megabytes


@pytest.fixture(scope="session")
def scene(scratch: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    server = Server.make(scratch / "injected")
    try:
        yield Scene(server, tmp_path_factory.mktemp("injected"))
    finally:
        server.stop("fast")


@pytest.fixture(scope="module")
def small_disk(scene: Scene, scratch: Path) -> Iterator[Path]:
    """A disk of its own, with the tablespace ``small``. The server's log of transactions is on another one."""
    folder = scratch / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK}m,mode=755", "tmpfs", str(folder)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("No file system can be mounted here: run as root.")
    try:
        place = folder / "space"
        place.mkdir()
        subprocess.run(["chown", f"{scene.server.account.uid}:{scene.server.account.gid}", place], check=True)
        scene.server.execute(f"CREATE TABLESPACE small LOCATION '{place}'")
        scene.server.execute("GRANT CREATE ON TABLESPACE small TO PUBLIC")
        yield folder
        scene.server.execute("DROP TABLESPACE small")
    finally:
        subprocess.run(["umount", folder], check=True)
