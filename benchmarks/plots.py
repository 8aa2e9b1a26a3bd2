"""Draw the kept figures for docs/speed.md."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
PLOTS = Path(__file__).parent.parent / "docs" / "plots"
PASSES = ("forward", "reverse", "verification")
WHAT = {"save": "save", "load": "load", "at": "load as it was", "add": "add to a session", "last": "its last items"}
WIDTH = 0.16


def draw() -> None:
    """Write an SVG for each file of figures that there is, where matplotlib is installed."""
    if find_spec("matplotlib") is None:
        return
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "agentstate"  # the same figures make the same file
    for name, plot in {"growth": _growth, "peers": _peers}.items():
        if (RESULTS / f"{name}.json").exists():
            plot(json.loads((RESULTS / f"{name}.json").read_text()), PLOTS / f"{name}.svg")


def _growth(figures: dict[str, Any], file: Path) -> None:
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4))
    for name in PASSES:
        measured = [each for each in figures["sizes"] if name in each]
        sizes = [each["projects"] for each in measured]
        axes.plot(sizes, [each[name] / each["projects"] * 1e6 for each in measured], marker="o", label=name)
    axes.set(xscale="log", xlabel="projects", ylabel="µs a project")
    axes.set_ylim(bottom=0)
    axes.legend()
    file.parent.mkdir(exist_ok=True)
    figure.savefig(file, metadata={"Date": None}, bbox_inches="tight")
    pyplot.close(figure)


def _peers(figures: dict[str, Any], file: Path) -> None:
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4))
    times = {tuple(name.rsplit(" ", 1)): milliseconds for name, milliseconds in figures["milliseconds"].items()}
    peers = list(dict.fromkeys(peer for peer, _ in times))
    for number, peer in enumerate(peers):
        bars = []
        for group, what in enumerate(WHAT):
            beside = [each for each in peers if (each, what) in times]
            if peer in beside:
                bars.append((group + beside.index(peer) * WIDTH, times[peer, what]))
        axes.bar(*zip(*bars, strict=True), WIDTH, label=peer, color=f"C{number}")
    axes.set_xticks([group + 2 * WIDTH for group in range(len(WHAT))], WHAT.values())
    axes.legend()
    axes.set(ylabel="ms")
    file.parent.mkdir(exist_ok=True)
    figure.savefig(file, metadata={"Date": None}, bbox_inches="tight")
    pyplot.close(figure)
