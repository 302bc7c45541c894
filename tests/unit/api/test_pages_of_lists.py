"""Lists page by page, and what a caller has already."""


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
    assert "offset=2" in link


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
