"""A Django project of somebody else, in a virtual environment of its own, with the built package installed."""

from __future__ import annotations

import re
import subprocess
import sys
import venv
from importlib.metadata import Distribution, distribution
from pathlib import Path
from typing import TYPE_CHECKING, Any

from packaging.requirements import Requirement

from tests.project.processes import CLONE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

# Follows the links of the admin from its index, and prints what answered.
CRAWL = (Path(__file__).parent / "crawl.py").read_text()


def build_wheel(folder: Path) -> Path:
    """Build the wheel from this repository."""
    _pip("wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), str(CLONE))
    [wheel] = folder.glob("*.whl")
    return wheel


def lines_of_the_readme() -> str:
    """Return the settings that the README tells a host to add."""
    [block] = re.findall(r"```python\n([^`]*?INSTALLED_APPS =.*?)```", _readme(), re.DOTALL)
    return str(block)


def statements_of_the_readme() -> str:
    """Return the SQL that the README gives to hosts with flags of waffle's own model."""
    [block] = re.findall(r"```sql\n(INSERT INTO \"AgentStateFlag\".*?)```", _readme(), re.DOTALL)
    return str(block)


def _readme() -> str:
    """Return the README and the pages that it leads to."""
    return "".join(page.read_text() for page in (CLONE / "README.md", *sorted((CLONE / "docs").glob("*.md"))))


def install(folder: Path, wheel: Path) -> Path:
    """Make an environment that has the wheel and its dependencies, and nothing else; return its Python."""
    python = folder / "venv" / "bin" / "python"
    venv.create(folder / "venv", symlinks=True, with_pip=False)
    _pip("--python", str(python), "install", "--quiet", "--no-deps", "--no-index", str(wheel))
    [packages] = (folder / "venv" / "lib").glob("python*/site-packages")
    _bring_dependencies(packages)
    return python


class Host:
    """A project made by ``django-admin startproject``."""

    def __init__(self, folder: Path, python: Path) -> None:
        self.folder = folder / "site"
        self.python = python
        self.folder.mkdir()
        self.run("-m", "django", "startproject", "host", ".")
        self.settings = self.folder / "host" / "settings.py"

    def add_settings(self, lines: str) -> None:
        with self.settings.open("a") as file:
            file.write(f"\n{lines}\n")

    def use_database(self, parameters: dict[str, Any]) -> None:
        self.add_settings(f"DATABASES = {{'default': {parameters!r}}}")

    def manage(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return self.run("manage.py", *arguments, check=check)

    def run(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        result = subprocess.run(
            [self.python, "-W", "error", *arguments],
            cwd=self.folder,
            env={"PATH": "/usr/bin:/bin"},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert not check or result.returncode == 0, result.stdout + result.stderr
        return result


def _bring_dependencies(packages: Path) -> None:
    """Link what the wheel requires, and no more, from the environment of the tests: this needs no network."""
    [installed] = packages.glob("agentstate-*.dist-info")
    for dependency in _closure(Distribution.at(installed).requires or ()):
        for name in _top_level(dependency):
            source, target = Path(str(dependency.locate_file(name))), packages / name
            if source.exists() and not target.exists():
                target.symlink_to(source)


def _closure(requirements: Iterable[str]) -> Iterator[Distribution]:
    """Return the distributions that these requirements need, each once."""
    waiting, seen = [(Requirement(each), "") for each in requirements], set()
    while waiting:
        requirement, extra = waiting.pop()
        if requirement.marker and not requirement.marker.evaluate({"extra": extra}):
            continue
        found = distribution(requirement.name)
        assert requirement.specifier.contains(found.version), f"{found.name} {found.version}"
        for wanted in {"", *requirement.extras}:
            if (requirement.name, wanted) not in seen:
                seen.add((requirement.name, wanted))
                yield found
                waiting += [(Requirement(each), wanted) for each in found.requires or ()]


def _top_level(dependency: Distribution) -> set[str]:
    return {file.parts[0] for file in dependency.files or ()} - {"..", "__pycache__"}


def _pip(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments], check=True)
