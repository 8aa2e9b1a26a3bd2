"""The package works where no SDK for agents is installed."""

from __future__ import annotations

import subprocess
import sys

from tests.faults.processes import CLONE

PROGRAM = """
import os, sys, pkgutil
for name in ("agents", "chatkit", "openai"):
    sys.modules[name] = None  # importing it fails
os.environ["DJANGO_SETTINGS_MODULE"] = "project.settings"
import django
django.setup()
from django.core.management import get_commands, load_command_class
from django.urls import get_resolver
for name, app in get_commands().items():
    if app.startswith("agentstate"):
        load_command_class(app, name).create_parser("manage.py", name)
get_resolver().url_patterns
import agentstate.approvals, agentstate.sessions
from agentstate.integrations import agents, chatkit
chatkit.chatkit_view("a.server", None), chatkit.attachment_view(None)
for module, name in ((agents, "run_workflow"), (chatkit, "RecordedServer")):
    try:
        getattr(module, name)
    except ImportError as error:
        print(error)
"""


def test_the_package_and_its_commands_work_without_the_extras_for_agents() -> None:
    program = [sys.executable, "-c", PROGRAM]
    done = subprocess.run(program, cwd=CLONE, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "pip install 'agentstate[agents]'" in done.stdout
    assert "pip install 'agentstate[chatkit]'" in done.stdout
