"""Lists page by page, and what a caller has already."""

import asyncio
from pathlib import Path

import pytest

from pxeserver.api import cursor
from pxeserver.cli import client


async def test_page_by_page(server):
    names = [f"n{i:02}" for i in range(7)]
    await server.ok("POST", "/nodes", {"nodes": [{"name": name} for name in names]})
    found, path = [], "/nodes?limit=3"
    while path:
        found.append([node["name"] for node in await server.ok("GET", path)])
        link = server.headers.get("Link", "")
        assert not link or link.endswith('>; rel="next"')
        path = link.partition("<")[2].partition(">")[0].removeprefix("/api/v1")
    assert found == [names[:3], names[3:6], names[6:]]
    assert [n["name"] for n in await server.ok("GET", "/nodes?offset=5")] == names[5:]
    assert len(await server.ok("GET", "/nodes?limit=7")) == 7
    assert "Link" not in server.headers


async def test_a_page_keeps_the_filters(server):
    await server.ok("POST", "/nodes", {"nodes": [{"name": f"a{i}", "labels": {"x": "y"}} for i in range(3)]})
    await server.ok("POST", "/nodes", {"nodes": [{"name": "b"}]})
    await server.ok("GET", "/nodes?label=x%3Dy&limit=2")
    link = server.headers["Link"]
    assert "label=x" in link
    assert "after=" in link
    assert server.headers["X-Total-Count"] == "3"


async def pages(server, path):
    """All pages of a list, with what happens between them."""
    while path:
        part = [node["name"] for node in await server.ok("GET", path)]
        path = server.headers.get("Link", "").partition("<")[2].partition(">")[0].removeprefix("/api/v1")
        yield part


async def test_nodes_that_come_and_go_meanwhile_move_no_page(server):
    names = [f"n{i}" for i in range(1, 13)]
    await server.ok("POST", "/nodes", {"nodes": [{"name": name} for name in names]})
    seen = []
    async for page in pages(server, "/nodes?limit=4"):
        seen.append(page)
        if len(seen) == 1:
            await server.call("DELETE", "/nodes/n4")  # where the next page begins after
            await server.ok("POST", "/nodes", {"nodes": [{"name": "a0"}]})
    assert seen == [names[:4], names[4:8], names[8:]]


@pytest.mark.parametrize("sort", ["name", "state", "profile", "address", "since"])
@pytest.mark.parametrize("down", ["", "&down=true"])
async def test_pages_in_every_order_are_the_whole_list(server, sort, down):
    nodes = [{"name": f"n{i}", "address": f"10.77.0.{99 - i}" if i % 3 else None} for i in range(1, 8)]
    await server.ok("POST", "/nodes", {"nodes": nodes})
    await server.ok("POST", "/nodes/n5/hold", {"reason": "fan"})
    whole = [node["name"] for node in await server.ok("GET", f"/nodes?sort={sort}{down}")]
    parts = [page async for page in pages(server, f"/nodes?sort={sort}{down}&limit=3")]
    assert [len(part) for part in parts] == [3, 3, 1]
    assert [name for part in parts for name in part] == whole
    assert len(set(whole)) == 7


async def test_lists_are_filtered_as_the_pages_filter_them(server):
    nodes = [{"name": f"n{i}", "labels": {"rack": f"r{i % 2}"}, "serial": f"SN{i}"} for i in range(1, 7)]
    await server.ok("POST", "/nodes", {"nodes": [*nodes, {"name": "place"}]})
    await server.ok("POST", "/nodes/n2/hold", {"reason": "fan"})
    for query, wanted in (
        ("q=sn4", ["n4"]),
        ("q=n%5B1-3%5D", ["n1", "n2", "n3"]),
        ("state=held", ["n2"]),
        ("phase=held", ["n2"]),
        ("label=rack", [f"n{i}" for i in range(1, 7)]),
        ("label=rack%3Dr0&down=1", ["n6", "n4", "n2"]),
        ("waiting=1", ["place"]),
    ):
        assert [n["name"] for n in await server.ok("GET", f"/nodes?{query}")] == wanted, query
    assert (await server.call("GET", "/nodes?group=none"))[0] == 422


async def test_a_made_up_place_in_a_list_is_refused(server):
    await server.ok("POST", "/nodes", {"nodes": [{"name": f"n{i}"} for i in range(3)]})
    await server.ok("GET", "/nodes?limit=1")
    good = server.headers["Link"].partition("after=")[2].partition(">")[0]
    wrong = [cursor.written(key, ("name", False)) for key in ((), (1, 2), ((("n", None),), "n"), ("n",))]
    for after in ("x", "%C3%A4", good[:-2], good + "&sort=state", good + "&down=true", *wrong[1:]):
        status, problem = await server.call("GET", f"/nodes?after={after}")
        assert status == 422, (after, problem)
        assert "after" in problem["fields"]
    assert (await server.call("GET", f"/nodes?after={wrong[0]}"))[0] == 200


async def test_nonsense_is_refused(server):
    for query in ("limit=0", "limit=x", "offset=-1", "limit=100000", "other=1"):
        assert (await server.call("GET", f"/nodes?{query}"))[0] == 422, query
    assert (await server.call("GET", "/images?limit=1&other=1"))[0] == 400
    assert (await server.call("GET", "/status?limit=1"))[0] == 400


async def test_what_is_known_is_not_sent_again(server):
    await server.ok("GET", "/groups")
    known = {"If-None-Match": server.headers["ETag"]}
    assert (await server.call("GET", "/groups", headers=known))[0] == 304
    await server.ok("POST", "/groups", {"name": "g", "selector": "label", "match": "a=b"})
    assert (await server.call("GET", "/groups", headers=known))[0] == 200


async def test_a_version_says_nothing_about_what_is_shown(server):
    await server.ok("POST", "/nodes", {"nodes": [{"name": "a"}]})
    await server.ok("GET", "/nodes/a")
    known = {"If-None-Match": server.headers["ETag"]}
    assert (await server.call("GET", "/nodes/a", headers=known))[0] == 200


async def test_problems_are_problem_details(server):
    status, problem = await server.call("GET", "/nodes/nobody")
    assert server.headers["Content-Type"].startswith("application/problem+json")
    assert (problem["status"], problem["title"], problem["type"]) == (status, problem["what"], "about:blank")
    assert problem["detail"] == problem["why"]
    assert problem["next_step"]


async def test_the_command_line_reads_a_long_list_page_by_page(server, monkeypatch):
    monkeypatch.setattr(client, "_PAGE", 3)
    names = [f"n{i}" for i in range(1, 8)]
    await server.ok("POST", "/nodes", {"nodes": [{"name": n, "labels": {"a": "b"}} for n in names]})
    await server.ok("POST", "/nodes", {"nodes": [{"name": "other"}]})

    def read():
        with client.Client(Path(server.path)) as line:
            return [node["name"] for node in line.every("nodes", label="a=b", profile=None)]

    assert await asyncio.to_thread(read) == names
