"""Hold a conflict log against hand-made labels: what was found, what was missed, what was reported wrongly."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rapidfuzz import fuzz

from agentstate.intake.documents import Document
from agentstate.intake.state import Project, WorkedOut, work_out_state
from agentstate.intake.words import plain_words

OVERLAP = 88  # partial ratio from which a quote overlaps a label
COUNTED = frozenset({"limit", "date", "eligibility", "scoring"})
SIDES = ("previous", "next")


@dataclass(frozen=True)
class Label:
    doc: str
    kind: str
    key: str
    previous: str | None
    next: str | None
    level: str
    fact: tuple[str, str]  # what it is one mention of
    covers: tuple[str, ...]


@dataclass(frozen=True)
class Measured:
    """What a log gave against the labels.

    Attributes:
        hit, missed: the distinct core facts, as document and key.
        right, wrong: the entries that hit any label, and those that hit none.
        noise: places that must not be reported, each with the entry that reports it.
        counted: of the distinct core facts, the limits, dates, eligibility and scoring items that were missed.
    """

    hit: list[tuple[str, str]]
    missed: list[tuple[str, str]]
    right: list[dict[str, Any]]
    wrong: list[dict[str, Any]]
    noise: list[tuple[str, str]]
    counted: list[tuple[str, str]]
    counted_of: int

    @property
    def recall(self) -> float:
        return len(self.hit) / (len(self.hit) + len(self.missed))

    @property
    def precision(self) -> float:
        entries = len(self.right) + len(self.wrong)
        return len(self.right) / entries if entries else 1.0


def labelled_bundle() -> Path | None:
    """Return the folder of the labelled bundle beside the checkout, None where there is none."""
    here = Path(__file__).resolve()
    folders = (parent / "shared" / "data" / "rfp" / "fedramp-dashboard" for parent in here.parents)
    return next((folder for folder in folders if (folder / "differences.json").exists()), None)


def documents_in(folder: Path) -> list[Document]:
    files = sorted(file for file in folder.glob("*.md") if "_" in file.name)
    return [Document(file.name, file.name, file.read_text()) for file in files]


def worked_out(folder: Path) -> WorkedOut:
    return work_out_state(documents_in(folder), project=Project("Dashboard"))


def measure(log: Sequence[dict[str, Any]], folder: Path) -> Measured:
    """Hold a log against the labels of its folder. An entry's document is the start of its file's name."""
    labels = _labels(folder)
    hits = [[label for label in labels if _hits(entry, label)] for entry in log]
    found = {label.fact for hit in hits for label in hit if label.level == "core"}
    core = list(dict.fromkeys(label.fact for label in labels if label.level == "core"))
    counted = [fact for fact in core if any(label.fact == fact and label.kind in COUNTED for label in labels)]
    return Measured(
        hit=[fact for fact in core if fact in found],
        missed=[fact for fact in core if fact not in found],
        right=[entry for entry, hit in zip(log, hits, strict=True) if hit],
        wrong=[entry for entry, hit in zip(log, hits, strict=True) if not hit],
        noise=_noise([entry for entry, hit in zip(log, hits, strict=True) if not hit], folder),
        counted=[fact for fact in counted if fact not in found],
        counted_of=len(counted),
    )


def _labels(folder: Path) -> list[Label]:
    labels = json.loads((folder / "differences.json").read_text())
    return [
        Label(
            one["doc"],
            one["kind"],
            one["key"],
            one["previous"],
            one["next"],
            one["level"],
            (one["doc"], one.get("same_as", one["key"])),
            tuple(one.get("covers", ())),
        )
        for one in labels
    ]


def _noise(log: Sequence[dict[str, Any]], folder: Path) -> list[tuple[str, str]]:
    places = json.loads((folder / "noise.json").read_text())["noise"]
    return [
        (place["previous"], entry["key"])
        for place in places
        for entry in log
        if _is_of(entry, place["doc"])
        and all(entry[side] is None or _overlaps(entry[side]["quote"], place[side]) for side in SIDES)
    ]


def _hits(entry: dict[str, Any], label: Label) -> bool:
    if not _is_of(entry, label.doc) or entry["change"] == "contradiction":
        return False
    for side in SIDES:
        said, wanted = entry[side], getattr(label, side)
        if said is None:
            continue
        if wanted is None or not (_overlaps(said["quote"], wanted) or _covered(said["quote"], label, side)):
            return False
        if label.kind in {"limit", "date"} and _numbers(said["value"]) != _numbers(wanted):
            return False
    return True


def _is_of(entry: dict[str, Any], doc: str) -> bool:
    side = entry["next"] or entry["previous"]
    return bool(side["source_upload_id"].startswith(doc))


def _overlaps(quote: str, wanted: str) -> bool:
    return fuzz.partial_ratio(_plain(quote), _plain(wanted)) >= OVERLAP


def _covered(quote: str, label: Label, side: str) -> bool:
    return side == "next" and bool(label.covers) and any(_overlaps(quote, words) for words in label.covers)


def _plain(text: str) -> str:
    return " ".join(plain_words(text))


def _numbers(text: str) -> set[str]:
    return set(re.findall(r"\d+", _plain(text)))
