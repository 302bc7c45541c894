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
    differs = page.split('aria-label="What differs"')[1].split("</table>")[0]
    assert re.findall(r'<th scope="row">(\w+)<', differs) == ["args"]
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


# ------------------------------------------------------------------------------------------- groups


async def test_a_group_says_whom_it_matches_and_what_it_changes(site, hall):
    page = await site.get("/groups")
    assert re.search(r'href="/nodes\?group=rack-1">one node<', page)
    form = {"name": "x", "selector": "mac-prefix", "match": "52:54:00", "values.console": "tty7"}
    page = await post(site, "/groups/-/preview", form, 200, **HX)
    assert "2 nodes" in page and "tty7" in page
    assert "ttyS9" not in page  # n2 has a console of its own
    page = await post(site, "/groups/-/preview", {**form, "match": "nonsense"}, 200, **HX)
    assert "is not the beginning of a MAC address" in page


async def test_a_group_is_edited_like_a_profile(site, hall):
    first = seen(await site.get("/groups/rack-1"))
    form = {"selector": "label", "match": "rack=r2", "values.console": "tty0", "seen": first}
    assert await post(site, "/groups/rack-1", form) == "/groups/rack-1"
    assert hall.catalog().groups[0].match == "rack=r2"
    assert hall.catalog().groups[0].values == {"console": "tty0"}
    page = await post(site, "/groups/rack-1", {**form, "match": "rack=r3"}, 409)
    assert "Somebody else has changed it" in page and 'value="rack=r3"' in page
    page = await post(site, "/groups/rack-1", {**form, "match": "no", "seen": ""}, 422)
    assert 'aria-describedby="h-match"' in page
    await post(site, "/groups/rack-1/rollback", {"version": "1"})
    assert hall.catalog().groups[0].match == "rack=r1"
    await post(site, "/groups/rack-1/remove", {})
    assert hall.catalog().groups == ()
    assert "No group yet" in await site.get("/groups")
    assert (
        await post(site, "/groups/-/add", {"name": "g", "selector": "vendor", "match": "Dell"}) == "/groups/g"
    )


# -------------------------------------------------------------------------------------------- menus


async def menus(hall):
    async with hall.edit("web:anna") as edit:
        await edit.put_profile(Profile("rescue", ProfileKind.CHAIN, url="http://192.0.2.9/x", title="Rescue"))
        await edit.put_profile(Profile("disk", ProfileKind.LOCAL))


def screen(page):
    """The lines of the screen."""
    return re.sub(r"<[^>]*>", "", page.split('class="screen"')[1].split("</pre>")[0].partition(">")[2])


async def test_a_menu_is_ordered_and_started_by_itself(site, hall):
    await menus(hall)
    page = await site.get("/menus")
    assert re.search(r"Start the local disk.*debian.*Rescue", screen(page), re.DOTALL)
    assert 'href="/profiles/disk"' in page
    form = {"order": "debian rescue", "default": "rescue", "seconds": "7", "seen": seen(page)}
    moved = await post(site, "/menus/preview", {**form, "move": "rescue:up"}, 200, **HX)
    assert 'name="order" value="rescue debian"' in moved
    assert re.search(r"Rescue.*debian", screen(moved), re.DOTALL)
    assert hall.catalog().policy.menu_order == ()
    await post(site, "/menus", {**form, "order": "rescue debian"})
    policy = hall.catalog().policy
    assert (policy.menu_order, policy.menu_default, policy.menu_timeout) == (
        ("rescue", "debian"),
        "rescue",
        7,
    )
    page = await site.get("/menus")
    assert '<span class="preset">Rescue</span>' in page and "after 7 seconds" in page
    stale = await post(site, "/menus", {**form, "seconds": "9"}, 409)
    assert "Somebody else has changed it" in stale and 'value="9"' in stale


