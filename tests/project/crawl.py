"""Open every page of the admin as a superuser, and print as JSON what answered. Runs in a host's own process."""

import json
import re
import sys
from collections import Counter
from html import unescape
from urllib.parse import urljoin

from django.contrib import admin
from django.contrib.auth import get_user_model
from django.contrib.staticfiles.finders import find
from django.core.management import get_commands
from django.test import Client
from django.test.utils import setup_test_environment
from django.urls import resolve, reverse

from agentstate import sessions
from agentstate.models import AgentWorkflowRun, LeftAside
from agentstate.recording import record

PAGES_A_NAME = 8
OTHERS = {"index", "app_list"}

setup_test_environment()  # the test client's host is allowed
client = Client()
client.force_login(get_user_model().objects.create_superuser("crawler"))

with record("wf_normalize", "p2", input={"upload": "u1"}) as run:
    with run.tool("normalize_rfp", {"upload": "u1"}) as call:
        call.output = {"sections": 12}
    run.event("draft.progress", {"section": 3})
    run.save(coverage={"score": 0.8})
sessions.append(sessions.open_for("p2", run=run.run_id), "assistant", "Your coverage is 0.8 now.")
recorded = AgentWorkflowRun.objects.get(id=run.run_id)
invocation = recorded.events.get(type="tool.invocation")
session = recorded.sessions.get()


def page(name: str, *arguments: object) -> str:
    return reverse(f"admin:agentstate_{name}", args=arguments)


# What scripts ask for, and pages that no link leads to.
waiting = [
    reverse("admin:index"),
    *(
        page(f"{model._meta.model_name}_{kind}", row.pk)
        for model in admin.site._registry
        if model._meta.app_label == "agentstate" and not model._meta.proxy
        for row in model._base_manager.all()[:1]
        for kind in ("change", "history")
    ),
    page("agentworkflowrun_live", run.run_id),
    page("agentworkflowrun_payload", run.run_id, invocation.id),
    page("agentworkflowrun_other_half", run.run_id, invocation.id),
    page("project_moment", "p2"),
    page("agentsession_entry", session.id, 1),
    page("agentsession_entry_json", session.id, 1),
    page("leftaside_accept", LeftAside.objects.get().id),
    *(page("agentworkflowrun_cancel", waits.pk) for waits in AgentWorkflowRun.objects.unfinished()[:1]),
]
seen: set[str] = set()
names: Counter[str] = Counter()
wrong = []
html = ""
while waiting:
    address = waiting.pop()
    match = resolve(address.partition("?")[0])
    name = str(match.url_name)
    is_ours = name.startswith("agentstate_") or match.kwargs.get("app_label") == "agentstate"
    if address in seen or names[name] >= PAGES_A_NAME or not (is_ours or name in OTHERS):
        continue
    seen.add(address)
    response = client.get(address, follow=True)
    names[name] += 1
    if response.status_code != 200:
        wrong.append((address, response.status_code))
    elif not response.streaming and "html" in response["Content-Type"]:
        html = response.content.decode()
        links = (urljoin(address, unescape(link)).partition("#")[0] for link in re.findall(r'href="([^"]*)"', html))
        waiting += [link for link in links if link.startswith("/admin/") and "/delete/" not in link]

index = client.get(reverse("admin:index")).content.decode()
ours = [
    url.name
    for model, pages in admin.site._registry.items()
    if model._meta.app_label == "agentstate"
    for url in pages.get_urls()
    if url.name
]
found = {"commands": [*get_commands()], "style": find("agentstate/shared.css")}
json.dump({"names": names, "ours": ours, "wrong": wrong, "index": index, **found}, sys.stdout)
