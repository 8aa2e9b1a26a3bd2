"""The ledger, what was left aside, and the flags' history, as people read them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from html import unescape
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse as url_of
from django.utils.html import escape

from agentstate.backfill.expectation import Expectation
from agentstate.models import BackfillPass, Flag, FlagChange, LeftAside
from tests.admin.viewers import superuser, viewer
from tests.factories import ProjectFactory
from tests.flags import turn

pytestmark = pytest.mark.django_db

MODELS = ["backfillpass", "leftaside", "flagchange"]
MOMENT = datetime(2024, 5, 1, tzinfo=UTC)
NASTY = "<script>alert(1)</script></textarea>\u202e"


def list_of(model: str, client: Client, **parameters: str) -> str:
    response = client.get(url_of(f"admin:agentstate_{model}_changelist"), parameters)
    assert response.status_code == 200
    return response.content.decode()


def leave_aside(project: str = "p1", error: str = "e", **fields: datetime) -> LeftAside:
    times = {"first_seen_at": MOMENT, "last_seen_at": MOMENT, **fields}
    return LeftAside.objects.create(
        project_id=project, direction="forward", error_class="DataError", error=error, **times
    )


def record(outcome: str, ended: datetime | None, **more: Any) -> BackfillPass:
    return BackfillPass.objects.create(
        direction="forward",
        requested_by="ada@host",
        outcome=outcome,
        started_at=MOMENT,
        seen_at=MOMENT + timedelta(seconds=9),
        ended_at=ended,
        candidates=1_234_567,
        **more,
    )


def test_a_pruning_says_that_its_runs_were_deleted() -> None:
    record("finished", MOMENT, runs=12, events=340)
    BackfillPass.objects.update(direction="prune")
    page = list_of("backfillpass", superuser()).replace("\N{NO-BREAK SPACE}", " ")
    assert "12 runs, 340 events deleted" in page
    assert "0 of 1,234,567" not in page


def test_a_shared_pass_shows_the_ranges_that_workers_began_and_have_not_done() -> None:
    entry = record("running", None)
    ranges = [("done", 1, ""), ("running", 1, ""), ("waiting", 2, f"OperationalError: {NASTY}"), ("waiting", 0, "")]
    for number, (status, attempts, error) in enumerate(ranges, 1):
        entry.ranges.create(
            number=number, up_to="x", status=status, attempts=attempts, error=error, worker="host:7", written=1_000
        )
    page = superuser().get(url_of("admin:agentstate_backfillpass_change", args=[entry.pk])).content.decode()
    items = re.findall("<li>Range (.*?)</li>", page)
    assert [re.sub("<.*?>", "", item) for item in items] == [
        "2: lost, 1,000 moved, 1 attempt, the last by host:7",
        f"3: waiting, 1,000 moved, 2 attempts, the last by host:7. OperationalError: {escape(NASTY)}",
    ]


@pytest.mark.parametrize(
    ("outcome", "ended", "duration"),
    [("finished", MOMENT + timedelta(seconds=75), "1 min 15 s"), ("lost", None, "9.0 s so far")],
)
def test_a_pass_says_what_it_did_and_how_it_ended(outcome: str, ended: datetime | None, duration: str) -> None:
    record(outcome, ended)
    page = list_of("backfillpass", superuser()).replace("\N{NO-BREAK SPACE}", " ")
    assert f'data-status="{outcome}"' in page
    assert duration in page
    assert "1,234,567" in page
    assert "ada@host" in page


def test_a_pass_shows_what_it_moved_and_created() -> None:
    record("finished", MOMENT, written=1_234, merged=2, runs=1_236, events=1)
    page = list_of("backfillpass", superuser()).replace("\N{NO-BREAK SPACE}", " ")
    assert ">1,234 of 1,234,567, 2 merged<" in page
    assert ">1,236 runs, 1 event<" in page


def test_the_page_of_a_pass_shows_its_duration_and_options() -> None:
    entry = record("finished", MOMENT + timedelta(seconds=75), options={"batch_size": 500})
    page = superuser().get(url_of("admin:agentstate_backfillpass_change", args=[entry.pk])).text
    page = page.replace("\N{NO-BREAK SPACE}", " ")
    for part in ("1 min 15 s", "0 of 1,234,567", escape('{\n  "batch_size": 500\n}')):
        assert part in page


def test_the_page_of_a_pass_holds_the_outcome_against_what_it_expected() -> None:
    expected = Expectation(projects=1_000, runs=1_100, events=5_000, disk=2_000_000, free=10**9, seconds=(60, 120))
    entry = record("running", None, written=400, merged=5, runs=410, expected=expected.as_json())
    assert cells_of(entry) == [
        ["", "Expected", "So far"],
        ["Projects", "1,000", "405"],
        ["Runs", "1,100", "410"],
        ["Events", "5,000", "0"],
        ["Sessions", "0", "0"],
        ["Disk", "1.9 MB of 953.7 MB free", "\N{EN DASH}"],
        ["Time", "1 min to 2 min", "\N{EN DASH}"],
    ]
    expected.grown, expected.took, expected.free = 1_000_000, 75.0, None
    BackfillPass.objects.update(outcome="finished", expected=expected.as_json())
    assert [row[2] for row in cells_of(entry)] == ["Outcome", "405", "410", "0", "0", "976.6 KB", "1 min 15 s"]
    assert cells_of(entry)[5][1] == "1.9 MB"


def cells_of(entry: BackfillPass) -> list[list[str]]:
    """Return the texts of the table of what a pass expected."""
    page = superuser().get(url_of("admin:agentstate_backfillpass_change", args=[entry.pk])).content.decode()
    table = re.search(r'<table class="agentstate-expected">.*?</table>', page, re.DOTALL)
    assert table
    rows = re.findall(r"<tr>.*?</tr>", table[0], re.DOTALL)
    return [
        [unescape(cell).replace("\N{NO-BREAK SPACE}", " ") for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row)]
        for row in rows
    ]


def test_the_page_of_a_change_says_what_changed() -> None:
    turn("agentkit_writes", everyone=True)
    change = FlagChange.objects.latest("id")
    page = superuser().get(url_of("admin:agentstate_flagchange_change", args=[change.pk])).content.decode()
    assert change.summary in page


def test_no_page_links_to_the_admins_own_empty_history() -> None:
    turn("agentkit_writes", everyone=True)
    client = superuser()
    rows = [record("finished", MOMENT), FlagChange.objects.latest("id"), Flag.objects.get(name="agentkit_writes")]
    for row in rows:
        page = client.get(url_of(f"admin:agentstate_{row._meta.model_name}_change", args=[row.pk]))
        assert page.status_code == 200
        assert "/history/" not in page.content.decode()


def test_a_left_aside_entry_links_to_its_project_and_shows_its_error() -> None:
    project = ProjectFactory()
    entry = leave_aside(project.id, "invalid input\nCONTEXT: more")
    page = list_of("leftaside", superuser())
    assert f'href="{url_of("admin:agentstate_project_change", args=[project.id])}"' in page
    assert f'href="{url_of("admin:agentstate_leftaside_change", args=[entry.pk])}"' in page
    assert "invalid input" in page
    assert "CONTEXT" not in page
    assert re.search(r'class="field-closed">open<', page)


def test_only_the_shown_part_of_a_long_error_is_read() -> None:
    leave_aside(error="e" * 5_000_000)
    assert len(list_of("leftaside", superuser())) < 50_000


def test_names_and_errors_are_escaped() -> None:
    leave_aside(NASTY, NASTY)
    assert "<script>alert" not in list_of("leftaside", superuser())


def test_open_entries_can_be_filtered() -> None:
    leave_aside("open")
    leave_aside("closed", closed_at=MOMENT)
    page = list_of("leftaside", superuser(), closed_at__isempty="1")
    assert ">open<" in page
    assert ">closed<" not in page
    assert ">Not closed<" in page


def test_flag_changes_are_listed_newest_first() -> None:
    turn("agentkit_writes", everyone=True)
    turn("agentkit_writes", everyone=False)
    page = list_of("flagchange", superuser(), flag="agentkit_writes")
    assert page.index("everyone: unset → no") < page.index("everyone: unset → yes")


@pytest.mark.parametrize("model", MODELS)
def test_the_pages_need_view_permissions(model: str) -> None:
    leave_aside()
    address = url_of(f"admin:agentstate_{model}_changelist")
    assert "agentstate/project/" not in list_of(model, viewer(model))
    assert viewer().get(address).status_code == 403
    assert viewer(*(other for other in MODELS if other != model)).get(address).status_code == 403
    response = Client().get(address)
    assert (response.status_code, response.headers["Location"]) == (302, f"{url_of('admin:login')}?next={address}")
