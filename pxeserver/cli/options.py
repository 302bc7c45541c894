"""What all commands that speak with the server share: output format, socket, --debug."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Group, Parameter

from pxeserver.cli import screen
from pxeserver.cli.client import DEFAULT_SOCKET, Client, Failure
from pxeserver.cli.screen import Output
from pxeserver.hostlist import BadHostlist, expand, fold

_GROUP = Group("Common options", sort_key=9)


@Parameter(name="*", group=_GROUP)
@dataclass(frozen=True, slots=True)
class Options:
    """Common options."""

    output: Annotated[Output, Parameter(name=("--output", "-o"))] = "table"
    """table for people; json or yaml for programs."""
    socket: Annotated[Path | None, Parameter(env_var="PXESERVER_SOCKET")] = None
    """The server's socket; by default the configuration's, else /run/pxeserver/api.sock."""
    debug: Annotated[bool, Parameter(env_var="PXESERVER_DEBUG")] = False
    """Show the program's own traceback when it fails."""

    def client(self) -> Client:
        """A connection to the server."""
        return Client(self.socket or configured_socket())


DEFAULT = Options()
Yes = Annotated[bool, Parameter(name=("--yes", "-y"), help="Do it without asking.")]


def noun(name: str, text: str) -> App:
    """The commands of one noun."""
    return App(name=name, help=text, default_parameter=Parameter(negative=()), help_epilogue="")


def configured_socket() -> Path:
    """The socket that the configuration names, where there is a configuration."""
    from pxeserver.config import DEFAULT_FILE, ConfigErrors, Settings  # noqa: PLC0415 - costs 0.1 s

    named = os.environ.get("PXESERVER_CONFIG")
    relevant = {"PXESERVER_SERVER__RUN_DIR", "PXESERVER_API__SOCKET"} & set(os.environ)
    if not (named or relevant or DEFAULT_FILE.exists()):
        return DEFAULT_SOCKET
    try:
        return Settings.load(Path(named) if named else None, os.environ).socket_path
    except ConfigErrors:
        return DEFAULT_SOCKET


def hosts(words: Iterable[str]) -> list[str]:
    """The names of a host list; Failure where it is none."""
    try:
        return expand(words)
    except BadHostlist as error:
        step = "Write names such as n1, n[001-256], n[1-4,7] or a,b"
        raise Failure("the list of nodes is refused", str(error), step, exit_code=2) from None


def pairs(words: Iterable[str], *, unset: bool = False) -> dict[str, str | None]:
    """key=value words as a mapping. With `unset`, "key=" takes the key away (None)."""
    result: dict[str, str | None] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not (key and equals):
            raise Failure(f"{word!r} is refused", "it is not key=value", "Write key=value", exit_code=2)
        result[key] = value if value or not unset else None
    return result


def each(names: list[str], act: Callable[[str], Any], done: str, options: Options) -> int:
    """Do something for each name; tell what failed, and go on with the others. Returns the exit code."""
    results, good, failures = [], [], []
    for name in names:
        try:
            results.append(act(name))
            good.append(name)
        except Failure as failure:
            if failure.exit_code == 3:
                raise
            failures.append((name, failure))
    if options.output != "table":
        screen.dump([r for r in results if r is not None], options.output)
    elif good:
        screen.say(f"{fold(good)}: {done}")
    for told in alike(failures):
        screen.fail(told)
    return 1 if failures else 0


def alike(failures: Iterable[tuple[str, Failure]]) -> list[Failure]:
    """One failure for all names that failed in the same way: a range may be 700 nodes too long."""
    groups: dict[tuple[str, str, str], list[str]] = {}
    for name, told in failures:
        form = (told.what, told.why, told.next_step)
        what, why, step = (re.sub(rf"(?<![\w.-]){re.escape(name)}(?![\w-])", "\0", text) for text in form)
        groups.setdefault((what, why, step), []).append(name)
    result = []
    for (what, why, step), names in groups.items():
        folded = fold(names)
        told_what, told_why, told_step = (text.replace("\0", folded) for text in (what, why, step))
        head = "" if "\0" in what else f"{folded}: "
        result.append(Failure(head + told_what, told_why, told_step))
    return result
