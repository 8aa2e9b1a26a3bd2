"""The documents never pass through Python, so its memory does not grow with them."""

from __future__ import annotations

import pytest

from tests.faults.processes import FORWARD, REVERSE, VERIFY, run
from tests.scenes import make_samples, save_in_agentkit
from tests.sql import count, sql

pytestmark = pytest.mark.django_db(transaction=True)

KILOBYTES = 1024  # in a megabyte


def peak(*command: str) -> int:
    """Run a command, and return the most memory that it held, in megabytes."""
    ended = run(*command)
    assert ended.process.returncode == 0, ended.stderr
    return ended.process.peak // KILOBYTES


def test_memory_stays_under_150_megabytes() -> None:
    make_samples(2000)
    sql(
        """
        UPDATE "Project" SET "factsJson" =
            (SELECT jsonb_agg(md5(number::text || id)) FROM generate_series(1, 100000) number)
        WHERE id IN (SELECT id FROM "Project" ORDER BY id LIMIT 4)
        """
    )
    assert count("Project", 'pg_column_size("factsJson") > 3000000') == 4

    assert peak(FORWARD) < 150
    save_in_agentkit(coverage=1)
    assert peak(REVERSE, "--workers", "2") < 150
    assert peak(VERIFY) < 150
