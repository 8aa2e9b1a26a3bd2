"""The options that say how much of the server a pass takes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentstate.management.arguments import ratio, seconds

if TYPE_CHECKING:
    from django.core.management.base import CommandParser


def add_pacing(parser: CommandParser, *, defaults: bool) -> None:
    """Add the options. Without defaults, an option that is not given is None."""

    def default(value: float) -> float | None:
        return value if defaults else None

    parser.add_argument(
        "--target-seconds",
        type=seconds,
        default=default(1.0),
        metavar="S",
        help="Adapt the batches to take this long (default: 1).",
    )
    parser.add_argument(
        "--sleep-ratio",
        type=ratio,
        default=default(0.0),
        metavar="R",
        help="Sleep R seconds after each second of work (default: 0).",
    )
    parser.add_argument(
        "--max-lag",
        type=seconds,
        metavar="S",
        help="Wait while a streaming replica is more than S seconds behind (default: replicas are not looked at).",
    )
