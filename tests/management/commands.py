"""Commands run to their end, within this process."""

from __future__ import annotations

import json
from io import StringIO
from typing import Any, NamedTuple

from django.core.management import CommandError, call_command

FORWARD = "backfill_agentkit_state"
REVERSE = "reverse_backfill_agentkit_state"
VERIFY = "verify_agentkit_state"


class Ended(NamedTuple):
    """What a command printed, and its exit code."""

    code: int
    stdout: str
    stderr: str

    @property
    def lines(self) -> list[str]:
        return self.stdout.splitlines()

    @property
    def json(self) -> dict[str, Any]:
        return dict(json.loads(self.stdout))


def call(*command: str, **options: Any) -> Ended:
    stdout, stderr = StringIO(), StringIO()
    try:
        call_command(*command, stdout=stdout, stderr=stderr, **options)
        code = 0
    except SystemExit as exit_:
        code = int(exit_.code or 0)
    except CommandError as error:
        code = error.returncode
        stderr.write(f"{error}\n")
    return Ended(code, stdout.getvalue(), stderr.getvalue())
