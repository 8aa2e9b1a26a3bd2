"""`scripts/install.sh` on machines that lack something, played by small scripts on the path."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.project.processes import CLONE

UTILITIES = ("basename", "rm", "sh")


def install(folder: Path, pythons: dict[str, str], **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the script where these are all the Pythons there are, each with the answer it gives to everything."""
    programs = folder / "bin"
    programs.mkdir()
    for name in UTILITIES:
        (programs / name).symlink_to(next(p for p in (Path("/bin", name), Path("/usr/bin", name)) if p.exists()))
    for name, script in pythons.items():
        (programs / name).write_text(f"#!/bin/sh\n{script}\n")
        (programs / name).chmod(0o755)
    return subprocess.run(
        ["/bin/sh", CLONE / "scripts" / "install.sh", str(folder / "venv"), str(folder / "lock")],
        check=False,
        capture_output=True,
        text=True,
        env={"PATH": str(programs), **environment},
    )


def python(version: str, *, new_enough: bool = True, with_venv: bool = True) -> str:
    return f"""
case "$*" in
*print*) echo {version} ;;
*sys.exit*) exit {int(not new_enough)} ;;
*ensurepip*) exit {int(not with_venv)} ;;
--version) echo Python {version}.1 ;;
*) echo "$0 $*" >> "$(dirname "$0")/../calls" ;;
esac"""


def test_says_that_python_is_missing(tmp_path: Path) -> None:
    result = install(tmp_path, {})
    assert result.stderr == (
        "Python 3.11 or newer is needed (no Python was found): install one, or name it with PYTHON=…\n"
    )
    assert (result.stdout, result.returncode) == ("", 1)


def test_says_that_python_is_too_old(tmp_path: Path) -> None:
    result = install(tmp_path, {"python3": python("3.9", new_enough=False)})
    assert result.stderr == (
        "Python 3.11 or newer is needed (python3 is 3.9): install one, or name it with PYTHON=…\n"
    )
    assert (result.stdout, result.returncode) == ("", 1)


def test_names_the_package_that_is_missing(tmp_path: Path) -> None:
    result = install(tmp_path, {"python3": python("3.11", with_venv=False)})
    assert "apt-get install python3-venv\n" in result.stderr
    assert (result.stdout, result.returncode) == ("", 1)


def test_names_the_package_of_the_python_that_was_asked_for(tmp_path: Path) -> None:
    result = install(tmp_path, {"python3.12": python("3.12", with_venv=False)}, PYTHON="python3.12")
    assert "apt-get install python3.12-venv\n" in result.stderr
    assert result.returncode == 1


def test_takes_a_newer_python_beside_an_old_one(tmp_path: Path) -> None:
    result = install(tmp_path, {"python3": python("3.9", new_enough=False), "python3.12": python("3.12")})
    assert "with Python 3.12.1 …" in result.stdout
