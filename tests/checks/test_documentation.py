"""docs/checks.md has every system check, with its message and its hint."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path
from typing import NamedTuple

import pytest
from django.core.checks.registry import registry

from tests.project.processes import CLONE

PACKAGES = ("agentstate", "project")
LEVELS = {"Error": "E", "Warning": "W", "Info": "I"}
CALL = re.compile(rf"\b({'|'.join(LEVELS)})\(")


class Check(NamedTuple):
    """A message that the source makes; the texts are patterns, with what is filled in left open."""

    id: str
    level: str
    message: str
    hint: str


def checks() -> list[Check]:
    return [
        Check(keywords["id"].value, call.func.id, pattern(call.args[0]), pattern(keywords["hint"]))  # type: ignore[attr-defined]
        for package in PACKAGES
        for file in (CLONE / package).rglob("*.py")
        for text in [file.read_text()]
        if CALL.search(text)  # each process that collects tests parses these
        for call in ast.walk(ast.parse(text))
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id in LEVELS
        for keywords in [{keyword.arg: keyword.value for keyword in call.keywords}]
        if "id" in keywords
    ]


def pattern(text: ast.expr) -> str:
    """Return a text's pattern: a constant as it is, whatever else as anything."""
    if isinstance(text, ast.Constant):
        return re.escape(str(text.value))
    if isinstance(text, ast.JoinedStr):
        return "".join(map(pattern, text.values))
    return "[^\n]+"


CHECKS = checks()
SECTIONS = {
    name: " ".join(text.replace("> ", "").split())
    for name, text in re.findall(
        r"^### (\w+\.\w+)\n(.*?)(?=^#|\Z)", (CLONE / "docs" / "checks.md").read_text(), re.MULTILINE | re.DOTALL
    )
}


def test_every_check_has_a_section_and_every_section_a_check() -> None:
    assert SECTIONS.keys() == {check.id for check in CHECKS}


def test_an_id_has_one_meaning() -> None:
    assert len(CHECKS) == len({check.id for check in CHECKS})


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.id)
def test_the_section_has_the_message_and_the_hint(check: Check) -> None:
    assert check.id.partition(".")[2].startswith(LEVELS[check.level])
    for text in (check.message, check.hint):
        assert re.search(text.replace(r"\ ", " "), SECTIONS[check.id]), text


def test_no_registered_check_is_overlooked() -> None:
    """Each registered check is in a file that was read here."""
    registered = [check for check in registry.get_checks() if check.__module__.split(".")[0] in PACKAGES]
    assert registered
    for check in registered:
        assert Path(inspect.getfile(check)).is_relative_to(CLONE)
