"""The intake: a labelled bundle in CPU time, and long PDF files in time and memory, each in a process of its own."""

from __future__ import annotations

import multiprocessing
import random
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TextIO

from agentstate.intake.documents import Document
from agentstate.intake.reading import read_document
from agentstate.intake.state import work_out_state
from agentstate.intake.words import vocabulary
from agentstate.samples.papers import pdf
from benchmarks.intake_labels import documents_in, labelled_bundle

PAGES = 500
BUNDLE_SECONDS, PAGES_SECONDS, MEGABYTES = 1.0, 10.0, 300
SEED = 2025
_WORDS = sorted(
    vocabulary(
        "contractor report system data plan review delivery government program service quality record training access"
        " network security budget invoice schedule staff manager office travel equipment software testing notice"
    )
)


@dataclass(frozen=True)
class Spent:
    """CPU time beyond imports, and the most memory that the process ever held."""

    seconds: float
    megabytes: float


def run(rounds: int, out: TextIO) -> None:
    """Measure and print each figure with its bound.

    Args:
        rounds: how often each thing is measured; the median counts.
        out: where the figures go.
    """
    if labelled_bundle() is None:
        print("intake    labelled bundle: not beside the checkout", file=out)
    else:
        spent = _median(_bundle, rounds)
        print(f"intake    labelled bundle    {spent.seconds:6.2f} s CPU  (bound {BUNDLE_SECONDS:g} s)", file=out)
    for name, work in (("read and work out", _one_long), ("and compare with a second version", _two_long)):
        spent = _median(work, rounds)
        print(
            f"intake    {PAGES} pages, {name}    {spent.seconds:6.2f} s CPU  (bound {PAGES_SECONDS:g} s)"
            f"  {spent.megabytes:4.0f} MB  (bound {MEGABYTES} MB)",
            file=out,
        )


def _median(work: Callable[[], Spent], rounds: int) -> Spent:
    context = multiprocessing.get_context("spawn")
    spent = []
    for _ in range(rounds):
        with context.Pool(1) as pool:
            spent.append(pool.apply(work))
    return sorted(spent, key=lambda one: one.seconds)[len(spent) // 2]


def _bundle() -> Spent:
    folder = labelled_bundle()
    assert folder is not None  # noqa: S101 - run has looked
    documents = documents_in(folder)
    return _spent(lambda: work_out_state(documents))


def _one_long() -> Spent:
    data = pdf(_pages())
    return _spent(lambda: work_out_state([Document("1", "RFP v1.pdf", read_document("RFP v1.pdf", data))]))


def _two_long() -> Spent:
    pages = _pages()
    changed = [
        page.replace("within", "not later than", 1) if place % 50 == 0 else page for place, page in enumerate(pages)
    ]
    files = [(f"RFP v{number}.pdf", pdf(version)) for number, version in enumerate((pages, changed), 1)]
    return _spent(lambda: work_out_state([Document(name, name, read_document(name, data)) for name, data in files]))


def _spent(work: Callable[[], object]) -> Spent:
    started = time.process_time()
    work()
    seconds = time.process_time() - started
    return Spent(seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def _pages() -> list[str]:
    chance = random.Random(SEED)
    return [_page(number, chance) for number in range(1, PAGES + 1)]


def _page(number: int, chance: random.Random) -> str:
    lines = [
        "Office of Samples   Request for Proposals 77",
        "",
        f"{number}.1 {' '.join(chance.choices(_WORDS, k=3)).title()}",
    ]
    for _ in range(14):
        sentence = " ".join(chance.choices(_WORDS, k=24)).capitalize()
        lines += [sentence[:80], f"{sentence[80:]} within {chance.randrange(5, 60)} days."]
    return "\n".join([*lines, f"Page {number} of {PAGES}"])
