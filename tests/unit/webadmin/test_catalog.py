"""The pages of profiles and groups: forms, previews of what is not saved, conflicts, versions."""

import html
import re

import pytest

from pxeserver.boot.model import FileRef, Group, Image, Node, Profile, ProfileKind, SelectorKind

HX = {"HX-Request": "true"}
FORM = {"kind": "kernel", "image": "debian", "args": "quiet", "in_menu": "1"}


@pytest.fixture
async def hall(site):
    """The site's hall, with an image, a profile, a group and two nodes."""
    async with site.rooms.hall.edit("web:anna") as edit:
        files = (FileRef("vmlinuz", "1" * 64, 9, "kernel"), FileRef("initrd", "2" * 64, 9, "initrd"))
        await edit.put_image(Image("debian", files))
        await edit.put_profile(Profile("debian", ProfileKind.KERNEL, "debian", args="quiet"))
        await edit.put_group(Group("rack-1", SelectorKind.LABEL, "rack=r1", {"profile": "debian"}))
        await edit.add_node(Node(0, "n1", macs=("52:54:00:00:00:01",), labels={"rack": "r1"}, hold="fan"))
        await edit.add_node(Node(0, "n2", macs=("52:54:00:00:00:02",), values={"console": "ttyS9"}))
    return site.rooms.hall


async def post(site, path, data, status=303, **headers):
    """The answer to a form: where it leads, or the page."""
    async with site.client.post(path, data=data, headers=headers, allow_redirects=False) as answer:
        text = await answer.text()
        assert answer.status == status, text
        return answer.headers.get("Location", "") or html.unescape(text)


def seen(page):
    """The revision that a form was made from."""
    return re.search(r'name="seen" value="([^"]*)"', page)[1]


async def test_empty_lists_teach(site):
    assert "No profile yet" in await site.get("/profiles")


async def test_the_list_says_who_uses_a_profile(site, hall):
    page = await site.get("/profiles")
    assert 'href="/groups/rack-1"' in page
    assert 'href="/images/debian"' in page


async def test_a_profile_is_added_changed_and_removed(site, hall):
    assert (
        await post(site, "/profiles/-/add", {**FORM, "name": "live", "values.console": "ttyS0"})
        == "/profiles/live"
    )
    assert hall.catalog().profiles["live"].values == {"console": "ttyS0"}
    page = await site.get("/profiles/live")
    fields = {**FORM, "args": "splash", "seen": seen(page), "labels": "line=test", "in_menu": ""}
    await post(site, "/profiles/live", fields)
    changed = hall.catalog().profiles["live"]
    assert (changed.args, changed.values, changed.labels, changed.in_menu) == (
        "splash",
        {},
        {"line": "test"},
        False,
    )
    assert "cannot be taken back" in await site.get("/profiles/live/remove")
    await post(site, "/profiles/live/remove", {})
    assert "live" not in hall.catalog().profiles


async def test_faults_stand_beside_their_fields_and_the_form_stays(site, hall):
    fields = {**FORM, "name": "bad name", "args": 'root="', "values.local_boot": "maybe", "labels": "a=1 b"}
    page = await post(site, "/profiles/-/add", fields, 422)
    assert "b is not key=value" in page
    page = await post(site, "/profiles/-/add", {**fields, "labels": ""}, 422)
    assert 'aria-describedby="h-name"' in page
    page = await post(site, "/profiles/-/add", {**fields, "labels": "", "name": "ok"}, 422)
    assert re.search(r"local_boot.*is none of auto", page)
    assert 'root="' in page


async def test_a_profile_that_is_used_stays(site, hall):
    page = await post(site, "/profiles/debian/remove", {}, 409)
    assert "group rack-1" in page


async def test_the_preview_is_of_the_form_that_is_not_saved(site, hall):
    fields = {**FORM, "args": "quiet nomodeset", "node": "n2"}
    page = await post(site, "/profiles/debian/preview", fields, 200, **HX)
    assert "<html" not in page
    assert re.search(r'class="add">\+.*nomodeset.*console=ttyS9', page)
    assert hall.catalog().profiles["debian"].args == "quiet"
    assert "the same as the saved one" in await post(site, "/profiles/debian/preview", FORM, 200, **HX)
    assert "There is no node n9" in await post(
        site, "/profiles/debian/preview", {**FORM, "node": "n9"}, 200, **HX
    )


async def test_a_preview_supposes_that_nothing_holds_the_node(site, hall):
    page = await post(site, "/profiles/-/preview", {**FORM, "node": "n1", "install": "1"}, 200, **HX)
    assert "is installed" in page and "vmlinuz" in page
    assert hall.node("n1").hold == "fan"


async def test_a_preview_says_what_is_wrong(site, hall):
    page = await post(site, "/profiles/debian/preview", {**FORM, "image": "gone"}, 200, **HX)
    assert "there is no image gone" in page
    page = await post(
        site, "/profiles/debian/preview", {**FORM, "kind": "script", "image": "", "script": "sh"}, 200, **HX
    )
    assert "begins with #!ipxe" in page


async def test_without_scripts_the_preview_is_the_whole_page(site, hall):
    page = await post(site, "/profiles/debian/preview", {**FORM, "args": "splash"}, 200)
    assert "<html" in page and ">splash</textarea>" in page and "splash" in page.split('id="preview"')[1]


async def test_the_second_editor_is_told_and_loses_nothing(site, hall):
    first = seen(await site.get("/profiles/debian"))
    await post(site, "/profiles/debian", {**FORM, "args": "theirs", "seen": first})
    page = await post(site, "/profiles/debian", {**FORM, "args": "mine", "seen": first}, 409)
    assert "Somebody else has changed it" in page and ">mine</textarea>" in page and "theirs" in page
    assert hall.catalog().profiles["debian"].args == "theirs"
    await post(site, "/profiles/debian", {**FORM, "args": "mine", "seen": seen(page)})
    assert hall.catalog().profiles["debian"].args == "mine"


async def test_versions_are_listed_compared_and_rolled_back_to(site, hall):
    await post(site, "/profiles/debian", {**FORM, "args": "splash"})
    page = await site.get("/profiles/debian/versions")
    assert "-args: quiet" in page and "+args: splash" in page and "web:anna" in page
    await post(site, "/profiles/debian/rollback", {"version": "1"})
    assert hall.catalog().profiles["debian"].args == "quiet"
    page = await site.get("/profiles/debian/versions?old=2&new=3")
    assert "+args: quiet" in page
    await post(site, "/profiles/debian/rollback", {"version": "9"}, 404)
