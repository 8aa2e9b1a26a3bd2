"""Run the benchmarks on databases of their own, and print each figure with the ratio that it is held to."""

from __future__ import annotations

import argparse
import os
import sys

import django

BENCHMARKS = ("backfill", "runtime")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("benchmarks", nargs="*", metavar="NAME", help=f"{' or '.join(BENCHMARKS)} (default: both).")
    parser.add_argument("--count", type=int, default=100_000, help="Sample projects of the passes (default: 100000).")
    parser.add_argument("--rounds", type=int, default=3, help="Rounds, of which the median counts (default: 3).")
    parser.add_argument("--slice", type=int, default=1_000, help="Projects of the ORM loop (default: 1000).")
    parser.add_argument(
        "--repeats", type=int, default=1_000, help="How often the runtime does a thing (default: 1000)."
    )
    arguments = parser.parse_args()
    chosen = arguments.benchmarks or BENCHMARKS
    if unknown := [name for name in chosen if name not in BENCHMARKS]:
        parser.error(f"There is no benchmark {unknown[0]}: choose {' or '.join(BENCHMARKS)}.")
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")
    django.setup()
    from benchmarks import backfill, runtime  # models load only once Django is set up

    if "backfill" in chosen:
        backfill.run(arguments.count, arguments.rounds, arguments.slice, sys.stdout)
    if "runtime" in chosen:
        runtime.run(arguments.repeats, arguments.rounds, sys.stdout)


if __name__ == "__main__":
    main()
