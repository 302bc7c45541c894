"""The pages of clusters: list, live steps, logs."""

import asyncio
import html
import re
from types import SimpleNamespace

import pytest
from fleet import THREE, Fleet

from pxeserver.api.access.who import Role
from pxeserver.api.schemas.clusters import HealingView, MemberView, StatusView
from pxeserver.postinstall.polls import Drifted

HX = {"HX-Request": "true"}
PATIENCE = 120.0


@pytest.fixture
async def fleet(site, monkeypatch):
    """The site's clusters with n1 to n4, whose agents have claimed; they work once `work` was called."""
    monkeypatch.setattr("pxeserver.postinstall.running.AIM_SECONDS", 0.0)
    monkeypatch.setattr("pxeserver.api.routes.clusters._GATHER_SECONDS", 0.0)
    orders = site.rooms.clusters
    made = Fleet(site.rooms.hall, orders.clusters, orders)
    await made.add("n1", "n2", "n3", "n4")
    yield made
    await made.rest()


async def post(site, path, data, status=303):
    """Where the answer to a form leads, or the page."""
    async with site.client.post(path, data=data, allow_redirects=False) as answer:
        text = await answer.text()
        assert answer.status == status, text
        return answer.headers.get("Location", "") or text


async def stands(fleet, text=THREE):
    """A cluster that is ready."""
    await fleet.apply(text)
    fleet.work()
    await fleet.until(fleet.ready, PATIENCE)


async def test_without_a_cluster_the_list_teaches(site):
    text = await site.get("/clusters")
    assert "No cluster yet" in text
    assert 'href="/clusters/new"' in text


async def test_the_list_shows_health_and_how_far(site, fleet):
    await fleet.apply()
    text = await site.get("/clusters", **HX)
    assert "<html" not in text
    assert 'href="/clusters/lab"' in text and "working" in text and "n[1-3]" in text and "3 managers" in text
    assert 'href="/clusters/lab"' in await site.get("/search?q=LA")
    fleet.work()
    await fleet.until(fleet.ready, PATIENCE)
    assert '<span class="badge ok">ready</span>' in await site.get("/clusters", **HX)


async def test_steps_of_each_member_with_reasons_and_logs(site, fleet):
    fleet.agents["n2"].fails["docker"] = "no room <left>"
    await fleet.apply()
    fleet.work()
    await fleet.until(
        lambda: fleet.clusters.running["lab"].condition(fleet.clusters.clock()) == "failed", PATIENCE
    )
    text = await site.get("/clusters/lab")
    assert 'data-step="n1/network" data-status="done"' in text
    assert 'data-step="n2/docker" data-status="failed"' in text
    assert "no room &lt;left&gt;" in text
    text = await site.get("/clusters/lab/steps/n2/docker")
    assert "tried it\nno room &lt;left&gt;" in text
    async with site.client.get("/clusters/lab/steps/n2/none") as answer:
        assert answer.status == 404


async def test_drift_is_told(site, fleet):
    await stands(fleet)
    fleet.agents["n1"].drift = (Drifted("docker", "daemon.json", "{}", "{x}"),)
    await fleet.until(lambda: bool(fleet.clusters.running["lab"].members["n1"].drift), PATIENCE)
    text = await site.get("/clusters/lab", **HX)
    assert "One thing is not as it was applied" in text
    assert "docker: daemon.json" in text
    assert "<code>{x}</code>" in text
    page = await post(site, "/clusters/lab/act", {"act": "mend"}, 200)
    assert "<b>n1</b> docker: daemon.json" in page and "Nothing is to be changed" not in page
    assert await post(site, "/clusters/lab/act", {**hidden(page), "go": "1"}) == "/clusters/lab"
    await fleet.until(fleet.ready, PATIENCE)


async def test_the_stream_tells_that_something_changed(site, fleet):
    await fleet.apply()
    seen = []

    async def watch():
        async with site.client.get("/clusters/lab/stream") as answer:
            async for line in answer.content:
                seen.extend([line.decode()] if line.startswith(b"data:") else [])

    watching = asyncio.ensure_future(watch())
    await fleet.until(lambda: len(seen) >= 2, PATIENCE)
    fleet.work()
    await fleet.until(lambda: any('"node"' in line for line in seen), PATIENCE)
    watching.cancel()


async def test_the_part_of_a_cluster_that_is_no_more_leads_to_the_list(site, fleet):
    async with site.client.get("/clusters/lab", headers=HX) as answer:
        assert (answer.status, answer.headers["HX-Redirect"]) == (200, "/clusters")
    async with site.client.get("/clusters/lab") as answer:
        assert answer.status == 404


# ---------------------------------------------------------------------------------------------- making one


def hidden(text):
    """The hidden fields of the last form of a page."""
    part = text[: text.index("</main>")]
    part = part[part.rindex("<form") :]
    found = re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', part)
    return {name: html.unescape(value) for name, value in found}


