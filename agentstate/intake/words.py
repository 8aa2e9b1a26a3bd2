"""Words as they are compared: without case, punctuation, markup and other layout; numbers exactly."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, field


def vocabulary(words: str) -> frozenset[str]:
    """Return the words of a text as a set."""
    return frozenset(words.split())


# What is compared exactly, however little it differs.
MODALS = frozenset({"may", "shall", "must", "should", "will", "not", "no", "cannot", "never", "can", "might", "would"})
COMPARATORS = vocabulary(
    "least most than maximum minimum exceed exceeding up within under over below above before after"
    " until between less more fewer greater equal only except without or either neither nor"
)
# Words that change nothing where they are all that changed.
LIGHT = vocabulary("a an the each every of for in on at to this that these those and as its their your our s")
_SPELLED = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen"
    " eighteen nineteen twenty"
)
NUMBERS = {word: str(number) for number, word in enumerate(re.findall(r"\w+", _SPELLED))} | {
    "thirty": "30", "forty": "40", "fifty": "50", "sixty": "60", "seventy": "70", "eighty": "80", "ninety": "90"
}  # fmt: skip

URL = r"(?:https?:/{1,2}|www\.)[^\s<>\"|\]]+"
# Repetitions are bounded, so that no text takes more than its length in time.
EMAIL = r"\w[\w.+-]{0,63}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,8}"
_NUMBER = r"\d{1,15}(?:[.,]\d{3}){1,8}(?:\.\d{1,15})?(?!\d)|\d{1,40}(?:\.\d{1,20}){0,8}"
_WORD = re.compile(
    rf"(?P<url>{URL})|(?P<email>{EMAIL})"
    rf"|(?P<hyphened>(?<![\w-])[^\W\d_]-[^\W\d_]\w+)"
    rf"|(?P<time>\d{{1,2}}:\d\d)(?::\d\d)?"
    rf"|(?P<amount>[$€£]\s?(?:{_NUMBER}))"
    rf"|(?P<number>{_NUMBER})(?:st|nd|rd|th)?(?![^\W_])"
    rf"|(?P<half>[ap])\.?\s?m\b\.?(?=[\s,;)|]|$)"
    rf"|(?P<percent>%)"
    rf"|(?P<initials>(?:[^\W\d_]\.){{2,}})"
    rf"|(?P<word>\w+(?:[’'](?:[a-rt-z]\w*))?)",
    re.IGNORECASE,
)
_EXACT = re.compile(r"[\d%$€£]")


@dataclass(frozen=True)
class Words:
    """The words of a stretch, side by side with where they stand in the document."""

    words: list[str] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)

    def add(self, word: str, start: int, end: int) -> None:
        self.words.append(word)
        self.starts.append(start)
        self.ends.append(end)


def words_in(text: str, start: int = 0, end: int | None = None) -> Words:
    """Return the words between two offsets of a masked text."""
    taken = Words()
    for found in _WORD.finditer(text, start, len(text) if end is None else end):
        for word in _normal(found):
            if _says_again(taken, word, text, found.start()):
                continue
            taken.add(word, *found.span())
    return taken


def plain_words(text: str) -> list[str]:
    return words_in(text).words


def is_exact(word: str) -> bool:
    """Tell whether a word counts even if only a letter of it differs: numbers, modal verbs, negations, bounds."""
    return word in MODALS or word in COMPARATORS or bool(_EXACT.search(word))


def loses_a_letter(one: str, other: str) -> bool:
    """Tell whether one word is the other with a letter lost. Never so for numbers, or between two exact words."""
    shorter, longer = sorted((one, other), key=len)
    if len(longer) - len(shorter) != 1 or _EXACT.search(longer) or _EXACT.search(shorter):
        return False
    if is_exact(one) and is_exact(other):
        return False
    same = next((place for place, letter in enumerate(shorter) if letter != longer[place]), len(shorter))
    return longer[same + 1 :] == shorter[same:]


def _normal(found: re.Match[str]) -> list[str]:
    kind, text = found.lastgroup, found.group()
    if kind == "url":
        return [_address(text)]
    if kind == "time":
        hour, minute = found["time"].split(":")
        return [str(int(hour))] if minute == "00" else [f"{int(hour)}:{minute}"]
    if kind == "amount":
        return [text[0] + _plain_number(text[1:].strip())]
    if kind == "number":
        return [_plain_number(found["number"])]
    if kind == "half":
        return [found["half"].casefold() + "m"]
    if kind == "hyphened":
        return [text.replace("-", "").casefold()]
    if kind == "initials":
        return [text.replace(".", "").casefold()]
    return _plain_word(text)


def _plain_word(text: str) -> list[str]:
    word = unicodedata.normalize("NFKC", text).casefold().replace("’", "'").strip("_")
    if word == "percent":
        return ["%"]
    if word.endswith("n't"):
        return ["will" if word == "won't" else "can" if word == "can't" else word[:-3], "not"]
    word = word.replace("'", "")
    if word == "cannot":
        return ["can", "not"]
    return [NUMBERS.get(word, word)] if word else []


def _plain_number(text: str) -> str:
    """Return a number without separators of thousands and without leading zeros: "1,000" and "1000" are one."""
    if re.fullmatch(r"\d{1,3}(?:[.,]\d{3})+(?:\.\d+)?", text) and not re.fullmatch(r"\d+\.\d{3}", text):
        text = re.sub(r"[.,](?=\d{3}(?:\D|$))", "", text)
    text = re.sub(r"\.00?$", "", text) if text.count(".") == 1 else text
    return text.lstrip("0") or "0" if text.isdigit() else text


def _address(text: str) -> str:
    """Return an address without scheme and trailing punctuation, which are its layout."""
    return re.sub(r"^(?:https?:/+)?(?:www\.)?", "", text.casefold()).rstrip(".,;:)/>*_")


def _says_again(taken: Words, word: str, text: str, start: int) -> bool:
    """Tell whether a number only repeats the word before it: "five (5)", or "fiv (5)" with a letter lost."""
    if not taken.words or not word.isdigit() or text[start - 1 : start] != "(" or text[taken.starts[-1]].isdigit():
        return False
    before = taken.words[-1]
    if before != word and any(number == word and loses_a_letter(before, name) for name, number in NUMBERS.items()):
        taken.words[-1] = word
    return taken.words[-1] == word
