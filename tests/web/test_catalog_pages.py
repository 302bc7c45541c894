"""Profiles, groups, menus, images, loaders in a browser: previews that follow, uploads that survive cuts."""

import base64
import hashlib
import re
import threading
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from pxeserver.boot.model import Group, Image, Profile, ProfileKind, SelectorKind
from pxeserver.imagestore.download import Limits

PATHS = (
    "/profiles",
    "/profiles/debian",
    "/profiles/debian/versions",
    "/profiles/-/add",
    "/groups",
    "/groups/rack",
    "/menus",
    "/images",
    "/images/live",
    "/images/-/add",
    "/loaders",
)
PART = 64 << 10
"""Bytes of a part in these tests."""
BYTES = bytes(k * 7 % 251 for k in range(1_000_003))
SUM = hashlib.sha256(BYTES).hexdigest()


def filled(site):
    """Something of everything."""
    site.add_nodes(8)

    async def put():
        files = tuple(
            site.store.add_bytes(n.encode(), n, r) for n, r in (("vmlinuz", "kernel"), ("ram", "initrd"))
        )
        async with site.hall.edit("web:anna") as edit:
            await edit.put_image(Image("live", files, "Debian live"))
            await edit.put_profile(
                Profile("debian", ProfileKind.KERNEL, "live", args="quiet", title="Debian")
            )
            await edit.put_profile(Profile("rescue", ProfileKind.CHAIN, url="http://192.0.2.9/boot.ipxe"))
            await edit.put_group(Group("rack", SelectorKind.MAC_PREFIX, "52:54:00", {"console": "ttyS0"}))
        async with site.hall.edit("web:bert") as edit:
            await edit.put_profile(
                Profile("debian", ProfileKind.KERNEL, "live", args="quiet splash", title="Debian")
            )

    site.do(put)
    site.store.uploads.begin("half.img", "disk", 4_000_000, "web:anna")
    site.store.uploads.append(site.store.uploads.all()[0].id, 0, [b"x" * 1_500_000])


@pytest.mark.parametrize(("dark", "width"), [(False, 1440), (True, 360)])
def test_catalog_pages_are_accessible_and_fit(site, open_page, dark, width):
    filled(site)
    page = open_page(width=width, dark=dark)
    for path in PATHS:
        page.go(path)
        page.picture(f"catalog{path.replace('/', '-')}-{width}", whole=True)
        page.accessible()
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path


def test_the_preview_follows_what_is_typed(site, page):
    filled(site)
    page.go("/profiles/debian")
    assert page.is_visible("text=The script is the same as the saved one")
    page.fill("#f-args", "quiet nomodeset")
    page.wait_for_selector(".diff .add >> text=nomodeset")
    page.fill("#f-node", "n0002")
    page.wait_for_selector("#preview >> text=node n0002")
    page.select_option("#f-kind", "script")
    assert page.is_visible("#f-script") and not page.is_visible("#f-args")
    page.select_option("#f-kind", "kernel")
    page.click("#form button.primary")
    page.wait_for_selector(".flash")
    assert site.hall.catalog().profiles["debian"].args == "quiet nomodeset"


@pytest.mark.parametrize("scripts", [True, False])
def test_the_second_editor_is_told(site, open_page, scripts):
    filled(site)
    one, two = open_page(scripts=scripts), open_page(scripts=scripts)
    for page, args in ((one, "first"), (two, "second")):
        page.go("/profiles/debian")
        page.fill("#f-args", args)
    one.click("#form button.primary")
    one.wait_for_selector(".flash")
    two.click("#form button.primary")
    two.wait_for_selector("text=Somebody else has changed it")
    assert two.input_value("#f-args") == "second"
    two.click("#form button.primary")
    two.wait_for_selector(".flash")
    assert site.hall.catalog().profiles["debian"].args == "second"


def test_a_menu_is_put_in_order(site, page):
    filled(site)
    page.go("/menus")
    page.click("[aria-label='rescue: further up']")
    page.wait_for_function("document.querySelector('[name=order]').value === 'rescue debian'")
    page.check("[aria-label='rescue starts by itself']")
    page.wait_for_selector(".screen .preset:has-text('rescue')")
    page.click("#form button.primary")
    page.wait_for_selector(".flash")
    assert site.hall.catalog().policy.menu_order == ("rescue", "debian")


