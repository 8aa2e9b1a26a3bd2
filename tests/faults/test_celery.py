"""A shared pass on Celery and Redis, with the module that docs/fleet.md shows."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from agentstate.backfill.verification import verify
from agentstate.models import BackfillPass, PassRange
from tests.faults.processes import CLONE, FORWARD, database_url, wait_until
from tests.scenes import make_samples

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(not shutil.which("redis-server"), reason="redis-server is not on the PATH"),
    pytest.mark.skipif(not importlib.util.find_spec("celery"), reason="Celery is not installed"),
]
MODULE = re.search(r"```python\n(# queue_on_celery\.py\n.*?)```", (CLONE / "docs/fleet.md").read_text(), re.DOTALL)


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[dict[str, str]]:
    """A Redis on a socket, and the environment of processes that use it."""
    assert MODULE
    (tmp_path / "queue_on_celery.py").write_text(MODULE[1])
    socket = tmp_path / "redis.sock"
    redis = subprocess.Popen(
        ["redis-server", "--port", "0", "--unixsocket", str(socket), "--save", "", "--dir", str(tmp_path)],
        stdout=subprocess.DEVNULL,
    )
    try:
        wait_until(socket.exists)
        yield {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": os.pathsep.join([str(tmp_path), str(CLONE), os.environ.get("PYTHONPATH", "")]),
            "DATABASE_URL": database_url(),
            "SECRET_KEY": "a key for tests only",
            "CELERY_BROKER_URL": f"redis+socket://{socket}",
            "AGENTSTATE_TASKS_BACKEND": "queue_on_celery.CeleryBackend",
        }
    finally:
        redis.terminate()
        redis.wait(30)


def test_workers_share_a_pass_although_one_is_killed(environment: dict[str, str]) -> None:
    make_samples(40)
    manage = [sys.executable, str(CLONE / "manage.py")]
    subprocess.run([*manage, FORWARD, "--enqueue", "--range-size", "5"], env=environment, check=True, timeout=120)
    worker = [sys.executable, "-m", "celery", "-A", "queue_on_celery", "worker", "--concurrency", "2", "-l", "ERROR"]
    with ExitStack() as ending:
        first, second = (
            subprocess.Popen(worker, env=environment, start_new_session=True, stderr=subprocess.DEVNULL)
            for _ in range(2)
        )
        for each in (first, second):
            ending.callback(each.wait, 60)
            ending.callback(_kill, each)
        wait_until(lambda: PassRange.objects.filter(status="done").exists(), seconds=120)
        _kill(first)
        wait_until(lambda: BackfillPass.objects.with_state().get().state != "running", seconds=120)
        if BackfillPass.objects.get().outcome == "running":  # the range of the killed worker was the last
            subprocess.run(
                [*manage, "agentkit_pass", "resume", str(BackfillPass.objects.get().pk)],
                env=environment,
                check=False,
                timeout=120,
            )
            wait_until(lambda: BackfillPass.objects.get().outcome == "finished", seconds=120)
    assert verify().clean


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kill a worker with the processes that it forked."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
