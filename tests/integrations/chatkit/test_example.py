"""The example's README, followed."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import httpx
import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.test import Client

from agentstate.models import AgentSession, AgentWorkflowRun
from tests.factories import ProjectFactory
from tests.faults.processes import CLONE, database_url
from tests.integrations.chatkit.client import PATIENCE, message

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

README = (CLONE / "examples" / "chatkit" / "README.md").read_text()


@pytest.fixture
def address(transactional_db: None, tmp_path: Path) -> Iterator[str]:
    """The address of a server that the README's command started, on another port."""
    [command] = re.findall(r"```sh\n(.*?)\n```", README, re.DOTALL)
    process = subprocess.Popen(
        ["sh", "-c", f"exec env {command.replace('.venv/bin/python', sys.executable)} --port 0"],
        cwd=CLONE,
        stderr=subprocess.PIPE,
        text=True,
        env={
            "PATH": os.environ["PATH"],
            "AGENTSTATE_DATA_DIR": str(tmp_path),
            "DATABASE_URL": database_url(),
            "SECRET_KEY": settings.SECRET_KEY,
        },
    )
    with process:
        yield next(found[1] for line in process.stderr if (found := re.search(r"running on (http://[\d.:]+)", line)))
        process.terminate()
        process.communicate(timeout=PATIENCE)


def test_the_example_answers_without_network(address: str) -> None:
    ProjectFactory(id="p1", name="Healthy rivers", documents={"coverage": '{"score": 0.4}'})
    browser = Client()
    browser.force_login(User.objects.create_superuser("ada"))
    cookies = {"sessionid": browser.cookies["sessionid"].value}
    with httpx.Client(base_url=address, cookies=cookies, timeout=PATIENCE, follow_redirects=True) as client:
        page = client.get("/chat/")
        style = client.get("/static/admin/css/base.css")
        [token] = re.findall('token = "(.+?)"', page.text)
        [script] = re.findall('<script nonce="(.+?)">', page.text)
        answer = client.post(
            "/chat/p1/api/",
            json={"type": "threads.create", "params": {"input": message("How far are we?")}},
            headers={"X-CSRFToken": token},
        )

    assert style.status_code == 200
    assert "Chat about Healthy rivers" in page.text
    assert f"'nonce-{script}'" in page.headers["Content-Security-Policy"]
    events = [json.loads(line.removeprefix("data: ")) for line in answer.text.split("\n\n") if line]
    assert events[-1]["item"]["content"][0]["text"] == 'The coverage is {"score": 0.4}.'
    assert AgentWorkflowRun.objects.get().status == "succeeded"
    assert AgentSession.objects.filter(project="p1").count() == 2
