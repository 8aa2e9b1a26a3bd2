from __future__ import annotations

import os
from typing import Any, NamedTuple


class Account(NamedTuple):
    """The system user that PostgreSQL runs as: the present one, or another one for root."""

    uid: int
    gid: int

    def subprocess_options(self) -> dict[str, Any]:
        """Return how `subprocess` runs a program as this user, with none of the groups of the present one."""
        if self.uid == os.geteuid():
            return {}
        return {"user": self.uid, "group": self.gid, "extra_groups": []}
