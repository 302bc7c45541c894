"""Many names, one mistake: it is told once."""

from __future__ import annotations

from pxeserver.cli.client import Failure
from pxeserver.cli.options import alike


def _missing(name: str) -> tuple[str, Failure]:
    return name, Failure(f"no node {name}", "there is no node of this name", "look at `node list`")


def test_what_failed_alike_is_told_once_with_all_names() -> None:
    (told,) = alike(_missing(f"n{number}") for number in range(257, 1000))
    assert told.what == "no node n[257-999]"


def test_what_failed_otherwise_is_told_apart() -> None:
    held = Failure("a value is refused", "there is no profile n2", "choose another")
    first, second, third = alike([("n1", held), _missing("n2"), ("n3", held), ("n2", held)])
    assert first.what == "n[1,3]: a value is refused"
    assert first.why == "there is no profile n2"
    assert second.what == "no node n2"
    assert third.why == "there is no profile n2"
