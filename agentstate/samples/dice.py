"""Repeatable chance: functions that return SQL expressions, which choose by the bytes of a SHA-256.

``random()`` cannot be repeated row by row, and PostgreSQL does not promise that its own hash functions stay the same
across versions and machines. Each expression expects ``dice``, 32 bytes, in its innermost scope. It reads the byte
number ``at``, or several from there on. The statements take ``seed`` and the lists of words as parameters.
"""

from __future__ import annotations

from agentstate.samples.words import WORDS


def rolled(purpose: str, *numbers: str) -> str:
    """Return 32 bytes that depend on the seed, the purpose and the numbers, and on nothing else."""
    return f"sha256(concat_ws(' ', %(seed)s::text, '{purpose}', {', '.join(numbers)})::bytea)"


def with_dice(purpose: str, expression: str) -> str:
    """Return ``expression`` in the scope of dice that are rolled once for row ``n`` and this purpose.

    ``OFFSET 0`` is an optimization fence (docs/architecture.md): without it the dice are rolled for each reference.
    """
    return f"(SELECT {expression} FROM (SELECT {rolled(purpose, 'n')} AS dice OFFSET 0) rolled)"


def array_of(item: str, count: str, purpose: str) -> str:
    """Return a jsonb array of ``count`` items; each has its ordinal ``i``, from 1, and dice of its own in scope."""
    return f"""(
        SELECT coalesce(jsonb_agg({item} ORDER BY i), '[]')
        FROM (
            SELECT i, {rolled(purpose, "n", "i")} AS dice FROM generate_series(1, {count}) AS i OFFSET 0
        ) rolled
    )"""


def integer(at: int, sides: int, start: int = 0) -> str:
    """Return an integer, one of ``sides`` (up to 256) from ``start`` on."""
    return f"({start} + mod(get_byte(dice, {at}), {sides}))"


def wide_integer(at: int, sides: int) -> str:
    """Return an integer from 0 to below ``sides``, which may exceed a byte. Uses three bytes."""
    return f"mod((get_byte(dice, {at}) * 256 + get_byte(dice, {at + 1})) * 256 + get_byte(dice, {at + 2}), {sides})"


def share(at: int) -> str:
    """Return a numeric from 0.00 to 1.00."""
    return f"round(get_byte(dice, {at}) / 255.0, 2)"


def chance(at: int, percent: float) -> str:
    """Return a condition that holds in ``percent`` of all cases."""
    return f"get_byte(dice, {at}) < {round(percent * 2.56)}"


def one_in(size: int, purpose: str) -> str:
    """Return whether row ``n`` is the one drawn from its group of ``size`` rows."""
    drawn = rolled(purpose, f"n / {size}")
    return f"mod(n, {size}) = (SELECT {wide_integer(0, size)} FROM (SELECT {drawn} AS dice OFFSET 0) drawn)"


def pick(words: str, at: int) -> str:
    """Return a word of the list ``words``. Lists of the same length match if picked by the same byte."""
    return nth(words, f"get_byte(dice, {at})")


def nth(words: str, index: str) -> str:
    """Return the word at ``index``, from 0, starting over after the last."""
    return f"(%({words})s::text[])[1 + mod({index}, {len(WORDS[words])})]"


def sentence(at: int) -> str:
    """Return a sentence of about 120 characters. Uses four bytes."""
    return f"concat_ws(' ', {pick('who', at)}, {pick('does', at + 1)}, {pick('whom', at + 2)}, {pick('how', at + 3)})"


def day(at: int, *, later_by: str = "0") -> str:
    """Return a date as text, within two years."""
    days = f"get_byte(dice, {at}) * 3 + {later_by}"
    return f"to_char(timestamp '2024-03-01' + make_interval(days => {days}), 'YYYY-MM-DD')"


def optional(at: int, percent: float, key: str, value: str) -> str:
    """Return an expression that adds ``key`` to the object before it in ``percent`` of all cases."""
    return f"|| CASE WHEN {chance(at, percent)} THEN jsonb_build_object('{key}', {value}) ELSE '{{}}' END"
