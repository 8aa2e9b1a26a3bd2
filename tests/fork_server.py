"""Loads what `manage.py` imports, and forks a process for each that is asked for; see ``tests.forked``.

A forked process runs its program as the rest of this one would. It leaves the freeing of all that was loaded to the
system, which takes longer than a short command does, and otherwise ends as any Python does.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import signal
import socket
import sys
import threading
import warnings
from contextlib import suppress
from typing import Any

import django
from django.conf import settings
from django.core.checks import run_checks
from django.core.management import get_commands, load_command_class
from django.db import connections
from django.db.migrations.loader import MigrationLoader
from django.template import engines
from django.template.engine import Engine
from django.utils.functional import empty

LARGEST_REQUEST = 100_000  # bytes


def load() -> None:
    """Import everything that commands need."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell ignores Ctrl-C for what it runs beside itself
    warnings.simplefilter("error")
    os.environ.update(DJANGO_SETTINGS_MODULE="project.settings", SECRET_KEY="-", DATABASE_URL="postgres:///nowhere")
    django.setup()
    for command, app in get_commands().items():
        load_command_class(app, command)
    for module in (settings.ROOT_URLCONF, "project.embedded.base"):
        importlib.import_module(module)
    MigrationLoader(None)
    run_checks()  # as each command does; what it loads takes longer than what it checks
    gc.collect()
    gc.freeze()


def forked(requests: socket.socket) -> dict[str, Any]:
    """Fork a process for each request, and return the request in that process."""
    reports: dict[int, int] = {}  # the stream that each process is reported to
    signal.signal(signal.SIGCHLD, lambda *_: _report_ended(reports))
    while True:
        message, streams, *_ = socket.recv_fds(requests, LARGEST_REQUEST, 4)
        if not message:
            requests.close()
            sys.exit()
        if _is_child(reports, *streams):
            requests.close()
            return json.loads(message)


def _is_child(reports: dict[int, int], status: int, *standard: int) -> bool:
    """Fork. The parent reports the child's id; the child has the standard streams, and no other."""
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])  # until the child is known
    child = os.fork()
    if child:
        reports[child] = status
        with suppress(BrokenPipeError):  # whoever asked may have gone
            os.write(status, f"{child}\n".encode())
    else:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for number, stream in enumerate(standard):
            os.dup2(stream, number)
        for stream in (status, *reports.values()):
            os.close(stream)
    for stream in standard:
        os.close(stream)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGCHLD])
    return child == 0


def _report_ended(reports: dict[int, int]) -> None:
    """Report how each process that has ended did so, and its peak of memory."""
    while reports:
        child, ending, used = os.wait4(-1, os.WNOHANG)
        if not child:
            return
        status = reports.pop(child)
        with suppress(BrokenPipeError):
            os.write(status, f"{os.waitstatus_to_exitcode(ending)} {used.ru_maxrss}\n".encode())
        os.close(status)


def read_settings(environment: dict[str, str]) -> None:
    """Take these variables as the environment, and the settings from them. The apps stay those that are loaded."""
    os.environ.clear()
    os.environ.update(environment)
    os.environ["DJANGO_SETTINGS_MODULE"] = "project.settings"
    sys.stdout.reconfigure(write_through="PYTHONUNBUFFERED" in environment)
    importlib.reload(sys.modules["project.settings"])
    settings._wrapped = empty
    for connection in connections.all(initialized_only=True):  # objects that never connected
        del connections[connection.alias]
    connections.__dict__.pop("settings", None)
    connections._settings = None
    engines.__dict__.pop("templates", None)
    engines._templates = None
    engines._engines = {}
    Engine.get_default.cache_clear()


def leave_at_once(code: int) -> None:
    """End this process at once. Return if its output cannot be written, which Python itself is to report."""
    threading._shutdown()
    atexit._run_exitfuncs()
    connections.close_all()
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        return
    os._exit(code & 0xFF)


if __name__ == "__main__":
    load()
    request = forked(socket.socket(fileno=int(sys.argv[1])))
    sys.argv = ["manage.py", *request["arguments"]]
    read_settings(request["environment"])
    try:
        exec(request["program"])
    except SystemExit as leaving:
        if isinstance(leaving.code, int | None):
            leave_at_once(leaving.code or 0)
        raise
    leave_at_once(0)
