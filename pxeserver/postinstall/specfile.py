"""A cluster file's text, and the files it names, as a ClusterSpec.

All faults are told at once, each with file, line, key, what is wrong and how to mend it: those of form, and
where the form is right those of checks.py.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from typing import Any

from pxeserver.config.checking import dotted, validate
from pxeserver.config.faults import ConfigErrors, Fault
from pxeserver.config.locate import locate
from pxeserver.config.sources import Gathered
from pxeserver.postinstall import spec
from pxeserver.postinstall.checks import check
from pxeserver.postinstall.tables import ClusterTable, VNetTable

LARGEST_FILE = 1 << 20
"""Bytes of a Compose or stack file."""


def files_of(text: str) -> tuple[str, ...]:
    """The Compose and stack files that a cluster file names, as written there; () where it is no TOML."""
    try:
        data = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError):
        return ()
    tables = [t for kind in ("compose", "stack") if isinstance(data.get(kind), list) for t in data[kind]]
    names = [t.get("file") for t in tables if isinstance(t, dict)]
    return tuple(dict.fromkeys(n for n in names if isinstance(n, str)))


def read(text: str, files: Mapping[str, str] | None = None, name: str = "cluster.toml") -> spec.ClusterSpec:
    """The spec of this text. `files` holds the content of the files that it names; a missing one is a fault.

    Raises ConfigErrors with every fault.
    """
    try:
        data = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigErrors([_syntax(text, name, str(error))]) from None
    lines = locate(text)
    gathered = Gathered(data, {path: f"{name}:{line}" for path, line in lines.items()}, [], name)
    checked = validate(ClusterTable, gathered)
    faults = list(checked.faults)
    if checked.settings is not None:
        faults += _missing(checked.settings, files or {}, gathered, checked.places)
    if checked.settings is None or checked.faults:
        raise ConfigErrors(sorted(faults, key=_place))
    found = _spec(checked.settings, files or {}, spec.Source(name, lines))
    if faults := [*faults, *check(found)]:
        raise ConfigErrors(sorted(faults, key=_place))
    return found


def _syntax(text: str, name: str, message: str) -> Fault:
    found = re.search(r"\(at line (\d+), column \d+\)", message)
    line = int(found.group(1)) if found else text.count("\n") + 1
    what = re.sub(r"\s*\(at [^)]*\)$", "", message)
    mend = 'A line is a [section] or key = value; text stands in "quotes"'
    return Fault(f"{name}:{line}", "", f"is not valid TOML: {what[:1].lower()}{what[1:]}", mend)


def _missing(
    table: ClusterTable, files: Mapping[str, str], gathered: Gathered, places: Mapping[str, list[int]]
) -> Iterator[Fault]:
    named = {"compose": [c.file for c in table.compose], "stack": [s.file for s in table.stack]}
    for kind, entries in named.items():
        for index, file in enumerate(entries):
            path: spec.Path = (kind, places.get(kind, range(len(entries)))[index], "file")
            text = files.get(file)
            if text is None:
                mend = "Paths are taken from the cluster file's directory; create the file or mend the path"
                yield Fault(gathered.where(path), dotted(path), f"there is no file {file}", mend)
            elif not text.strip():
                yield Fault(gathered.where(path), dotted(path), f"{file} is empty", "Is it the right file?")
            elif len(text.encode()) > LARGEST_FILE:
                what = f"{file} is larger than {LARGEST_FILE >> 20} MiB"
                yield Fault(gathered.where(path), dotted(path), what, "Is it the right file?")


def _place(fault: Fault) -> tuple[str, int]:
    name, _, line = fault.where.rpartition(":")
    return (name, int(line)) if name and line.isdigit() else (fault.where, 0)


def _spec(t: ClusterTable, files: Mapping[str, str], source: spec.Source) -> spec.ClusterSpec:
    switches = tuple(spec.Switch(s.name, s.uplink) for s in t.switch)
    return spec.ClusterSpec(
        name=t.name,
        members=_members(t),
        ephemeral=t.ephemeral,
        destroy=t.destroy,
        switches=switches or (spec.Switch("switch-1", uplink=True),),
        vnets=tuple(_vnet(v) for v in t.vnet),
        storage=_storage(t),
        addresses=tuple(
            spec.ServiceAddress(
                a.name, a.address, a.vnet if a.vnet != "uplink" else "", probe_of(a.check), a.vrid
            )
            for a in t.address
        ),
        overlays=tuple(spec.Overlay(o.name, o.subnet, o.encrypted) for o in t.overlay),
        compose=tuple(
            spec.ComposeProject(c.name, c.node, c.file, files.get(c.file, ""), dict(c.env)) for c in t.compose
        ),
        stacks=tuple(spec.Stack(s.name, s.file, files.get(s.file, ""), dict(s.env)) for s in t.stack),
        images=tuple(i.name for i in t.image),
        packages=dict(t.packages),
        docker=spec.Docker(
            t.docker.pool, t.docker.swarm_pool, t.docker.insecure_registries, t.docker.heartbeat
        ),
        source=source,
    )


def _members(t: ClusterTable) -> spec.Members:
    m = t.members
    return spec.Members(
        nodes=m.nodes,
        select=m.select,
        next=m.next,
        managers=m.managers,
        labels={k: v for k, v in m.labels.items() if isinstance(v, str)},
        node_labels={k: dict(v) for k, v in m.labels.items() if not isinstance(v, str)},
        drain=frozenset(m.drain),
        remove=frozenset(m.remove),
        lost=frozenset(m.lost),
        ssh_keys=m.ssh_keys,
        replaces=dict(m.replaces),
    )


def _vnet(v: VNetTable) -> spec.VNet:
    return spec.VNet(v.name, v.switch, v.vlan, v.subnet, v.gateway, v.nat, v.reach, v.mtu, v.vrid)


def _storage(t: ClusterTable) -> spec.Storage | None:
    if t.storage is None:
        return None
    s: dict[str, Any] = t.storage.model_dump()
    return spec.Storage(**{**s, "disk": disk_of(t.storage.disk)})


def disk_of(text: str) -> spec.DiskRule:
    """ "loop:4GiB", "serial:A,B,C" or "empty"; tables.py has checked the form."""
    kind, _, rest = text.partition(":")
    if kind == "loop":
        number, unit = re.fullmatch(r"(\d+)([MGT])iB", rest).groups()  # type: ignore[union-attr]
        return spec.DiskRule("loop", int(number) << {"M": 20, "G": 30, "T": 40}[unit])
    return spec.DiskRule(kind, 0, tuple(s for s in rest.split(",") if s))


def probe_of(text: str) -> spec.Probe:
    """ "none", "tcp:80" or "http:80/path"."""
    kind, _, rest = text.partition(":")
    port, _, path = rest.partition("/")
    return spec.Probe(kind, int(port), f"/{path}" if kind == "http" else "") if port else spec.Probe()
