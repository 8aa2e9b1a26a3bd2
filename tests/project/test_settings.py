from __future__ import annotations

import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

from tests.project.processes import CLONE, ENVIRONMENT

if TYPE_CHECKING:
    from pathlib import Path

    from tests.project.processes import Manage

PRODUCTION = {
    "AGENTSTATE_HTTPS": "1",
    "ALLOWED_HOSTS": "agentstate.example.com",
    "DATABASE_URL": "postgres://u:p@h/db",
    "SECRET_KEY": "kEy-of-the-production-0123456789-abcdefghijklmnopqrstuvwxyz",
}


def test_the_deployment_check_is_clean_in_production(manage: Manage) -> None:
    result = manage("check", "--deploy", "--fail-level", "WARNING", **PRODUCTION)
    assert result.stderr == ""
    assert result.stdout.startswith("System check identified no issues")
    assert result.returncode == 0


def test_the_deployment_check_warns_without_https(manage: Manage) -> None:
    result = manage("check", "--deploy", "--fail-level", "WARNING", **{**PRODUCTION, "AGENTSTATE_HTTPS": "0"})
    assert "security.W012" in result.stderr
    assert result.returncode == 1


def test_debug_is_off_unless_asked_for(manage: Manage) -> None:
    script = "from django.conf import settings; print(settings.DEBUG)"
    assert manage("shell", "-v0", "-c", script).stdout == "False\n"
    assert manage("shell", "-v0", "-c", script, DEBUG="1").stdout == "True\n"


def test_serving_without_a_secret_key_is_refused(manage: Manage) -> None:
    result = manage("runserver", "--noreload", "127.0.0.1:0")
    assert result.stderr.splitlines()[-1].startswith("SECRET_KEY is not set: put a long random value into ")
    assert "Traceback" not in result.stderr
    assert result.returncode == 1


def test_nothing_of_the_embedded_server_is_imported_with_a_url() -> None:
    script = """
import sys, django
django.setup()
from django.core.management import call_command
from django.db import connections
call_command("check")
connections["default"].client
print(sorted(name for name in sys.modules if "embedded" in name or "pgserver" in name))
"""
    result = subprocess.run(
        [sys.executable, "-c", script],
        check=True,
        capture_output=True,
        text=True,
        cwd=CLONE,
        env={**ENVIRONMENT, **PRODUCTION, "DJANGO_SETTINGS_MODULE": "project.settings"},
    )
    assert result.stdout.splitlines()[-1] == "[]"


def test_dot_env_is_read_and_the_environment_wins(tmp_path: Path) -> None:
    for name in ("project", "agentstate"):
        shutil.copytree(CLONE / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / ".env").write_text("SECRET_KEY=from-file\nALLOWED_HOSTS=a,b\nDATABASE_URL=postgres://h/db\nDEBUG=1\n")
    script = """
from django.conf import settings as s
print(s.SECRET_KEY, s.ALLOWED_HOSTS, s.DATABASES["default"]["ENGINE"], s.DEBUG)
"""
    result = subprocess.run(
        [sys.executable, "-c", script],
        check=True,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={"DJANGO_SETTINGS_MODULE": "project.settings", "DATABASE_URL": "", "DEBUG": "0"},
    )
    assert result.stdout == "from-file ['a', 'b'] project.embedded False\n"
