"""System checks. docs/checks.md lists each by id, with its message and its hint.

``manage.py check`` runs those of the settings; ``manage.py check --database default`` and ``manage.py migrate`` run
those of the database as well.
"""

from agentstate.checks import api, database, flags, settings

__all__ = ["api", "database", "flags", "settings"]