async def test_menus_have_versions(site, hall):
    await menus(hall)
    form = {"order": "rescue debian", "default": "rescue", "seconds": "7"}
    await post(site, "/menus", form)
    await post(site, "/menus", {**form, "seconds": "30"})
    page = await site.get("/menus/versions?old=1&new=2")
    assert "+default: rescue" in page and "-seconds: 30" in page
    await post(site, "/menus/rollback", {"version": "2"})
    assert hall.catalog().policy.menu_timeout == 7
    await post(site, "/menus/rollback", {"version": "1"})
    assert (hall.catalog().policy.menu_default, hall.catalog().policy.menu_order) == ("local", ())


async def test_the_default_of_a_menu_is_in_it(site, hall):
    await menus(hall)
    page = await post(site, "/menus", {"order": "", "default": "disk", "seconds": "7"}, 422)
    assert "profile disk is in no menu" in page
    page = await post(site, "/menus/preview", {"default": "local", "seconds": "x"}, 200, **HX)
    assert "seconds" in page and 'class="screen"' not in page


# --------------------------------------------------------------------------------- images and loaders


def sent(site, name="vmlinuz", role="kernel", data=b"kernel"):
    """A file that was sent and waits."""
    uploads = site.rooms.store.uploads
    one = uploads.begin(name, role, len(data), "test").id
    uploads.append(one, 0, [data])
    return uploads.finish(one)


async def test_images_say_what_is_in_them_and_who_boots_them(site, hall):
    page = await site.get("/images")
    assert 'href="/profiles/debian"' in page and "vmlinuz" in page
    assert "1" * 64 in await site.get("/images/debian")
    assert "profile debian" in await post(site, "/images/debian/remove", {}, 409)


async def test_an_image_is_made_of_files_that_wait(site, hall):
    kernel, ram = sent(site), sent(site, "initrd.img", "file", b"ram")
    half = site.rooms.store.uploads.begin("half", "file", 9, "test")
    assert "3 files wait" in await site.get("/images")
    page = await site.get("/images/-/add")
    assert f'value="{kernel.id}" checked' in page and "choose the file again" in page
    assert "Mark the files" in await post(site, "/images/-/add", {"name": "live"}, 422)
    form = {"name": "live", "file": [kernel.id, ram.id, half.id], f"role.{ram.id}": "initrd"}
    assert await post(site, "/images/-/add", form) == "/images/live"
    made = hall.catalog().images["live"]
    assert [(f.name, f.role) for f in made.files] == [("vmlinuz", "kernel"), ("initrd.img", "initrd")]
    assert [u.id for u in site.rooms.store.uploads.all()] == [half.id]
    await post(site, f"/images/-/files/{half.id}/remove", {})
    assert "No file is here yet" in await site.get("/images/-/files")
    await post(site, "/images/live/remove", {})
    assert "live" not in hall.catalog().images


async def test_a_fetch_that_fails_says_so_beside_its_field(site, hall):
    page = await post(site, "/images/-/fetch", {"url": "ftp://x/y", "role": "kernel"}, 422)
    assert 'aria-describedby="h-url"' in page
    fields = {"url": "http://127.0.0.1:9/vmlinuz", "role": "kernel", "sha256": "0" * 64}
    assert "127.0.0.1" in await post(site, "/images/-/fetch", fields, 422)


async def test_a_loader_of_ones_own_is_used_and_given_up(site, hall):
    assert "No loader yet" in await site.get("/loaders")
    file = sent(site, "own.efi", "loader", b"own")
    page = await site.get("/loaders")
    assert "own.efi" in page and "own.efi" not in await site.get("/images/-/add")
    assert "Send the file first" in await post(site, "/loaders", {"arch": "7"}, 422)
    assert "is no architecture" in await post(site, "/loaders", {"arch": "99", "file": file.id}, 422)
    await post(site, "/loaders", {"arch": "7", "file": file.id, "version": "2.0"})
    assert hall.catalog().loaders[7].file.sha256 == file.sha256
    assert "your own" in await site.get("/loaders")
    await post(site, "/loaders/7/remove", {})
    assert hall.catalog().loaders == {}


async def test_every_page_is_in_german_as_well(site, hall):
    for path in ("/profiles", "/profiles/debian", "/groups/rack-1", "/menus", "/images/-/add", "/loaders"):
        assert 'lang="de"' in await site.get(path, **{"Accept-Language": "de"})