async def test_the_form_has_defaults_that_can_be_applied_with_one_click(site, fleet):
    text = await site.get("/clusters/new")
    assert re.findall(r'name="member" value="(n\d)" checked', text) == ["n1", "n2", "n3"]
    assert "<svg" in text and 'aria-label="lab: 3 members, 1 switches, 1 virtual networks"' in text
    fields = html_fields(text)
    plan = await post(site, "/clusters/new", [*fields, ("go", "plan")], 200)
    assert "Plan for lab" in plan and "a new Swarm at 10.77.0.1" in plan
    assert "lab" not in fleet.clusters.running
    where = await post(site, "/clusters/new/apply", hidden(plan))
    assert where == "/clusters/lab"
    fleet.work()
    await fleet.until(fleet.ready, PATIENCE)


def html_fields(text):
    """What a browser would send of the form that describes a cluster."""
    part = text[text.index('<form id="describe"') :]
    part = part[: part.index("</form>")]
    found = []
    for tag in re.findall(r"<input [^>]*>", part):
        kind, name = re.search(r'type="(\w+)"', tag)[1], re.search(r'name="([^"]+)"', tag)[1]
        if kind not in ("checkbox", "radio") or " checked" in tag:
            found.append((name, html.unescape(re.search(r'value="([^"]*)"', tag)[1])))
    for name, body in re.findall(r'<select [^>]*name="([^"]+)"[^>]*>(.*?)</select>', part, re.DOTALL):
        chosen = re.search(r'<option(?: value="([^"]*)")? selected>([^<]*)', body)
        found.append((name, (chosen[1] or chosen[2]) if chosen else ""))
    return found


async def test_refusals_stand_beside_their_fields(site, fleet):
    fields = dict(html_fields(await site.get("/clusters/new")))
    fields |= {"members.nodes": "n1 n2", "vnet.0.vlan": "5000", "vnet.0.gateway": "10.11.0.1", "go": "plan"}
    text = await post(site, "/clusters/new", fields, 422)
    field = text[text.index('id="f-vnet.0.vlan"') :][:600]
    assert 'class="error" id="h-vnet.0.vlan"' in field
    assert 'name="vnet.0.gateway" type="text" value="10.11.0.1"' in text
    assert "the cluster is refused" in text


async def test_the_file_is_edited_as_text_with_the_files_that_it_names(site, fleet):
    text = THREE + '[[stack]]\nname = "shop"\nfile = "shop.yml"\n'
    page = await post(site, "/clusters/new", {"mode": "file", "text": text, "go": "plan"}, 422)
    assert "there is no file shop.yml" in page and 'name="file.0.text"' in page
    fields = {"mode": "file", "text": text, "file.0.name": "shop.yml", "file.0.text": SHOP}
    page = await post(site, "/clusters/new", {**fields, "go": "plan"}, 200)
    assert await post(site, "/clusters/new/apply", hidden(page)) == "/clusters/lab"
    page = await site.get("/clusters/lab/file")
    assert "&#34;shop&#34;" in page and "shop:1" in page


async def test_a_plan_that_was_seen_is_not_carried_out_where_it_is_another_now(site, fleet):
    page = await post(site, "/clusters/new", {"mode": "file", "text": THREE, "go": "plan"}, 200)
    await fleet.apply()
    text = await post(site, "/clusters/new/apply", hidden(page), 409)
    assert "the cluster has changed since the plan was made" in text


SHOP = 'version: "3.8"\nservices:\n  web:\n    image: shop:1\n'


# ---------------------------------------------------------------------------------------------- acts, stacks


async def test_acts_are_asked_for_planned_and_carried_out(site, fleet):
    await stands(fleet)
    page = await post(site, "/clusters/lab/act", {"act": "drain"}, 200)
    assert page.count('name="node" value="n') == 3
    page = await post(site, "/clusters/lab/act", {"act": "drain", "node": "n2"}, 200)
    assert "one step to do" in page and "swarm-members" in page
    assert await post(site, "/clusters/lab/act", {**hidden(page), "go": "1"}) == "/clusters/lab"
    assert fleet.clusters.running["lab"].standing("n2") == "drained"
    page = await post(site, "/clusters/lab/act", {"act": "remove", "node": "n3"}, 422)
    assert "3 managers and 2 members" in page
    assert "Replace a member" in await post(site, "/clusters/lab/act", {"act": "replace", "node": ","}, 200)
    await post(site, "/clusters/lab/act", {"act": "replace", "node": "n3", "new": "n4 n5"}, 422)
    page = await post(site, "/clusters/lab/act", {"act": "replace", "node": "n3", "new": "n4"}, 200)
    await post(site, "/clusters/lab/act", {**hidden(page), "go": "1"})
    assert "n4" in fleet.clusters.running["lab"].layout.places
    await post(site, "/clusters/lab/act", {"act": "stop"})
    assert fleet.clusters.running["lab"].record.state == "stopped"
    page = await post(site, "/clusters/lab/act", {"act": "forget"}, 200)
    assert "cannot be taken back" in page
    assert await post(site, "/clusters/lab/act", {"act": "forget", "go": "1"}) == "/clusters"
    assert "lab" not in fleet.clusters.running


