"""Run the benchmarks on a database of their own, and print each figure with the ratio that it is held to."""

from __future__ import annotations

import argparse
import os
import sys

import django


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--count", type=int, default=100_000, help="Sample projects (default: 100000).")
    parser.add_argument("--rounds", type=int, default=3, help="Rounds, of which the median counts (default: 3).")
    parser.add_argument("--slice", type=int, default=1_000, help="Projects of the ORM loop (default: 1000).")
    arguments = parser.parse_args()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")
    django.setup()
    from benchmarks.backfill import run  # models load only once Django is set up

    run(arguments.count, arguments.rounds, arguments.slice, sys.stdout)


if __name__ == "__main__":
    main()
