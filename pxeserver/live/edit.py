"""The verbs of an edit that are about the snapshot: profiles, groups, images, loaders, policy, subnets."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from pxeserver.boot.architectures import arch_name
from pxeserver.boot.model import Group, Image, Loader, Policy, Profile, Subnet
from pxeserver.live import checks
from pxeserver.live.edit_nodes import NodeEdits
from pxeserver.live.errors import Missing, Refused
from pxeserver.storage.records import Record

_POLICY = tuple(f.name for f in fields(Policy) if f.name != "subnets")

SERVER = "server"
"""Who edits what the server itself puts into the database."""


class Edit(NodeEdits):
    """One change of the configuration: committed whole, or not at all. Made by Hall.edit."""

    async def put_profile(self, profile: Profile, version: int | None = None) -> None:
        """Add or replace a profile; Conflict where it was changed since `version`."""
        given = checks.profile(profile, await self._records.images())
        old = (await self._records.profiles()).get(given.name)
        await self._seen("profiles", "profile", given.name, version, old)
        new = Record(given, self._stamp(old.stamp if old else None), given.labels)
        await self._records.put_profile(new)
        self._note_put("profiles", given.name, old, new)

    async def remove_profile(self, name: str, version: int | None = None) -> None:
        """Remove a profile. Refused where a node, a group, another value or the policy names it."""
        old = (await self._records.profiles()).get(name)
        nodes = await self._nodes.valued("profile", name)
        users = [f"node {node}" for node in nodes[:10]] + ["more nodes"] * (len(nodes) > 10)
        groups = (await self._records.groups()).values()
        users += [f"group {g.value.name}" for g in groups if g.value.values.get("profile") == name]
        policy = await self._records.policy(self._memory.base)
        if policy.unknown == f"profile:{name}" or policy.values.get("profile") == name:
            users.append("the policy")
        await self._remove("profiles", "profile", name, version, old, users=users)

    async def put_group(self, group: Group, version: int | None = None) -> None:
        """Add or replace a group; Conflict where it was changed since `version`."""
        given = checks.group(group)
        old = (await self._records.groups()).get(given.name)
        await self._seen("groups", "group", given.name, version, old)
        new = Record(given, self._stamp(old.stamp if old else None), given.labels)
        await self._records.put_group(new)
        self._note_put("groups", given.name, old, new)

    async def remove_group(self, name: str, version: int | None = None) -> None:
        """Remove a group."""
        old = (await self._records.groups()).get(name)
        await self._remove("groups", "group", name, version, old, users=[])

    async def put_image(self, image: Image, version: int | None = None) -> None:
        """Add or replace an image, whose files are in the store; Conflict where it was changed since."""
        checks.name("image", image.name)
        names = [file.name for file in image.files]
        if len(set(names)) != len(names):
            raise Refused(f"image {image.name} is refused", "two of its files have one name", "rename one")
        old = (await self._records.images()).get(image.name)
        await self._seen("images", "image", image.name, version, old)
        new = Record(image, self._stamp(old.stamp if old else None), checks.labels(image.labels))
        await self._records.put_image(new)
        self._note_put("images", image.name, old, new)

    async def remove_image(self, name: str, version: int | None = None) -> None:
        """Remove an image.

        Refused where a profile boots it. Its files leave the store when nobody names them.
        """
        old = (await self._records.images()).get(name)
        profiles = (await self._records.profiles()).values()
        users = [f"profile {p.value.name}" for p in profiles if p.value.image == name]
        await self._remove("images", "image", name, version, old, users=users)

    async def put_loader(self, loader: Loader, *, standard: bool = False) -> None:
        """Use this loader for its architecture. A `standard` one, which the server has by itself, does not
        take the place of what somebody else has put there.
        """
        old = (await self._records.loaders()).get(loader.arch)
        if old is not None and old.value == loader:
            return  # the loaders are put at every start: no new version where nothing changed
        if old is not None and standard and old.stamp.updated_by != self._by:
            return
        new = Record(loader, self._stamp(old.stamp if old else None))
        await self._records.put_loader(new)
        self._note_put("loaders", arch_name(loader.arch), old, new)

    async def remove_loader(self, arch: int) -> None:
        """Have no loader for an architecture."""
        old = (await self._records.loaders()).get(arch)
        await self._remove("loaders", "loader", arch, None, old, users=[])

    async def set_policy(self, policy: Policy) -> None:
        """Replace the policy. What differs from the configuration file is stored, and holds over the file."""
        base = self._memory.base
        stored = await self._records.settings()
        for key in _POLICY:
            await self._set(key, getattr(policy, key), getattr(base, key), stored.get(key))
        wanted = {subnet.network: subnet for subnet in policy.subnets}
        from_file = {subnet.network: subnet for subnet in base.subnets}
        for network in from_file.keys() - wanted.keys():
            step = "remove it from the configuration file, or set its mode to off"
            raise Refused(f"subnet {network} is not removed", "the configuration file has it", step)
        for network in (await self._records.subnets()).keys() - wanted.keys():
            await self.remove_subnet(network)
        current = await self._records.subnets()
        for network, subnet in wanted.items():
            held = current[network].value if network in current else from_file.get(network)
            if subnet != held:
                await self.put_subnet(subnet)

    async def put_subnet(self, subnet: Subnet, version: int | None = None) -> None:
        """Add or replace a subnet, over one of the same network in the configuration file."""
        given = checks.subnet(subnet)
        old = (await self._records.subnets()).get(given.network)
        await self._seen("subnets", "subnet", given.network, version, old)
        new = Record(given, self._stamp(old.stamp if old else None))
        await self._records.put_subnet(new)
        self._note_put("subnets", given.network, old, new)

    async def remove_subnet(self, network: str, version: int | None = None) -> None:
        """Remove a subnet that was set here; one of the configuration file holds again."""
        old = (await self._records.subnets()).get(network)
        await self._remove("subnets", "subnet", network, version, old, users=[])

    async def _set(self, key: str, value: Any, base: Any, old: Record[Any] | None) -> None:
        if value == base:
            if old is not None:
                await self._remove("settings", "setting", key, None, old, users=[])
            return
        new = Record(value, self._stamp(old.stamp if old else None))
        if old is None or _plain(old.value) != _plain(value):
            await self._records.put_setting(key, new)
            self._note_put("settings", key, old, new)

    async def _seen(
        self, table: str, noun: str, name: str, version: int | None, old: Record[Any] | None
    ) -> None:
        await self._check_version(table, noun, name, version, old.stamp.version if old else 0)

    async def _remove(
        self,
        table: str,
        noun: str,
        key: str | int,
        version: int | None,
        old: Record[Any] | None,
        *,
        users: list[str],
    ) -> None:
        if old is None:
            raise Missing(noun, key)
        await self._check_version(table, noun, str(key), version, old.stamp.version)
        if users:
            what = f"{noun} {key} is not removed"
            raise Refused(what, f"used by {', '.join(users)}", "change these first")
        await self._records.remove(table, key)
        self._note("remove", table, str(key), old.stamp.version + 1)
        self.catalog_changed = True


def _plain(value: Any) -> Any:
    """A value as it comes back from JSON."""
    return list(value) if isinstance(value, tuple) else value
