"""Run the benchmarks on databases of their own, and print each figure with the ratio that it is held to."""

from __future__ import annotations

import argparse
import os
import sys
from importlib import import_module
from importlib.util import find_spec

import django

# What each benchmark takes of the arguments, in the order in which they run. A module is imported when its turn comes:
# models load only once Django is set up, and importing some SDKs takes seconds.
TAKES = {
    "backfill": ("count", "rounds", "slice"),
    "busy": ("count", "rounds"),
    "runtime": ("repeats", "rounds"),
    "pages": ("views", "large_events"),
    "runs": ("views", "large_runs"),
    "projects": ("views", "large_projects"),
    "intake": ("rounds",),
    "agents": ("rounds",),
    "sessions": ("few_repeats", "rounds"),
    "streams": ("rounds",),
    "api": ("repeats", "rounds"),
    "peers": ("repeats", "rounds"),
    "partitions": ("events", "repeats", "rounds"),
    "growth": ("sizes", "present", "resume"),
}
# Take hours, or a hundred gigabytes, at their default sizes, so they run only when they are named.
LONG = {"partitions", "growth"}
# The dependency group of that name.
PEERS = ("langgraph", "pghistory", "simple_history")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "benchmarks", nargs="*", metavar="NAME", help=f"{', '.join(TAKES)} (default: all but partitions and growth)."
    )
    parser.add_argument("--count", type=int, default=100_000, help="Sample projects of the passes (default: 100000).")
    parser.add_argument("--rounds", type=int, default=3, help="Rounds, of which the median counts (default: 3).")
    parser.add_argument("--slice", type=int, default=1_000, help="Projects of the ORM loop (default: 1000).")
    parser.add_argument(
        "--repeats", type=int, default=1_000, help="How often the runtime does a thing (default: 1000)."
    )
    parser.add_argument("--views", type=int, default=25, help="How often each page is opened (default: 25).")
    parser.add_argument(
        "--large-events", type=int, default=100_000, help="Events of the long run of the pages (default: 100000)."
    )
    parser.add_argument(
        "--large-runs", type=int, default=1_000_000, help="Runs of their long list (default: 1000000)."
    )
    parser.add_argument(
        "--large-projects", type=int, default=1_000_000, help="Projects of their long list (default: 1000000)."
    )
    parser.add_argument(
        "--events", type=int, default=50_000_000, help="Events of each table of partitions (default: 50000000)."
    )
    parser.add_argument(
        "--sizes", type=int, nargs="*", default=[10_000, 100_000, 1_000_000], help="Projects of growth, each size."
    )
    parser.add_argument(
        "--present",
        type=int,
        default=1_000_000,
        help="Projects, each of 10 runs with 5 events, beside which growth measures the runtime (default: 1000000).",
    )
    parser.add_argument(
        "--resume", action="store_true", help="Keep the figures of an earlier run of growth; measure what they lack."
    )
    arguments = parser.parse_args()
    arguments.few_repeats = arguments.repeats // 50
    if unknown := [name for name in arguments.benchmarks if name not in TAKES]:
        parser.error(f"There is no benchmark {unknown[0]}: choose of {', '.join(TAKES)}.")
    return arguments


def main() -> None:
    arguments = _arguments()
    chosen = [name for name in TAKES if name in (arguments.benchmarks or TAKES.keys() - LONG)]
    if "peers" in chosen and not all(find_spec(name) for name in PEERS):
        chosen.remove("peers")
        sys.stdout.write("The peers are not measured: install the dependency group peers, see docs/speed.md.\n")
    settings = "benchmarks.peers.settings" if "peers" in chosen else "project.settings"
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", settings)
    os.environ.setdefault("SECRET_KEY", "a key for benchmarks only")  # some log in
    django.setup()
    for name in chosen:
        benchmark = import_module(f"benchmarks.{name}")
        benchmark.run(*(getattr(arguments, each) for each in TAKES[name]), sys.stdout)


if __name__ == "__main__":
    main()
