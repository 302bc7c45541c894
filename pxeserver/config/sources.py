"""Where settings come from: the file, the environment, the command line; later ones win. Every value keeps
its origin."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel

from pxeserver.config.faults import Fault
from pxeserver.config.locate import Path as KeyPath
from pxeserver.config.locate import locate

DEFAULT_FILE = Path("/etc/pxeserver/config.toml")
PREFIX = "PXESERVER_"
NOT_SETTINGS = frozenset({"PXESERVER_CONFIG", "PXESERVER_SOCKET", "PXESERVER_DEBUG"})
"""Variables that the command line reads itself. Names with the prefix PXESERVER__ are the processes' own
affair too."""

_MAX_FILE = 4 << 20


@dataclass(slots=True)
class Gathered:
    """Raw values with their origins: key paths such as ("dhcp", "port") to "config.toml:3", a variable or a
    flag."""

    data: dict[str, Any] = field(default_factory=dict)
    origins: dict[KeyPath, str] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    base: str = ""
    """The origin of what has no place of its own, e.g. a missing key."""

    def where(self, path: KeyPath) -> str:
        """The origin of this key, or of the nearest thing around it."""
        for length in range(len(path), 0, -1):
            if found := self.origins.get(path[:length]):
                return found
        return self.base or "settings"


def gather(
    model: type[BaseModel], path: Path | None, environ: Mapping[str, str], flags: Mapping[str, Any]
) -> Gathered:
    """Read all sources. A file that was asked for by name must exist; the default one need not."""
    result = Gathered()
    chosen = path or (Path(environ["PXESERVER_CONFIG"]) if environ.get("PXESERVER_CONFIG") else None)
    file = chosen or DEFAULT_FILE
    result.base = str(file)
    _read_file(result, file, required=chosen is not None)
    for variable, keys in _environment(result, model, environ):
        try:
            _put(result, keys, _from_text(environ[variable], _annotation(model, keys)), variable)
        except ValueError as error:
            result.faults.append(
                Fault(variable, ".".join(keys), str(error), "Write the value as in the file")
            )
    for key, value in flags.items():
        _put(result, tuple(key.split(".")), value, flag_of(key))
    return result


def flag_of(key: str) -> str:
    """The command line flag of a setting: --state-dir for server.state_dir, --http-port for http.port."""
    section, _, name = key.partition(".")
    return "--" + (f"{section}-{name}" if name == "port" else name).replace("_", "-")


def _read_file(result: Gathered, file: Path, *, required: bool) -> None:
    try:
        raw = file.read_bytes()
    except FileNotFoundError:
        if required:
            mend = f"Create it, or leave --config away: without {DEFAULT_FILE} the defaults hold"
            result.faults.append(Fault(str(file), "", "there is no such file", mend))
        return
    except OSError as error:
        result.faults.append(
            Fault(str(file), "", f"cannot be read: {error.strerror}", "Mend its permissions")
        )
        return
    if len(raw) > _MAX_FILE:
        result.faults.append(
            Fault(str(file), "", f"is larger than {_MAX_FILE >> 20} MiB", "Is it the right file?")
        )
        return
    try:
        text = raw.decode()
        result.data = tomllib.loads(text)
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        result.faults.append(Fault(f"{file}:{line}", "", "is not UTF-8 text", "Save the file as UTF-8"))
        return
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        result.faults.append(_syntax_fault(file, raw.decode(), str(error)))
        return
    result.origins = {key: f"{file}:{line}" for key, line in locate(text).items()}


def _syntax_fault(file: Path, text: str, message: str) -> Fault:
    found = re.search(r"\(at line (\d+), column \d+\)", message)
    line = int(found.group(1)) if found else text.count("\n") + 1
    what = re.sub(r"\s*\(at [^)]*\)$", "", message)
    mend = 'A line is a [section] or key = value; text stands in "quotes"'
    return Fault(f"{file}:{line}", "", f"is not valid TOML: {what[:1].lower()}{what[1:]}", mend)


def _environment(
    result: Gathered, model: type[BaseModel], environ: Mapping[str, str]
) -> Iterator[tuple[str, tuple[str, ...]]]:
    known = {"__".join(keys).upper(): keys for keys in key_paths(model)}
    for variable in sorted(environ):
        if not variable.startswith(PREFIX) or variable in NOT_SETTINGS or variable.startswith(f"{PREFIX}_"):
            continue
        name = variable.removeprefix(PREFIX)
        if name in known:
            yield variable, known[name]
            continue
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
        mend = f"Did you mean {PREFIX}{near[0]}?" if near else "`pxeserver config schema` lists every setting"
        result.faults.append(Fault(variable, "", "is no setting", mend))


def key_paths(model: type[BaseModel]) -> Iterator[tuple[str, ...]]:
    """Every setting's key path; lists of tables count as one setting."""
    for name, info in model.model_fields.items():
        if isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel):
            yield from ((name, *rest) for rest in key_paths(info.annotation))
        else:
            yield (name,)


def _annotation(model: type[BaseModel], keys: tuple[str, ...]) -> Any:
    """The type of a key path that key_paths has named."""
    inner = model.model_fields[keys[0]].annotation
    if len(keys) > 1 and isinstance(inner, type) and issubclass(inner, BaseModel):
        return _annotation(inner, keys[1:])
    return inner


def _from_text(text: str, annotation: Any) -> Any:
    """A variable's text as the field wants it: lists by commas or as in TOML, tables as in TOML, an empty
    text as unset."""
    kinds = {get_origin(a) or a for a in _alternatives(annotation)}
    if not kinds & {tuple, list, dict}:
        return None if type(None) in kinds and not text else text
    if text.lstrip()[:1] in ("[", "{"):
        try:
            return tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError as error:
            raise ValueError(f"is not valid TOML: {error}") from None
    if dict in kinds and text:
        raise ValueError('is not a table such as {console = "ttyS0"}')
    return {} if dict in kinds else [part.strip() for part in text.split(",") if part.strip()]


def _alternatives(annotation: Any) -> Iterator[Any]:
    if get_origin(annotation) in (Union, UnionType):
        for part in get_args(annotation):
            yield from _alternatives(part)
    else:
        yield annotation


def _put(result: Gathered, keys: tuple[str, ...], value: Any, origin: str) -> None:
    table = result.data
    for key in keys[:-1]:
        inner = table.get(key)
        if not isinstance(inner, dict):
            inner = table[key] = {}
        table = inner
    table[keys[-1]] = value
    for known in [k for k in result.origins if k[: len(keys)] == keys]:
        del result.origins[known]
    result.origins[keys] = origin
