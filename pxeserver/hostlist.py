"""Lists of node names as people of clusters write them: n[001-256], n[1-4,7]-ib[0-1], a,b,n[1-3]; and back.

The width of the first number of a range is kept: n[001-003] is n001, n002, n003.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import product

LIMIT = 100_000
"""Names in one list; a slip such as n[1-99999999] is told instead of obeyed."""

_PART = re.compile(r"\[([^\[\]]*)\]|([^\[\],]+)")
_RANGE = re.compile(r"(\d{1,9})(?:-(\d{1,9}))?")
_NUMBERED = re.compile(r"(.*?)(\d+)(\D*)")


class BadHostlist(ValueError):  # noqa: N818 - it says what the text is
    """The text is no list of names; the message says where and why."""


def expand(texts: Iterable[str]) -> list[str]:
    """Every name of these lists, in order, each once. BadHostlist says what is wrong."""
    names: dict[str, None] = {}
    for text in texts:
        for word in _words(text):
            for name in _expand_word(word):
                names[name] = None
                if len(names) > LIMIT:
                    raise BadHostlist(f"{text!r} names more than {LIMIT} nodes")
    if not names:
        raise BadHostlist("no name is given")
    return list(names)


def _words(text: str) -> Iterator[str]:
    """Parts between commas that are not inside brackets."""
    depth, start = 0, 0
    for at, letter in enumerate(text):
        depth += (letter == "[") - (letter == "]")
        if depth not in (0, 1):
            raise BadHostlist(f"{text!r}: the brackets do not match")
        if letter == "," and depth == 0:
            yield text[start:at]
            start = at + 1
    if depth:
        raise BadHostlist(f"{text!r}: a bracket is not closed")
    yield text[start:]


def _expand_word(word: str) -> Iterator[str]:
    word = word.strip()
    if not word:
        raise BadHostlist("a name between two commas is missing")
    parts: list[list[str]] = []
    total = 1
    for found in _PART.finditer(word):
        numbers = found.group(1)
        parts.append([found.group(2)] if numbers is None else _numbers(word, numbers))
        total *= len(parts[-1])
        if total > LIMIT:
            raise BadHostlist(f"{word!r} names more than {LIMIT} nodes")
    return ("".join(combination) for combination in product(*parts))


def _numbers(word: str, text: str) -> list[str]:
    result: list[str] = []
    for item in text.split(","):
        found = _RANGE.fullmatch(item.strip())
        if not found:
            raise BadHostlist(f"{word!r}: [{text}] is no list of numbers such as [1-4,7]")
        first, last = found.group(1), found.group(2) or found.group(1)
        if int(last) < int(first):
            raise BadHostlist(f"{word!r}: the range {item.strip()} ends before it begins")
        if int(last) - int(first) >= LIMIT:
            raise BadHostlist(f"{word!r} names more than {LIMIT} nodes")
        width = len(first)
        result += [f"{number:0{width}d}" for number in range(int(first), int(last) + 1)]
    return result


def fold(names: Iterable[str]) -> str:
    """The shortest usual writing of these names: n[001-003,007],login. expand(fold(names)) gives them back,
    sorted."""
    numbered: dict[tuple[str, str, int], set[int]] = {}
    plain: set[str] = set()
    for name in names:
        found = _NUMBERED.fullmatch(name)
        if not found or len(found.group(2)) > 9:
            plain.add(name)
            continue
        digits = found.group(2)
        # 7 and 10 belong together, 07 and 010 do not: only numbers with leading zeros have a width of their
        # own.
        width = len(digits) if digits[0] == "0" and len(digits) > 1 else 0
        numbered.setdefault((found.group(1), found.group(3), width), set()).add(int(digits))
    _join_widths(numbered)
    words = [
        _fold_numbers(head, tail, width, sorted(numbers)) for (head, tail, width), numbers in numbered.items()
    ]
    return ",".join(sorted([*words, *plain]))


def _join_widths(numbered: dict[tuple[str, str, int], set[int]]) -> None:
    """Numbers without leading zeros that are just as wide as padded ones of the same name belong to those:
    099, 100."""
    for head, tail, width in [key for key in numbered if key[2]]:
        free = numbered.get((head, tail, 0), set())
        fitting = {n for n in free if len(str(n)) == width}
        numbered[head, tail, width] |= fitting
        free -= fitting
        if not free:
            numbered.pop((head, tail, 0), None)


def _fold_numbers(head: str, tail: str, width: int, numbers: list[int]) -> str:
    ranges: list[list[int]] = []
    for number in numbers:
        if ranges and number == ranges[-1][1] + 1:
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    if len(numbers) == 1:
        return f"{head}{numbers[0]:0{width}d}{tail}"
    texts = [f"{a:0{width}d}" if a == b else f"{a:0{width}d}-{b:0{width}d}" for a, b in ranges]
    return f"{head}[{','.join(texts)}]{tail}"
