"""Run the tests on the oldest and the newest Python and Django, on each PostgreSQL at hand; print a table.

The last cell is the oldest OpenAI Agents SDK of the range in pyproject.toml, with the tests of its integration.

Python comes from PYTHONS, or else from the PATH and pyenv; PostgreSQL from the dependencies and from
/usr/lib/postgresql, or from the folders of programs in POSTGRES. Arguments are pytest's: which tests, and how.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
OLDEST = (3, 11)
EMBEDDED = None  # the PostgreSQL of the dependencies
OLDEST_SDK = "openai-agents==0.21.0"
SDK_TESTS = ["tests/integrations"]
VERSIONS = """
import platform, django, importlib.metadata
print(platform.python_version(), django.__version__, importlib.metadata.version("openai-agents"))"""


class Cell(NamedTuple):
    python: str
    is_newest: bool  # the newest Django rather than the lock's
    postgres: Path | None
    has_oldest_sdk: bool = False  # rather than the lock's


def main() -> None:
    arguments = sys.argv[1:] or ["-n", "logical", "tests"]
    pythons = _pythons()
    servers = [EMBEDDED, *_servers()]
    cells = [Cell(pythons[place], place == -1, server) for place in (0, -1) for server in servers]
    cells.append(Cell(pythons[0], is_newest=False, postgres=EMBEDDED, has_oldest_sdk=True))
    rows, failed = [], False
    with tempfile.TemporaryDirectory(prefix="agentstate-matrix-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        for cell in cells:
            row, code = _run(cell, folder, SDK_TESTS if cell.has_oldest_sdk else arguments)
            rows.append(row)
            failed |= code != 0
    print(f"\npytest {' '.join(arguments)}\n\n| Python | Django | Agents SDK | PostgreSQL | |\n|---|---|---|---|---|")
    print(*rows, sep="\n")
    sys.exit(failed)


def _run(cell: Cell, folder: Path, arguments: list[str]) -> tuple[str, int]:
    python = _environment(cell, folder)
    versions = subprocess.check_output([python, "-c", VERSIONS], text=True).split()
    with _server(cell.postgres, folder) as (url, version):
        print(
            f"\n── Python {versions[0]}, Django {versions[1]}, Agents SDK {versions[2]}, PostgreSQL {version}\n",
            flush=True,
        )
        process = subprocess.run(
            [python, "-m", "pytest", "-q", *arguments],
            cwd=ROOT,
            env={**os.environ, "DATABASE_URL": url},
            stdout=subprocess.PIPE,
            text=True,
            check=False,
        )
        print(process.stdout)
    summary = process.stdout.strip().rpartition("\n")[2].strip("= ")
    return f"| {' | '.join(versions)} | {version} | {summary} |", process.returncode


def _pythons() -> list[str]:
    """Return the oldest Python and the newest at hand."""
    given = os.environ.get("PYTHONS", "").split()
    pyenv = map(str, Path("~/.pyenv/versions").expanduser().glob("3.*/bin/python"))
    on_path = (f"python3.{minor}" for minor in range(OLDEST[1], OLDEST[1] + 10))
    versions: dict[tuple[int, ...], str] = {}
    for python in given or [*on_path, *pyenv]:
        if version := _version(python):
            versions.setdefault(version, python)
    wanted = sorted(version for version in versions if version >= OLDEST)
    if not wanted:
        sys.exit("No Python from 3.11 on was found: name some with PYTHONS=…")
    return [versions[wanted[0]], versions[wanted[-1]]]


def _version(python: str) -> tuple[int, ...] | None:
    script = "import ensurepip, sys; print(*sys.version_info[:2])"
    try:
        answer = subprocess.run([python, "-c", script], check=True, capture_output=True, text=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return None
    return tuple(map(int, answer.split()))


def _environment(cell: Cell, folder: Path) -> Path:
    """Return the Python of an environment with the lock's packages, made once for the cells that share it."""
    environment = folder / f"venv-{'newest' if cell.is_newest else 'sdk' if cell.has_oldest_sdk else 'locked'}"
    python = environment / "bin" / "python"
    if not environment.exists():
        subprocess.run([cell.python, "-m", "venv", environment], check=True)
        pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "--require-hashes", "-r", ROOT / "requirements-dev.lock"], check=True)
        if cell.is_newest:
            subprocess.run([*pip, "--upgrade", "Django"], check=True)
        if cell.has_oldest_sdk:
            subprocess.run([*pip, OLDEST_SDK], check=True)
    return python


def _servers() -> list[Path]:
    given = [Path(folder) for folder in os.environ.get("POSTGRES", "").split()]
    found = given or sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    return [folder for folder in found if (folder / "initdb").exists()]


@contextmanager
def _server(programs: Path | None, folder: Path) -> Iterator[tuple[str, str]]:
    """Run a server; yield its address, empty for the embedded one, and its version."""
    if programs is None:
        yield "", "18 (embedded)"
        return
    version = subprocess.check_output([programs / "postgres", "--version"], text=True).split()[2]
    home = folder / f"postgres-{version}"
    home.mkdir()
    options = _not_as_root(home)
    data = home / "data"
    quiet: dict[str, Any] = {"check": True, "stdout": subprocess.DEVNULL, "cwd": "/", **options}
    subprocess.run([programs / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8"], **quiet)
    control = [programs / "pg_ctl", "-D", data, "-w", "-l", home / "log"]
    subprocess.run([*control, "-o", f"-h '' -k {home} -c fsync=off -c max_connections=200", "start"], **quiet)
    try:
        yield f"postgres://postgres@/postgres?host={home}", version
    finally:
        subprocess.run([*control, "-m", "fast", "stop"], **quiet)
        shutil.rmtree(home)


def _not_as_root(home: Path) -> dict[str, Any]:
    if os.geteuid() != 0:
        return {}
    account = pwd.getpwnam("postgres")  # Debian's packages of the server add this user
    os.chown(home, account.pw_uid, account.pw_gid)
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}


if __name__ == "__main__":
    main()
