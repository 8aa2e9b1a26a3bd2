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
from typing import Any

import django
from django.conf import settings
from django.core.management import get_commands, load_command_class
from django.db import connections
from django.db.migrations.loader import MigrationLoader
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
    gc.collect()
    gc.freeze()


def forked(requests: socket.socket) -> dict[str, Any]:
    """Fork a process for each request, and return the request in that process."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        message, streams, *_ = socket.recv_fds(requests, LARGEST_REQUEST, 4)
        if not message:
            requests.close()
            sys.exit()
        if os.fork() == 0:
            requests.close()
            return _watched(json.loads(message), *streams)
        for stream in streams:
            os.close(stream)


def _watched(request: dict[str, Any], status: int, stdin: int, stdout: int, stderr: int) -> dict[str, Any]:
    """Fork once more. The parent reports the child's id, how it ended and its peak of memory; return in the child."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    child = os.fork()
    if child == 0:
        os.dup2(stdin, 0)
        os.dup2(stdout, 1)
        os.dup2(stderr, 2)
    for stream in (stdin, stdout, stderr):
        os.close(stream)
    if child == 0:
        os.close(status)
        return request
    os.write(status, f"{child}\n".encode())
    _, ending, used = os.wait4(child, 0)
    os.write(status, f"{os.waitstatus_to_exitcode(ending)} {used.ru_maxrss}\n".encode())
    os._exit(0)


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
