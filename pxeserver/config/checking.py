"""Turns pydantic's findings into faults that say what is wrong, where, and how to mend it; finds all of them
in one pass."""

from __future__ import annotations

import contextlib
import copy
import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from pxeserver.config.faults import Fault
from pxeserver.config.locate import Path as KeyPath
from pxeserver.config.sources import Gathered, key_paths

M = TypeVar("M", bound=BaseModel)

_WHAT = {
    "int_parsing": "is not a whole number: {value}",
    "int_type": "is not a whole number: {value}",
    "int_from_float": "is not a whole number: {value}",
    "float_parsing": "is not a number: {value}",
    "float_type": "is not a number: {value}",
    "bool_parsing": "is neither true nor false: {value}",
    "bool_type": "is neither true nor false: {value}",
    "string_type": "is not a text in quotes: {value}",
    "tuple_type": "is not a list: {value}",
    "path_type": "is not a path in quotes: {value}",
    "dict_type": "is not a table: {value}",
    "model_type": "is not a section: {value}",
    "missing": "is missing",
    "greater_than_equal": "{value} is less than {ge}",
    "greater_than": "{value} is not more than {gt}",
    "less_than_equal": "{value} is more than {le}",
    "literal_error": "{value} is not one of {expected}",
}


@dataclass(slots=True)
class Checked(Generic[M]):
    """What came of checking. `settings` is what is left when the faulty keys are taken away, so that the
    checks between settings can run as well; None where nothing could be built.
    """

    settings: M | None
    faults: list[Fault]
    places: dict[str, list[int]]
    """Where the elements of lists of tables stood in the file, e.g. {"subnet": [0, 2]}."""
    gone: set[KeyPath]
    """The keys that were taken away."""


def validate(model: type[M], gathered: Gathered) -> Checked[M]:
    """Check types, ranges and names."""
    data: Any = copy.deepcopy(gathered.data)
    originals = {k: [id(element) for element in v] for k, v in data.items() if isinstance(v, list)}
    checked: Checked[M] = Checked(None, [], {}, set())
    for attempt in range(5):
        try:
            checked.settings = model.model_validate(data)
        except ValidationError as error:
            details = error.errors(include_url=False)
        else:
            checked.places = {
                k: [was.index(id(e)) for e in data[k]] for k, was in originals.items() if k in data
            }
            return checked
        if attempt == 0:
            checked.faults = [_fault(model, gathered, detail) for detail in details]
            checked.gone = {detail["loc"][:3] for detail in details}
        _prune(model, data, details)
    return checked


def _prune(model: type[BaseModel], data: Any, details: list[ErrorDetails]) -> None:
    doomed: dict[KeyPath, None] = {}
    for detail in details:
        path = detail["loc"]
        in_list = len(path) > 1 and isinstance(path[1], int)
        path = path[:3] if in_list else path[:2]
        section = _model_at(model, path[:-1])
        info = section.model_fields.get(str(path[-1])) if section else None
        # Without a key that it must have, a table is nothing.
        doomed[path[:2] if in_list and info is not None and info.is_required() else path] = None
    # Later elements first: taking one away shifts the places of those behind it.
    for path in sorted(doomed, key=lambda p: (len(p) == 2, [-q if isinstance(q, int) else 0 for q in p])):
        inner = data
        # What is missing is the fault itself, or went with what was around it.
        with contextlib.suppress(KeyError, IndexError):
            for part in path[:-1]:
                inner = inner[part]
            del inner[path[-1]]


def _fault(model: type[BaseModel], gathered: Gathered, detail: ErrorDetails) -> Fault:
    path = detail["loc"]
    if detail["type"] == "extra_forbidden":
        return _unknown_key(model, gathered, path)
    context: Mapping[str, Any] = detail.get("ctx", {})
    template = _WHAT.get(detail["type"])
    if template:
        what = template.format(value=_shown(detail["input"]), **context)
    elif detail["type"] == "value_error":
        what = str(context.get("error", detail["msg"]))
    else:
        what = f"{_shown(detail['input'])} is refused: {detail['msg'][:1].lower()}{detail['msg'][1:]}"
    return Fault(gathered.where(path), dotted(path), what, _mend(model, path))


def _unknown_key(model: type[BaseModel], gathered: Gathered, path: KeyPath) -> Fault:
    section = _model_at(model, path[:-1])
    name = str(path[-1])
    siblings = list(section.model_fields) if section else []
    everywhere = [".".join(keys) for keys in key_paths(model)]
    near = difflib.get_close_matches(name, siblings, n=1, cutoff=0.6)
    if not near:
        near = [key for key in everywhere if key.rpartition(".")[2] == name]
    if not near:
        near = difflib.get_close_matches(name, siblings, n=1, cutoff=0.4)
    if not near:
        by_name = {key.rpartition(".")[2]: key for key in everywhere}
        near = [by_name[n] for n in difflib.get_close_matches(name, by_name, n=1, cutoff=0.6)]
    mend = f"Did you mean {near[0]}?" if near else f"Known keys here: {', '.join(siblings)}"
    return Fault(gathered.where(path), dotted(path), "is no setting", mend)


def _mend(model: type[BaseModel], path: KeyPath) -> str:
    """The setting's own description, and its default where it has a plain one."""
    named = [p for p in path if isinstance(p, str)]
    section = _model_at(model, path[:-1]) if named else None
    info = section.model_fields.get(str(path[-1])) if section else None
    if info is None and len(named) > 1:
        section = _model_at(model, path[: path.index(named[-1])])
        info = section.model_fields.get(named[-1]) if section else None
    if info is None or not info.description:
        return ""
    text = " ".join(info.description.split()).rstrip(".")
    if isinstance(info.default, (int, float, str)) and info.default != "":
        text += f" (default: {_shown(info.default)})"
    return text


def _model_at(model: type[BaseModel], path: KeyPath) -> type[BaseModel] | None:
    for part in path:
        if isinstance(part, int):
            continue
        info = model.model_fields.get(part)
        inner = next(_models(info.annotation), None) if info else None
        if inner is None:
            return None
        model = inner
    return model


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in getattr(annotation, "__args__", ()):
        yield from _models(part)


def dotted(path: KeyPath) -> str:
    """A key path as people write it: subnet[1].pools[0]; places count from 1."""
    text = ""
    for part in path:
        text += f"[{part + 1}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def _shown(value: Any) -> str:
    text = repr(value) if not isinstance(value, bool) else str(value).lower()
    return text if len(text) <= 60 else f"{text[:57]}..."