async def test_a_node_becomes_a_member_beside_the_file(site, fleet):
    await fleet.apply()
    page = await post(site, "/clusters/lab/act", {"act": "add", "new": "n4"}, 200)
    await post(site, "/clusters/lab/act", {**hidden(page), "go": "1"})
    assert list(fleet.clusters.running["lab"].layout.places) == ["n1", "n2", "n3", "n4"]
    assert "Added beside the file" in await site.get("/clusters/lab")


async def test_stacks_are_deployed_changed_rolled_back_and_taken_away(site, fleet):
    await fleet.apply()
    assert "Nothing is deployed yet" in await site.get("/clusters/lab/stacks")
    for number in (1, 2):
        fields = {"kind": "stack", "name": "shop", "file": SHOP.replace("shop:1", f"shop:{number}")}
        page = await post(site, "/clusters/lab/deploy", fields, 200)
        assert "Plan for lab" in page
        await post(site, "/clusters/lab/deploy", {**hidden(page), "go": "1"})
    assert fleet.clusters.running["lab"].record.text.count("[[stack]]") == 1
    assert 'href="/clusters/lab/stacks/shop"' in await site.get("/clusters/lab/stacks")
    page = await site.get("/clusters/lab/stacks/shop")
    assert page.count("Go back") == 1 and "shop:2" in page
    page = await post(site, "/clusters/lab/stacks/shop/rollback", {"version": "1"}, 200)
    await post(site, "/clusters/lab/stacks/shop/rollback", {**hidden(page), "go": "1"})
    assert "shop:1" in fleet.clusters.running["lab"].spec.stacks[0].text
    page = await post(site, "/clusters/lab/deploy", {"kind": "stack", "name": "shop", "remove": "1"}, 200)
    await post(site, "/clusters/lab/deploy", {**hidden(page), "go": "1"})
    assert fleet.clusters.running["lab"].record.text == THREE
    page = await post(
        site, "/clusters/lab/deploy", {"kind": "compose", "name": "x", "node": "n9", "file": "a"}, 422
    )
    assert "n9 is no member" in page and "names no services" in page


# ---------------------------------------------------------------------------------------------- states


def status_of(state="ready", healing=None, nodes=()):
    """A status as the API gives it."""
    return StatusView(
        name="lab", state=state, version=1, leader="n1", done=0, wanted=0, notes=("waiting for n9",),
        healing=healing, nodes=nodes,
    )  # fmt: skip


def member_of(name, state="ready", **more):
    """A member without steps."""
    about = {"role": "worker", "standing": "active", "address": "10.77.0.9", "leader": False, "seen": None}
    return MemberView(
        name=name, state=state, steps=(), drift=(), drift_at=None, frozen="", **{**about, **more}
    )


@pytest.mark.parametrize(
    ("entries", "behind", "told"),
    [
        (12, ("n3",), "Volume shared: 12 entries wait to be healed (n3)"),
        (1, (), "Volume shared: one entry waits to be healed"),
        (-1, (), "Volume shared: it cannot be told what waits to be healed"),
        (0, (), "Volume shared: every copy is whole"),
    ],
)
async def test_how_far_the_volume_has_healed_is_told(site, fleet, monkeypatch, entries, behind, told):
    await fleet.apply()
    status = status_of("checking", HealingView(volume="shared", entries=entries, behind=behind))

    async def given(call):
        return status

    monkeypatch.setattr("webadmin.clusters.clusters.status", given)
    text = await site.get("/clusters/lab", **HX)
    assert told in text
    assert "nothing was heard since the server started" in text and "waiting for n9" in text


async def test_of_many_members_those_that_need_a_look_are_drawn_whole(site, fleet, monkeypatch):
    await fleet.apply()
    nodes = [member_of(f"m{k:02}") for k in range(20)]
    nodes[17] = member_of("m17", "failed")
    nodes[19] = member_of("m19", "away", seen=1.0)

    async def given(call):
        return status_of(nodes=tuple(nodes))

    monkeypatch.setattr("webadmin.clusters.clusters.status", given)
    text = await site.get("/clusters/lab?member=m15", **HX)
    drawn = re.findall(r'<h2 id="m-(m\d+)"', text)
    assert drawn[:3] == ["m15", "m17", "m19"] and len(drawn) == 12
    assert 'href="/clusters/lab?member=m14"' in text


async def test_who_may_only_look_sees_no_acts(site, fleet, monkeypatch):
    await fleet.apply()
    assert 'value="destroy"' in await site.get("/clusters/lab")
    monkeypatch.setattr("pxeserver.api.access.local.Role", SimpleNamespace(ADMIN=Role.VIEWER))
    text = await site.get("/clusters/lab")
    assert 'value="destroy"' not in text and "n1" in text
    assert "/clusters/new" not in await site.get("/clusters")
    for page in ("stacks", "file"):
        text = await site.get(f"/clusters/lab/{page}")
        assert 'class="primary"' not in text and 'href="/clusters/lab/deploy"' not in text
