from __future__ import annotations

import stat
from typing import TYPE_CHECKING

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command

from project.local_login import Login, ensure_local_login
from project.secret_key import ensure_local_secret_key, local_secret_key

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_django import Settings


def test_the_secret_key_is_made_once_and_only_its_owner_may_read_it(tmp_path: Path) -> None:
    assert local_secret_key(tmp_path) == ""
    ensure_local_secret_key(tmp_path)
    key = local_secret_key(tmp_path)
    ensure_local_secret_key(tmp_path)
    assert local_secret_key(tmp_path) == key
    assert len(key) >= 50
    assert stat.S_IMODE((tmp_path / "secret-key").stat().st_mode) == 0o600


@pytest.mark.django_db
def test_the_login_is_made_once(tmp_path: Path) -> None:
    login = ensure_local_login(tmp_path)
    assert login
    assert User.objects.get(username=login.name).check_password(login.password)
    assert ensure_local_login(tmp_path) == login
    assert User.objects.count() == 1


@pytest.mark.django_db
def test_the_login_is_made_with_the_same_password_in_a_new_database(tmp_path: Path) -> None:
    login = ensure_local_login(tmp_path)
    User.objects.all().delete()
    assert ensure_local_login(tmp_path) == login


@pytest.mark.django_db
def test_an_account_that_is_not_ours_is_left_alone(tmp_path: Path) -> None:
    User.objects.create_superuser("admin", password="theirs")
    assert ensure_local_login(tmp_path) is None
    assert User.objects.get().check_password("theirs")


@pytest.mark.django_db
def test_the_command_prints_the_login(tmp_path: Path, settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    settings.AGENTSTATE_DATA_DIR = tmp_path / "data"
    call_command("prepare_local_use")
    password = (tmp_path / "data" / "admin-password").read_text()
    assert capsys.readouterr().out == f"Admin login: {Login('admin', password).name}, with the password {password}\n"
    assert local_secret_key(tmp_path / "data")
