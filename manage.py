#!/usr/bin/env python
"""Run an administrative command, with one clear sentence where the set-up is wrong."""

from __future__ import annotations

import os
import sys

from django.core.checks import Tags, register
from django.core.exceptions import ImproperlyConfigured
from django.core.management import execute_from_command_line
from django.db import InterfaceError, OperationalError

from project.database import check_connection, connection_failure, server_failure


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")
    register(check_connection, Tags.database)
    try:
        execute_from_command_line(sys.argv)
    except ImproperlyConfigured as error:
        sys.exit(str(error))
    except (OperationalError, InterfaceError) as error:
        # Django's migrate has no sentence for this. In a shell, say, a traceback tells a developer more.
        failure = connection_failure(error) or (server_failure(error) if sys.argv[1:2] == ["migrate"] else None)
        if failure is None:
            raise
        sys.exit(failure)


if __name__ == "__main__":
    main()
