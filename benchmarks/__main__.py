"""Run the benchmarks on databases of their own, and print each figure with the ratio that it is held to."""

from __future__ import annotations

import argparse
import os
import sys

import django

BENCHMARKS = ("backfill", "runtime", "pages", "projects", "intake", "agents", "sessions", "streams", "api")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("benchmarks", nargs="*", metavar="NAME", help=f"{', '.join(BENCHMARKS)} (default: all).")
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
        "--large-runs", type=int, default=1_000_000, help="Runs of the long list of the pages (default: 1000000)."
    )
    parser.add_argument(
        "--large-projects", type=int, default=1_000_000, help="Projects of their long list (default: 1000000)."
    )
    arguments = parser.parse_args()
    if unknown := [name for name in arguments.benchmarks if name not in BENCHMARKS]:
        parser.error(f"There is no benchmark {unknown[0]}: choose of {', '.join(BENCHMARKS)}.")
    return arguments


def main() -> None:
    arguments = _arguments()
    chosen = arguments.benchmarks or BENCHMARKS
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")
    django.setup()
    from benchmarks import (
        backfill,
        intake,
        pages,
        projects,
        runtime,
        sessions,
    )  # models load only once Django is set up

    if "backfill" in chosen:
        backfill.run(arguments.count, arguments.rounds, arguments.slice, sys.stdout)
    if "runtime" in chosen:
        runtime.run(arguments.repeats, arguments.rounds, sys.stdout)
    if "pages" in chosen:
        pages.run(arguments.views, arguments.large_events, arguments.large_runs, sys.stdout)
    if "projects" in chosen:
        projects.run(arguments.views, arguments.large_projects, sys.stdout)
    if "intake" in chosen:
        intake.run(arguments.rounds, sys.stdout)
    if "agents" in chosen:
        from benchmarks import agents  # importing the SDK takes seconds

        agents.run(arguments.rounds, sys.stdout)
    if "sessions" in chosen:
        sessions.run(arguments.repeats // 50, arguments.rounds, sys.stdout)
    if "streams" in chosen:
        from benchmarks import streams  # importing ChatKit takes seconds

        streams.run(arguments.rounds, sys.stdout)
    if "api" in chosen:
        from benchmarks import api  # the server is not part of the product

        api.run(arguments.repeats, arguments.rounds, sys.stdout)


if __name__ == "__main__":
    main()
