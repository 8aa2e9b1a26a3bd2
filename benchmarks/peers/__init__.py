"""Ours beside what others use for the same work: an app of its own, whose tables are in the benchmark's database."""

from __future__ import annotations

import json
from typing import TextIO

from benchmarks.plots import RESULTS, draw


def run(repeats: int, rounds: int, out: TextIO) -> None:
    """Measure states and sessions, as :mod:`benchmarks.peers.measuring` says."""
    from benchmarks.peers import measuring  # this module is an app's, which is imported before models can be

    medians = measuring.run(repeats, rounds, out)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "peers.json").write_text(json.dumps({"milliseconds": medians}, indent=2) + "\n")
    draw()
