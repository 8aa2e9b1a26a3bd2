from __future__ import annotations

from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from agentstate import samples
from agentstate.models import Project
from agentstate.samples.management.commands import seed_legacy_projects


def run(*arguments: str) -> tuple[str, str]:
    """Return what the command writes to stdout and to stderr."""
    stdout, stderr = StringIO(), StringIO()
    call_command("seed_legacy_projects", *arguments, stdout=stdout, stderr=stderr)
    return stdout.getvalue(), stderr.getvalue()


@pytest.mark.django_db
class TestSeedLegacyProjects:
    def test_it_reports_what_it_made(self) -> None:
        stdout, stderr = run("--count=12", "--seed=3")

        assert stdout.startswith("Made 12 sample projects in ")
        assert stdout.count("\n") == 1
        assert stderr == ""
        assert Project.objects.count() == 12

    def test_progress_goes_to_stderr(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(samples, "CHUNK", 5)
        monkeypatch.setattr(seed_legacy_projects, "SECONDS_BETWEEN_LINES", 0)

        _, stderr = run("--count=12", "--seed=3")

        assert stderr == "5 of 12 rows\n10 of 12 rows\n"

    def test_no_progress_at_verbosity_0(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(samples, "CHUNK", 5)
        monkeypatch.setattr(seed_legacy_projects, "SECONDS_BETWEEN_LINES", 0)

        assert run("--count=12", "--seed=3", "--verbosity=0")[1] == ""

    def test_it_adds_rows_only_when_asked(self) -> None:
        run("--count=5", "--seed=3")

        with pytest.raises(CommandError, match=r'"Project" already holds rows.*--append') as refusal:
            run("--count=5", "--seed=3")
        assert refusal.value.returncode == 1
        assert Project.objects.count() == 5

        run("--count=5", "--seed=3", "--append")
        assert Project.objects.count() == 10

    def test_the_count_must_be_positive(self) -> None:
        with pytest.raises(CommandError, match="--count is 0, and must be at least 1"):
            run("--count=0", "--seed=3")

    def test_an_interruption_leaves_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def interrupted(*args: object, **kwargs: object) -> int:
            raise KeyboardInterrupt

        monkeypatch.setattr(seed_legacy_projects, "make_projects", interrupted)

        with pytest.raises(CommandError, match="no row was made") as refusal:
            run("--count=5", "--seed=3")
        assert refusal.value.returncode == 130
