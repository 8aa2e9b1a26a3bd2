"""Take the pictures of the admin in the README, with a database of samples and the Chromium on the PATH."""

from __future__ import annotations

import os
import shutil
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import django

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "docs" / "screenshots"
DATABASE = "agentstate_screenshots"
WINDOW = {"width": 1440, "height": 900}
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
OPTIONS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
SEED = 1

sys.path.insert(0, str(ROOT))
os.environ["DJANGO_SETTINGS_MODULE"] = "project.settings"
django.setup()

from django.conf import settings  # noqa: E402 - these load models
from django.contrib.auth.models import User  # noqa: E402
from django.contrib.staticfiles.handlers import StaticFilesHandler  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.core.management.utils import get_random_secret_key  # noqa: E402
from django.db import connection  # noqa: E402
from django.test import Client  # noqa: E402
from django.test.testcases import LiveServerThread  # noqa: E402
from django.urls import reverse  # noqa: E402
from django.utils.http import urlencode  # noqa: E402
from playwright.sync_api import sync_playwright  # noqa: E402

from agentstate.actors import acting_as  # noqa: E402
from agentstate.intake.reading import SourceFile  # noqa: E402
from agentstate.models import AgentWorkflowRun, Project  # noqa: E402
from agentstate.orchestrator import ingest  # noqa: E402
from agentstate.rollout.counting import count_now  # noqa: E402
from agentstate.samples.call import sample_call  # noqa: E402
from agentstate.samples.live import Scene, make_live_runs  # noqa: E402
from agentstate.state.read_counts import DISPATCH_UID  # noqa: E402
from agentstate.state.shadowing import readings_made  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser


def main() -> None:
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        sys.exit(f"No Chromium is on the PATH ({', '.join(BROWSERS)}): on Debian, apt-get install chromium.")
    settings.SECRET_KEY = get_random_secret_key()
    FOLDER.mkdir(exist_ok=True)
    with sample_database(), server() as url:
        pages, session = pages_of(live_on(), take_in_documents()), log_in()
        count_now()  # else the page of the rollout would still be counting
        with sync_playwright() as playwright:  # this thread must not query the database inside
            browser = playwright.chromium.launch(executable_path=path, args=OPTIONS)
            take(browser, url, session, pages)
            browser.close()


@contextmanager
def sample_database() -> Iterator[None]:
    """Create and migrate a database, and drop it at the end."""
    connection.settings_dict["TEST"]["NAME"] = DATABASE
    readings_made.disconnect(dispatch_uid=DISPATCH_UID)  # its thread would keep a connection open
    connection.creation.create_test_db(verbosity=0, autoclobber=True, serialize=False)
    try:
        yield
    finally:
        connection.creation.destroy_test_db(connection.settings_dict["NAME"], verbosity=0)


def live_on() -> Scene:
    """Fill the database as the demo does."""
    with acting_as("ada"):
        call_command("seed_legacy_projects", count=2_000, seed=SEED, verbosity=0)
        call_command("backfill_agentkit_state", verbosity=0)
        call_command("agentkit_rollout", "advance", verbosity=0)
        return make_live_runs(SEED)


def take_in_documents() -> AgentWorkflowRun:
    """Ingest the sample call, and return the run."""
    project = Project.objects.create(id="healthy-rivers", user_id="ada", name="Healthy Rivers Grants 2027")
    ingest(project.pk, [SourceFile(name, content) for name, content in sample_call().items()])
    return AgentWorkflowRun.objects.get(project=project, workflow_id="rfp_intake")


@contextmanager
def server() -> Iterator[str]:
    """Serve the admin and yield its address."""
    thread = LiveServerThread("127.0.0.1", StaticFilesHandler)
    thread.daemon = True
    thread.start()
    thread.is_ready.wait()
    if thread.error:
        raise thread.error
    try:
        yield f"http://{thread.host}:{thread.port}"
    finally:
        thread.terminate()


def pages_of(scene: Scene, intake: AgentWorkflowRun) -> dict[str, str]:
    """Return the address of each page by the name of its picture."""
    conflict = urlencode({"key": "limit_conflict:project_narrative_pages"})
    return {
        "home": reverse("admin:app_list", args=["agentstate"]),
        "runs": reverse("admin:agentstate_agentworkflowrun_changelist"),
        "run": reverse("admin:agentstate_agentworkflowrun_change", args=[intake.pk]),
        "project": reverse("admin:agentstate_project_change", args=[scene.succeeded]),
        "intake": reverse("admin:agentstate_project_change", args=[intake.project_id]),
        "conflict": f"{reverse('admin:agentstate_project_conflict', args=[intake.project_id])}?{conflict}",
        "fork": reverse("admin:agentstate_project_change", args=[scene.forked]),
        "rollout": reverse("admin:agentstate_rollout_changelist"),
    }


def log_in() -> str:
    """Return the key of a superuser's session."""
    client = Client()
    client.force_login(User.objects.create_superuser("ada"))
    return client.cookies[settings.SESSION_COOKIE_NAME].value


def take(browser: Browser, url: str, session: str, pages: dict[str, str]) -> None:
    """Write a picture of the first screen of each page."""
    context = browser.new_context(base_url=url, viewport=WINDOW, color_scheme="light", reduced_motion="reduce")
    context.add_cookies([{"name": settings.SESSION_COOKIE_NAME, "value": session, "url": url}])
    page = context.new_page()
    for picture, address in pages.items():
        answer = page.goto(address, wait_until="networkidle")
        if answer is None or not answer.ok:
            sys.exit(f"{address} answered {answer and answer.status}: no picture was taken of it.")
        target = FOLDER / f"{picture}.png"
        page.screenshot(path=target)
        print(f"{target.relative_to(ROOT)}  {target.stat().st_size // 1000} kB")
    context.close()


if __name__ == "__main__":
    main()
