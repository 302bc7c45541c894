"""Nodes as files: CSV for spreadsheets, JSON for programs. Every fault of a file is told with its line."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from pxeserver.api.exports import csv_text
from pxeserver.api.problems import refused
from pxeserver.api.schemas.nodes import NodeNew
from pxeserver.boot.catalog import Catalog, NodeTable
from pxeserver.boot.model import Node
from pxeserver.boot.values import KEYS, check_value
from pxeserver.hostlist import BadHostlist, expand

MOST_ROWS = 20_000
MOST_FAULTS = 500
_IDENTITY = ("macs", "uuid", "serial", "address")
COLUMNS = ("name", *_IDENTITY, "labels", *KEYS)
"""Of CSV files: `macs` and `labels` (key=value) with blanks between; then every value by its name."""
_ALIASES = {"mac": "macs", "host": "name", "hostname": "name", "ip": "address", "label": "labels"}


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with a file, and where."""

    line: int
    """From 1; of JSON files the number of the entry. 0: the file as a whole."""
    field: str
    text: str


@dataclass(slots=True)
class ReadNodes:
    """What a file says."""

    nodes: list[tuple[int, NodeNew]] = field(default_factory=list)
    """With their lines."""
    faults: list[Fault] = field(default_factory=list)

    def fault(self, line: int, name: str, text: str) -> None:
        """Note a fault; of very many the first ones."""
        if len(self.faults) < MOST_FAULTS:
            self.faults.append(Fault(line, name, text))


def write_csv(nodes: Iterable[Node]) -> str:
    """These nodes as CSV (RFC 4180). What a spreadsheet would take for a formula begins with a blank."""
    rows: list[Sequence[object]] = [COLUMNS]
    for node in nodes:
        labels = " ".join(f"{key}={value}" for key, value in sorted(node.labels.items()))
        cells = [node.name, " ".join(node.macs), node.uuid, node.serial, node.address, labels]
        cells += [node.values.get(key, "") for key in KEYS]
        rows.append(cells)
    return csv_text(rows)


def write_json(nodes: Iterable[Node]) -> str:
    """These nodes as JSON: the body that adds them again."""
    rows = []
    for node in nodes:
        told: dict[str, Any] = {"name": node.name, "macs": list(node.macs)}
        told |= {name: value for name in ("uuid", "serial", "address") if (value := getattr(node, name))}
        told |= {"values": dict(node.values), "labels": dict(node.labels)}
        rows.append(told)
    return json.dumps({"nodes": rows}, indent=1, ensure_ascii=False) + "\n"


def read(text: str) -> ReadNodes:
    """What a file says: JSON where it begins as such, else CSV. Nothing is raised: faults are told."""
    text = text.removeprefix("\ufeff")
    found = _read_json(text) if text.lstrip()[:1] in ("{", "[") else _read_csv(text)
    if not found.nodes and not found.faults:
        found.fault(0, "", "the file names no node")
    return found


def _read_csv(text: str) -> ReadNodes:
    found = ReadNodes()
    first = text.split("\n", 1)[0]
    delimiter = ";" if first.count(";") > first.count(",") else "\t" if "\t" in first else ","
    reader = csv.reader(io.StringIO(text), delimiter=delimiter, skipinitialspace=True)
    try:
        header = [_column(cell) for cell in next(reader, [])]
    except csv.Error as error:
        found.fault(1, "", str(error))
        return found
    unknown = [name for name in header if name and name not in COLUMNS]
    if "name" not in header or unknown:
        told = f"unknown columns: {', '.join(unknown)[:200]}; " if unknown else "there is no column name; "
        found.fault(1, "", f"{told}the first line names the columns: {', '.join(COLUMNS)}")
        return found
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                _csv_row(found, reader.line_num, header, cells)
            if len(found.nodes) > MOST_ROWS:
                found.fault(reader.line_num, "", f"more than {MOST_ROWS} nodes")
                break
    except csv.Error as error:
        found.fault(reader.line_num, "", str(error))
    return found


def _column(cell: str) -> str:
    name = cell.strip().lower().removeprefix("values.")
    return _ALIASES.get(name, name)


