"""Django's PostgreSQL backend, connected to the embedded server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db.backends.postgresql import base, client

from project.embedded.postgres import PROGRAMS
from project.embedded.server import use_server

if TYPE_CHECKING:
    from collections.abc import Iterable


class DatabaseClient(client.DatabaseClient):
    executable_name = str(PROGRAMS / "psql")

    def runshell(self, parameters: Iterable[str]) -> None:
        self.connection.get_connection_params()
        super().runshell(parameters)


class DatabaseWrapper(base.DatabaseWrapper):
    client_class = DatabaseClient

    def get_connection_params(self) -> dict[str, Any]:
        may_open_folders = settings.AGENTSTATE_OPEN_PARENT_FOLDERS
        self.settings_dict["HOST"] = str(use_server(settings.AGENTSTATE_DATA_DIR, may_open_folders=may_open_folders))
        return super().get_connection_params()