# ------------------------------------------------------------------------------------------- uploads


def slow_parts(page, begin, stop):
    """Let `stop` parts from `begin` on fail, as with a cut cable; the offsets that were asked for."""
    offsets, failed = [], []

    def part(route):
        offsets.append(int(re.search(r"offset=(\d+)", route.request.url)[1]))
        if offsets[-1] >= begin and len(failed) < stop:
            failed.append(offsets[-1])
            route.abort("connectionreset")
        else:
            route.continue_()

    page.route("**/api/v1/uploads/*?offset=*", part)
    return offsets


def choose(page, name="vmlinuz", data=BYTES, checksum=SUM, when=1):
    """Choose a file in parts of a small size; `when` is its time of change."""
    page.evaluate("size => document.getElementById('send').dataset.part = size", PART)
    page.fill("#f-send-sum", checksum)
    page.evaluate(
        """([name, text, when]) => {
            const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
            const chosen = new DataTransfer();
            chosen.items.add(new File([bytes], name, { lastModified: when }));
            const field = document.getElementById("f-send");
            field.files = chosen.files;
            field.dispatchEvent(new Event("change"));
        }""",
        [name, base64.b64encode(data).decode(), when],
    )


def test_an_upload_goes_on_after_a_cut_and_becomes_an_image(site, page):
    page.go("/images/-/add")
    offsets = slow_parts(page, 5 * PART, 2)
    choose(page)
    page.wait_for_selector("text=The connection is cut")
    page.wait_for_selector(f"#files code[title='{SUM}']")
    assert offsets.count(0) == 1, "it began anew"
    assert offsets.count(5 * PART) == 3
    page.fill("#f-name", "fresh")
    page.click("text=Make the image")
    page.wait_for_url("**/images/fresh")
    file = site.hall.catalog().images["fresh"].files[0]
    assert (file.sha256, file.size, file.role) == (SUM, len(BYTES), "kernel")


def test_an_upload_goes_on_after_the_connection_breaks_and_the_page_is_loaded_anew(site, page):
    page.go("/images/-/add")
    slow_parts(page, 5 * PART, 1000)
    choose(page)
    page.wait_for_selector("text=The connection is cut")
    site.cut()
    page.unroute("**/api/v1/uploads/*?offset=*")
    page.go("/images/-/add")
    assert "choose the file again" in page.inner_text("#files")
    offsets = slow_parts(page, 0, 0)
    choose(page)
    page.wait_for_selector(f"#files code[title='{SUM}']")
    assert offsets[0] == 5 * PART
    assert len(site.store.uploads.all()) == 1


def test_a_wrong_checksum_is_said_and_nothing_is_left(site, page):
    page.go("/images/-/add")
    choose(page, checksum="0" * 64)
    page.wait_for_selector("#ways >> text=expected 000000")
    assert site.store.uploads.all() == []
    assert list(site.store.blobs) == []
    page.wait_for_selector("#files >> text=No file is here yet")


class Shop(BaseHTTPRequestHandler):
    """Serves one file."""

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", str(len(BYTES)))
        self.end_headers()
        self.wfile.write(BYTES)

    def log_message(self, *words):
        """Nothing is told."""


def test_the_server_fetches_a_file(site, page, monkeypatch):
    monkeypatch.setattr(site.store, "add_url", partial(site.store.add_url, limits=Limits(allow_local=True)))
    with ThreadingHTTPServer(("127.0.0.1", 0), Shop) as shop:
        threading.Thread(target=shop.serve_forever, daemon=True).start()
        page.go("/images/-/add")
        page.fill("#f-url", f"http://127.0.0.1:{shop.server_port}/pool/initrd.img?x=1")
        page.select_option("#f-role", "initrd")
        page.click("#fetch button")
        page.wait_for_selector(f"#files code[title='{SUM}']")
        page.fill("#f-url", f"http://127.0.0.1:{shop.server_port}/vmlinuz")
        page.fill("#f-sha256", "0" * 64)
        page.click("#fetch button")
        page.wait_for_selector("#fetched >> text=expected 000000")
        shop.shutdown()
    assert [(u.name, u.role, u.done) for u in site.store.uploads.all()] == [("initrd.img", "initrd", True)]
