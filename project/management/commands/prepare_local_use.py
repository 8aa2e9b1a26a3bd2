from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from project.local_login import ensure_local_login
from project.secret_key import ensure_local_secret_key


class Command(BaseCommand):
    help = "Creates what a local server needs, if it is missing: a secret key and an admin login."

    def handle(self, *args: Any, **options: Any) -> None:
        ensure_local_secret_key(settings.AGENTSTATE_DATA_DIR)
        login = ensure_local_login(settings.AGENTSTATE_DATA_DIR)
        if login:
            self.stdout.write(f"Admin login: {login.name}, with the password {login.password}")
        else:
            self.stdout.write("Admin login: use an account that the database already has.")
