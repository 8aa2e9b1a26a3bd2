from __future__ import annotations

import os
from typing import Any, NamedTuple


class Account(NamedTuple):
    """The system user that PostgreSQL runs as: the current user, or a separate one for root."""

    uid: int
    gid: int

    def subprocess_options(self) -> dict[str, Any]:
        """Return the options with which ``subprocess`` runs a program as this user, without the groups of root."""
        if self.uid == os.geteuid():
            return {}
        return {"user": self.uid, "group": self.gid, "extra_groups": []}
