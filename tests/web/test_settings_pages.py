"""Events, audit and settings in a browser: accessible, narrow and wide, light and dark; forms and files."""

import pytest
from playwright.sync_api import expect

from pxeserver.boot.model import EventKind

LISTS = ("/events", "/audit", "/audit?table=nodes&record=n0001")
SETTINGS = (
    "/settings", "/settings/networks?network=10.9.0.0/24", "/settings/limits", "/settings/users",
    "/settings/users/demo", "/settings/tokens", "/settings/certificate", "/settings/backup",
    "/settings/notifications", "/settings/notifications/ops", "/settings/users/demo/remove",
)  # fmt: skip
MODES = pytest.mark.parametrize(("dark", "width"), [(False, 1440), (True, 360)])


def looked_at(page, paths, width):
    """Each page: axe finds nothing, and nothing reaches beyond the screen."""
    for path in paths:
        page.go(path)
        name = path.partition("?")[0].strip("/").replace("/", "-")
        page.picture(f"{name}-{width}", whole=True)
        page.accessible()
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path


def told(page, url="http://127.0.0.1:1/t0ken"):
    """Somebody is told of alarms, through the form."""
    page.go("/settings/notifications")
    page.fill("#f-name", "ops")
    page.fill("#f-url", url)
    page.check("input[value=disk-full]")
    page.click("form.card button.primary")
    page.wait_for_selector(".secret")


@MODES
def test_lists_are_accessible_and_fit(site, open_page, dark, width):
    site.add_nodes(8)
    site.boot(number=1)
    silent = {"reason": "policy-ignore", "vendor": "Dell <b>"}
    site.tell(EventKind.IGNORED, "u1", "52:54:99:00:00:01", None, **silent)
    site.do(site.hall.settled)
    looked_at(open_page(width=width, dark=dark), LISTS, width)


@MODES
def test_settings_are_accessible_and_fit(site, open_page, dark, width):
    site.add_nodes(2)
    page = open_page(width=width, dark=dark)
    page.go("/settings/networks")
    page.fill("#f-network", "10.9.0.0/24")
    page.select_option("#f-dhcp", "full")
    page.fill("#f-pools", "10.9.0.100-10.9.0.199")
    page.click("#edit button.primary")
    page.wait_for_selector("tbody >> text=10.9.0.0/24")
    told(page)
    page.go("/settings/backup")
    page.click("text=Make a backup now")
    page.wait_for_selector("tbody")
    looked_at(page, SETTINGS, width)


@pytest.mark.parametrize("scripts", [True, False])
def test_a_backup_is_brought_and_a_torn_one_is_refused(site, open_page, tmp_path, scripts):
    page = open_page(scripts=scripts)
    page.go("/settings/backup")
    page.click("text=Make a backup now")
    page.wait_for_selector("tbody")
    with page.expect_download() as download:
        page.click("text=Download")
    good = tmp_path / "good.sqlite3"
    download.value.save_as(good)
    (tmp_path / "torn.sqlite3").write_bytes(good.read_bytes()[:5000])
    page.set_input_files("#f-file", tmp_path / "torn.sqlite3")
    page.click("main button:has-text('Upload')")
    page.wait_for_selector("main >> text=the backup is refused")
    page.go("/settings/backup")
    page.set_input_files("#f-file", good)
    page.click("main button:has-text('Upload')")
    page.wait_for_selector("tbody >> text=uploaded-")
    page.click("tr:has-text('uploaded-') >> text=Restore …")
    page.click("button.danger")
    page.wait_for_selector(".flash >> text=Restored")


def test_the_address_of_a_target_is_nowhere_on_a_page(site, page):
    told(page)
    secret = page.inner_text(".secret")
    page.click("text=Test >> nth=0")
    page.wait_for_selector(".flash.fail")
    for path in ("/settings/notifications", "/settings/notifications/ops", "/audit"):
        page.go(path)
        assert "t0ken" not in page.content() and secret not in page.content()


def test_events_are_filtered_as_one_types_and_taken_along(site, page):
    site.add_nodes(3)
    for number in (1, 2, 3):
        site.boot(number=number)
    site.do(site.hall.settled)
    page.go("/events")
    page.select_option("#f-kind", "installed")
    page.wait_for_url("**/events?kind=installed")
    expect(page.locator("#events tbody tr")).to_have_count(3)
    page.fill("#f-node", "n0002")
    expect(page.locator("#events tbody tr")).to_have_count(1)
    expect(page.locator(".htmx-request, .htmx-settling, .htmx-swapping")).to_have_count(0)
    with page.expect_download() as download:
        page.click("#list >> text=CSV")
    lines = download.value.path().read_text().splitlines()
    assert len(lines) == 2 and ",n0002," in lines[1]
