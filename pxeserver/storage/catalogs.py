"""What the snapshot is made of, in the database: profiles, groups, images, loaders, settings, subnets."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from typing import Any, TypeVar

import msgspec
from sqlalchemy import delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from pxeserver.boot.model import (
    FileRef,
    Group,
    Image,
    Loader,
    Policy,
    Profile,
    ProfileKind,
    SelectorKind,
    Subnet,
)
from pxeserver.storage.records import Record, Stamp
from pxeserver.storage.tables import (
    Base,
    GroupRow,
    ImageFileRow,
    ImageRow,
    LoaderRow,
    ProfileRow,
    SettingRow,
    SubnetRow,
)

T = TypeVar("T")
_STAMP = tuple(f.name for f in fields(Stamp))


class Catalogs:
    """The records of the snapshot, seen through one transaction."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def profiles(self) -> dict[str, Record[Profile]]:
        """All profiles by name."""
        return {row["name"]: _recorded(_profile(row), row) for row in await self._rows(ProfileRow)}

    async def groups(self) -> dict[str, Record[Group]]:
        """All groups by name."""
        return {row["name"]: _recorded(_group(row), row) for row in await self._rows(GroupRow)}

    async def images(self) -> dict[str, Record[Image]]:
        """All images by name, their files in the order they were added."""
        files: dict[int, list[FileRef]] = defaultdict(list)
        query = select(ImageFileRow.__table__).order_by(ImageFileRow.image_id, ImageFileRow.position)
        for row in (await self._connection.execute(query)).mappings():
            files[row["image_id"]].append(FileRef(row["name"], row["sha256"], row["size"], row["role"]))
        return {
            row["name"]: _recorded(
                Image(row["name"], tuple(files[row["id"]]), row["description"], row["labels"]), row
            )
            for row in await self._rows(ImageRow)
        }

    async def loaders(self) -> dict[int, Record[Loader]]:
        """All loaders by architecture."""
        return {row["arch"]: _recorded(_loader(row), row) for row in await self._rows(LoaderRow)}

    async def settings(self) -> dict[str, Record[Any]]:
        """The fields of the policy that people set, by name."""
        return {row["key"]: _recorded(row["body"]["value"], row) for row in await self._rows(SettingRow)}

    async def subnets(self) -> dict[str, Record[Subnet]]:
        """The subnets that people set, by network."""
        return {
            row["network"]: _recorded(msgspec.convert(row["body"], Subnet), row)
            for row in await self._rows(SubnetRow)
        }

    async def policy(self, base: Policy) -> Policy:
        """The policy of the configuration file, with what people set over it."""
        known = {f.name for f in fields(Policy)}
        over = {key: record.value for key, record in (await self.settings()).items() if key in known}
        policy = msgspec.convert({**msgspec.to_builtins(base), **over}, Policy)
        subnets = {s.network: s for s in policy.subnets}
        subnets.update((network, record.value) for network, record in (await self.subnets()).items())
        return replace(policy, subnets=tuple(subnets.values()))

    async def put_profile(self, record: Record[Profile]) -> None:
        """Insert or replace a profile."""
        profile = record.value
        values = {f.name: getattr(profile, f.name) for f in fields(Profile)}
        values |= {"kind": profile.kind.value, "values": dict(profile.values)}
        await self._put(ProfileRow, ProfileRow.name == profile.name, record, values)

    async def put_group(self, record: Record[Group]) -> None:
        """Insert or replace a group."""
        group = record.value
        values = {
            "name": group.name,
            "selector": group.selector.value,
            "match": group.match,
            "values": dict(group.values),
        }
        await self._put(GroupRow, GroupRow.name == group.name, record, values)

    async def put_image(self, record: Record[Image]) -> None:
        """Insert or replace an image and the list of its files."""
        image = record.value
        values = {"name": image.name, "description": image.description}
        await self._put(ImageRow, ImageRow.name == image.name, record, values)
        image_id = await self._connection.scalar(select(ImageRow.id).where(ImageRow.name == image.name))
        await self._connection.execute(delete(ImageFileRow).where(ImageFileRow.image_id == image_id))
        rows = [{"image_id": image_id, "position": i, **asdict(file)} for i, file in enumerate(image.files)]
        if rows:
            await self._connection.execute(insert(ImageFileRow), rows)

    async def put_loader(self, record: Record[Loader]) -> None:
        """Insert or replace the loader of an architecture."""
        loader = record.value
        values = {
            "arch": loader.arch,
            "name": loader.file.name,
            "sha256": loader.file.sha256,
            "size": loader.file.size,
            "source": loader.source,
            "release": loader.version,
            "licence": loader.licence,
        }
        await self._put(LoaderRow, LoaderRow.arch == loader.arch, record, values)

    async def put_setting(self, key: str, record: Record[Any]) -> None:
        """Insert or replace a field of the policy."""
        body = {"value": msgspec.to_builtins(record.value)}
        await self._put(SettingRow, SettingRow.key == key, record, {"key": key, "body": body})

    async def put_subnet(self, record: Record[Subnet]) -> None:
        """Insert or replace a subnet."""
        network = record.value.network
        values = {"network": network, "body": msgspec.to_builtins(record.value)}
        await self._put(SubnetRow, SubnetRow.network == network, record, values)

    async def remove(self, table: str, key: str | int) -> None:
        """Remove a record from profiles, groups, images, loaders, settings or subnets."""
        row, column = _KEYS[table]
        await self._connection.execute(delete(row).where(column == key))

    async def _rows(self, table: type[Base]) -> list[Mapping[str, Any]]:
        found = await self._connection.execute(select(table.__table__))
        return [dict(row) for row in found.mappings()]

    async def _put(self, table: type[Base], key: Any, record: Record[Any], values: Mapping[str, Any]) -> None:
        row = {**values, **asdict(record.stamp), "labels": dict(record.labels)}
        changed = await self._connection.execute(update(table).where(key).values(**row))
        if changed.rowcount == 0:
            await self._connection.execute(insert(table).values(**row))


_KEYS: dict[str, tuple[type[Base], Any]] = {
    "profiles": (ProfileRow, ProfileRow.name),
    "groups": (GroupRow, GroupRow.name),
    "images": (ImageRow, ImageRow.name),
    "loaders": (LoaderRow, LoaderRow.arch),
    "settings": (SettingRow, SettingRow.key),
    "subnets": (SubnetRow, SubnetRow.network),
}


def _recorded(value: T, row: Mapping[str, Any]) -> Record[T]:
    return Record(value, Stamp(**{name: row[name] for name in _STAMP}), row["labels"])


def _profile(row: Mapping[str, Any]) -> Profile:
    plain = {f.name: row[f.name] for f in fields(Profile) if f.name != "kind"}
    return Profile(kind=ProfileKind(row["kind"]), **plain)


def _group(row: Mapping[str, Any]) -> Group:
    return Group(row["name"], SelectorKind(row["selector"]), row["match"], row["values"], row["labels"])


def _loader(row: Mapping[str, Any]) -> Loader:
    file = FileRef(row["name"], row["sha256"], row["size"], "loader")
    return Loader(row["arch"], file, row["source"], row["release"], row["licence"])
