"""The pages of nodes in a browser: one of many found by keyboard, approval, live parts, narrow screens."""

import time

import pytest

from pxeserver.boot.model import EventKind

PATHS = (
    "/nodes",
    "/nodes?unknown=1",
    "/nodes/n0001",
    "/nodes/n0001/script",
    "/nodes/n0001/edit",
    "/nodes/-/add",
    "/nodes/-/import",
)


def strangers(site, count=3):
    """Machines that ask and are no node."""
    for k in range(count):
        who = (f"u{k:09}", f"52:54:99:00:00:{k:02x}", None)
        site.tell(EventKind.SCRIPT_SENT, *who, action="menu", arch=7, vendor="Dell", product="R650")
    end = time.monotonic() + 20
    while len(site.hall.machines()) < count:
        assert time.monotonic() < end, "they are not known"
        time.sleep(0.05)
    return [code for code, _, _ in site.hall.machines()]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(("dark", "width"), [(False, 1440), (True, 360)])
def test_pages_of_nodes_are_accessible_and_fit(site, open_page, path, dark, width):
    site.add_nodes(8)
    site.boot(number=1)
    strangers(site)
    page = open_page(width=width, dark=dark)
    page.go(path)
    page.accessible()
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.long
def test_one_of_ten_thousand_is_found_by_keyboard(site, page):
    site.add_nodes(10_000)
    page.go("/")
    page.keyboard.press("g")
    page.keyboard.press("n")
    page.wait_for_url("**/nodes")
    page.focus("#f-q")
    page.keyboard.type("n7421")
    page.wait_for_selector("tbody a:has-text('n7421')")
    page.wait_for_url("**/nodes?q=n7421")
    page.wait_for_function("document.querySelectorAll('table.nodes tbody tr').length === 1")
    page.wait_for_function("!document.querySelector('.htmx-request, .htmx-settling, .htmx-swapping')")
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("j")
    page.keyboard.press("x")
    assert page.inner_text("[data-marks-count]") == "1"
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_url("**/nodes/n7421")


def test_a_machine_is_approved_by_its_code(site, page):
    site.add_nodes(1)
    codes = strangers(site)
    page.go("/nodes?unknown=1")
    page.fill("#f-code", codes[0])
    page.fill("#f-name", "web")
    page.keyboard.press("Enter")
    page.wait_for_url("**/nodes/web")
    assert "approved" in page.inner_text(".flash")
    page.click(".flash button")
    page.wait_for_url("**/nodes?unknown=1")
    assert site.hall.node("web") is None


def test_the_name_typed_in_a_row_is_that_rows(site, page):
    site.add_nodes(1)
    codes = strangers(site)
    page.go("/nodes?unknown=1")
    row = page.locator("table.machines tbody tr").nth(1)
    code = row.locator("th").inner_text()
    row.locator("input[name=name]").fill("second")
    page.keyboard.press("Enter")
    page.wait_for_url("**/nodes/second")
    assert code in codes
    assert code not in [known for known, _, _ in site.hall.machines()]


def test_a_nodes_page_moves_while_it_boots(site, page):
    site.add_nodes(1)
    page.go("/nodes/n0001")
    assert page.is_visible("text=It has not booted yet")
    page.wait_for_timeout(300)  # the stream opens
    site.boot(4, number=1)
    page.wait_for_selector(".lanes >> text=Boot loader", timeout=15_000)


@pytest.mark.parametrize("scripts", [True, False])
def test_marked_nodes_are_held_and_released_by_undo(site, open_page, scripts):
    site.add_nodes(4)
    page = open_page(scripts=scripts)
    page.go("/nodes")
    page.check("input[value=n0002]")
    page.click("button[value=hold]")
    page.fill("#f-reason", "fan")
    page.click("main form button.primary")
    page.wait_for_url("**/nodes")
    assert site.hall.node("n0002").hold == "fan"
    page.click(".flash button")
    page.wait_for_url("**/nodes")
    assert site.hall.node("n0002").hold == ""
