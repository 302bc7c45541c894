"""Clusters in the database: they come back as they were put, their secrets as ciphertext."""

from __future__ import annotations

import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from pxeserver.boot.model import Node
from pxeserver.postinstall.work import Status, StepKey, StepState
from pxeserver.storage.claims import Agent, Agents
from pxeserver.storage.clusters import ClusterRecord, ClusterTable, MemberRecord
from pxeserver.storage.database import Database
from pxeserver.storage.nodes import Nodes
from pxeserver.storage.records import NodeRecord, Stamp
from pxeserver.storage.secretbox import SecretBox

RECORD = ClusterRecord("lab", 'name = "lab"', {"a": [1]}, {"places": {}}, Stamp("a", "b", 1.0, 2.0, 3))
STATE = StepState(
    StepKey("n1", "network"),
    Status.RUNNING,
    digest="d",
    work_id="w1",
    tries=2,
    secrets={"token": "hidden"},
    log=("one", "two"),
    params={"x": [1, None]},
)


async def test_what_is_put_comes_back_and_a_removed_cluster_takes_everything_with_it(tmp_path: Path) -> None:
    database, box = await Database.open(tmp_path / "db"), SecretBox()
    async with database.write() as connection:
        table = ClusterTable(connection, box)
        record = await table.put(RECORD)
        await table.put_members(record.id, [MemberRecord("n1", None, boot="b1", drift=({"step": "x"},))])
        await table.put_steps(record.id, [STATE])
        await table.put_steps(record.id, [STATE])
    async with database.read() as connection:
        table = ClusterTable(connection, box)
        assert await table.all() == [record]
        assert (await table.members(record.id))["n1"].boot == "b1"
        assert await table.steps(record.id) == [STATE]
        other = ClusterTable(connection, SecretBox())
        assert (await other.steps(record.id))[0].secrets == {}, "another key opens nothing"
        raw = (await connection.execute(text("SELECT secrets FROM cluster_steps"))).scalar()
        assert raw is not None
        assert b"hidden" not in raw
    async with database.write() as connection:
        await ClusterTable(connection, box).remove(record.id)
    async with database.read() as connection:
        for name in ("clusters", "cluster_members", "cluster_steps"):
            assert (await connection.execute(text(f"SELECT count(*) FROM {name}"))).scalar() == 0
    await database.close()


async def test_a_stack_file_gets_a_new_version_only_where_it_differs(tmp_path: Path) -> None:
    database, box = await Database.open(tmp_path / "db"), SecretBox()
    async with database.write() as connection:
        table = ClusterTable(connection, box)
        number = (await table.put(RECORD)).id
        for content in ("a", "a", "b"):
            await table.keep_stacks(number, {"shop": content, "mon": "m"}, "me", 1.0)
        assert [(s.name, s.version, s.file) for s in await table.stacks(number)] == [
            ("mon", 1, "m"),
            ("shop", 2, "b"),
        ]
    await database.close()


@pytest.mark.parametrize(
    ("spec", "facts", "each_boot"),
    [
        ({"ephemeral": True}, None, True),
        ({"ephemeral": True}, {"diskless": True}, True),
        ({"ephemeral": True}, {"diskless": False}, False),
        ({"ephemeral": False}, {"diskless": True}, False),
        ({}, None, False),
    ],
)
async def test_who_keeps_nothing_claims_at_each_boot(
    tmp_path: Path, spec: dict[str, Any], facts: dict[str, Any] | None, each_boot: bool
) -> None:
    database = await Database.open(tmp_path / "db")
    async with database.write() as connection:
        (added,) = await Nodes(connection).add_many([NodeRecord(Node(0, "n1"), RECORD.stamp)])
        node = added.node
        table = ClusterTable(connection, SecretBox())
        record = await table.put(replace(RECORD, spec=spec))
        await table.put_members(record.id, [MemberRecord("n1", node.id)])
        if facts is not None:
            await Agents(connection).put(Agent(node.id, "key", "token", facts=facts))
        assert await Agents(connection).keeps_nothing(node.id) is each_boot
        assert not await Agents(connection).keeps_nothing(node.id + 1)
    await database.close()


def test_the_key_is_made_once_and_is_for_the_server_alone(tmp_path: Path) -> None:
    path = tmp_path / "key"
    sealed = SecretBox.open(path).seal({"a": 1})
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert SecretBox.open(path).unseal(sealed) == {"a": 1}
    assert SecretBox().seal({}) == b""
    path.write_bytes(b"short")
    with pytest.raises(ValueError, match="no key"):
        SecretBox.open(path)
