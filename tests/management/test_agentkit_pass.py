"""`agentkit_pass` refuses arguments that the database cannot take, in a sentence."""

from __future__ import annotations

import pytest
from django.core.management import CommandError, call_command

from agentstate.backfill import PassOptions, fleet
from agentstate.models.passes import Direction

pytestmark = pytest.mark.django_db


def test_a_name_that_is_not_utf_8_is_refused() -> None:
    entry = fleet.begin(PassOptions(Direction.FORWARD), 10)
    with pytest.raises(CommandError, match="not valid UTF-8"):
        call_command("agentkit_pass", "pause", str(entry.pk), "--by", "ada\udcff")


@pytest.mark.parametrize("number", [2**63, 10**30])
def test_a_number_beyond_the_database_s_integers_is_refused(number: int) -> None:
    with pytest.raises(CommandError, match="the database's largest integer"):
        call_command("agentkit_pass", "list", "--limit", str(number))
