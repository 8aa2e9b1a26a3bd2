"""Make, list and revoke the tokens of the HTTP API."""

from __future__ import annotations

import json
from argparse import ArgumentTypeError
from typing import TYPE_CHECKING, Any

from django.core.management.base import CommandError
from django.db import IntegrityError

from agentstate.management.base import OperatorCommand
from agentstate.management.errors import operator_errors
from agentstate.management.text import print_table, stream_of
from agentstate.models import ApiToken
from agentstate.models.tokens import Scope

if TYPE_CHECKING:
    from django.core.management.base import CommandParser

LONGEST_NAME = 200


def token_name(text: str) -> str:
    """Parse a name that a list can show."""
    if not (text.isprintable() and 0 < len(text.strip()) == len(text) <= LONGEST_NAME):
        raise ArgumentTypeError(
            f"{text!r} is not a name: use 1 to {LONGEST_NAME} printable characters, without spaces around them"
        )
    return text


class Command(OperatorCommand):
    help = (
        "Makes, lists and revokes the tokens of the HTTP API. A new token is printed alone on stdout, once: the "
        "database has only its digest."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True, metavar="create|list|revoke")

        creating = actions.add_parser("create", help="Make a token, and print it.")
        creating.add_argument("name", type=token_name, metavar="NAME", help="Who or what will use it.")
        creating.add_argument(
            "--scope",
            action="append",
            required=True,
            choices=Scope.values,
            dest="scopes",
            help="What it allows; repeatable. admin is reserved: no route asks for it.",
        )

        listing = actions.add_parser("list", help="List the tokens, revoked ones too. Change nothing.")
        listing.add_argument(
            "--format", choices=["text", "json"], default="text", dest="output", help="Tokens as text or JSON."
        )

        revoking = actions.add_parser(
            "revoke", help="Revoke a token. Each process refuses it within two seconds. Its name is free again."
        )
        revoking.add_argument("name", type=token_name, metavar="NAME", help="The token's name.")

    def handle(self, *, action: str, **options: Any) -> None:
        with operator_errors():
            if action == "create":
                self._create(options["name"], options["scopes"])
            elif action == "list":
                self._list(options["output"])
            else:
                self._revoke(options["name"])

    def _create(self, name: str, scopes: list[str]) -> None:
        try:
            token = ApiToken.objects.issue(name, scopes)
        except IntegrityError as error:
            raise CommandError(
                f"A token named {name!r} is in use. Choose another name, or run manage.py agentkit_token revoke first."
            ) from error
        self.stdout.write(token)
        self.stderr.write("This token is not shown again. Send it as Authorization: Bearer …")

    def _list(self, output: str) -> None:
        tokens = list(ApiToken.objects.order_by("created_at", "pk"))
        if output == "json":
            rows = [
                {
                    "name": token.name,
                    "scopes": token.scopes,
                    "created_at": token.created_at.isoformat(),
                    "last_seen_at": token.last_seen_at and token.last_seen_at.isoformat(),
                    "revoked_at": token.revoked_at and token.revoked_at.isoformat(),
                }
                for token in tokens
            ]
            self.stdout.write(json.dumps({"tokens": rows}, indent=2, ensure_ascii=False))
            return
        print_table(
            stream_of(self.stdout),
            "Tokens of the HTTP API",
            ("name", "scopes", "created", "last seen", "revoked"),
            [
                (
                    token.name,
                    ", ".join(token.scopes),
                    *(
                        "-" if at is None else f"{at:%Y-%m-%d %H:%M} UTC"
                        for at in (token.created_at, token.last_seen_at, token.revoked_at)
                    ),
                )
                for token in tokens
            ],
        )

    def _revoke(self, name: str) -> None:
        if not ApiToken.objects.revoke(name):
            raise CommandError(f"No token named {name!r} is in use. Run manage.py agentkit_token list.")
        self.stdout.write(f"Revoked {name}.")