def _csv_row(found: ReadNodes, line: int, header: list[str], cells: list[str]) -> None:
    if len(cells) > len(header):
        found.fault(line, "", f"{len(cells)} cells, the first line has {len(header)}")
        return
    row = {name: cell.strip() for name, cell in zip(header, cells, strict=False) if name}
    given: dict[str, Any] = {"name": row.get("name", "")}
    if macs := row.get("macs", "").split():
        given["macs"] = macs
    given |= {name: row[name] for name in ("uuid", "serial", "address") if row.get(name)}
    given["values"] = {key: row[key] for key in KEYS if row.get(key)}
    labels: dict[str, str] = {}
    for word in row.get("labels", "").split():
        key, equals, value = word.partition("=")
        if not (key and equals):
            found.fault(line, "labels", f"{word[:80]!r} is not key=value")
        labels[key] = value
    given["labels"] = labels
    _take(found, line, given)


def _read_json(text: str) -> ReadNodes:
    found = ReadNodes()
    try:
        told = json.loads(text)
    except (ValueError, RecursionError) as error:
        line = getattr(error, "lineno", 0)
        found.fault(line, "", f"it is no JSON: {getattr(error, 'msg', error)}")
        return found
    rows = told.get("nodes") if isinstance(told, dict) else told
    if not isinstance(rows, list):
        found.fault(0, "", 'it is neither a list of nodes nor {"nodes": [...]}')
        return found
    if len(rows) > MOST_ROWS:
        found.fault(0, "", f"more than {MOST_ROWS} nodes")
        return found
    for number, row in enumerate(rows, 1):
        if isinstance(row, dict):
            _take(found, number, row)
        else:
            found.fault(number, "", "it is no object")
    return found


def _take(found: ReadNodes, line: int, given: dict[str, Any]) -> None:
    """One entry; a name such as n[001-100] makes many nodes without identities."""
    name = given.get("name")
    names = [name]
    if isinstance(name, str) and "[" in name:
        try:
            names = list(expand([name]))
        except BadHostlist as error:
            found.fault(line, "name", str(error))
            return
        if told := [key for key in _IDENTITY if given.get(key)]:
            found.fault(line, "name", f"{', '.join(told)} belong to one machine, and {len(names)} are named")
            return
    if len(found.nodes) + len(names) > MOST_ROWS:
        found.fault(line, "name", f"more than {MOST_ROWS} nodes")
        return
    for one in names:
        try:
            found.nodes.append((line, NodeNew.model_validate({**given, "name": one})))
        except ValidationError as error:
            for where, text in refused(error, "entry").view.fields.items():
                found.fault(line, where, text)
            return


def check(found: ReadNodes, catalog: Catalog, nodes: NodeTable, by_name: Mapping[str, Node]) -> None:
    """Note what does not fit what is there already, or other lines of the file."""
    seen: dict[tuple[str, str], int] = {}
    for line, new in found.nodes:
        for key, text in new.values.items():
            if fault := check_value(key, text):
                found.fault(line, key, fault)
        profile = new.values.get("profile")
        if profile and profile not in catalog.profiles:
            found.fault(line, "profile", f"there is no profile {profile}")
        own = by_name.get(new.name)
        for where, text, others in _claims(new, nodes):
            before = seen.setdefault((where, text), line)
            if (where, text) in seen and before != line:
                found.fault(line, where, f"{text} is in line {before} too")
            if other := next((node for node in others if own is None or node.id != own.id), None):
                found.fault(line, where, f"{text} is node {other.name}'s")


def _claims(new: NodeNew, nodes: NodeTable) -> Iterable[tuple[str, str, tuple[Node, ...]]]:
    yield "name", new.name, ()
    for mac in new.macs:
        yield "macs", mac, nodes.with_mac(mac)
    if new.uuid:
        yield "uuid", new.uuid, nodes.with_uuid(new.uuid)
    if new.serial:
        yield "serial", new.serial, nodes.with_serial(new.serial)
    if new.address:
        yield "address", new.address, nodes.with_address(new.address)
