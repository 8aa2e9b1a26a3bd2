"""The site's settings with the peers' apps."""

from __future__ import annotations

from project.settings import *  # noqa: F403
from project.settings import INSTALLED_APPS as SITE

INSTALLED_APPS = [*SITE, "pgtrigger", "pghistory", "simple_history", "benchmarks.peers"]
PGHISTORY_ADMIN_MODEL = None
