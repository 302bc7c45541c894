"""The frame of the pages in a browser: keyboard, palette, colours, narrow screens, without scripts."""

import pytest

PATHS = ("/", "/boots", "/search", "/search?q=n0", "/none")


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(("dark", "width"), [(False, 1440), (True, 1440), (False, 360), (True, 360)])
def test_pages_are_accessible_and_fit(site, open_page, path, dark, width):
    site.add_nodes(5)
    page = open_page(width=width, dark=dark)
    page.go(path)
    page.accessible()
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_slash_leads_to_the_search_and_enter_to_the_node(site, page):
    site.add_nodes(3)
    page.go("/boots")
    page.keyboard.press("/")
    page.keyboard.type(":00:02")
    page.keyboard.press("Enter")
    page.wait_for_url("**/nodes/n0002")


def test_the_palette_finds_pages_and_things(site, page):
    site.add_nodes(3)
    page.go("/")
    page.keyboard.press("Control+k")
    page.keyboard.type("live")
    page.wait_for_selector("#palette-list [aria-selected=true]:has-text('Live boots')")
    page.keyboard.press("Enter")
    page.wait_for_url("**/boots")
    page.keyboard.press("Control+k")
    page.keyboard.type("n0003")
    page.wait_for_selector("#palette-list [role=option]:has-text('n0003')")
    page.accessible()
    page.keyboard.press("Escape")
    assert not page.is_visible("#palette")


def test_the_list_of_keys_and_a_key_for_a_page(site, page):
    page.go("/")
    page.keyboard.press("?")
    assert page.is_visible("#keys")
    page.accessible()
    page.keyboard.press("Escape")
    page.keyboard.press("g")
    page.keyboard.press("b")
    page.wait_for_url("**/boots")


@pytest.mark.parametrize("scripts", [True, False])
def test_colours_and_language_are_kept(site, open_page, scripts):
    page = open_page(scripts=scripts)
    page.go("/boots")
    light = page.evaluate("getComputedStyle(document.body.parentElement).backgroundColor") if scripts else ""
    page.click("[data-theme-switch] button")
    if scripts:
        assert page.evaluate("getComputedStyle(document.body.parentElement).backgroundColor") != light
    page.go("/boots")
    assert page.get_attribute("html", "data-theme") == "dark"
    page.click("button[value=de]")
    assert page.inner_text("h1") == "Startvorgänge"


def test_on_a_narrow_screen_the_menu_opens_and_closes_without_scripts(site, open_page):
    page = open_page(width=360, scripts=False)
    page.go("/boots")
    assert not page.is_visible("nav#nav")
    page.click(".menu-button")
    assert page.is_visible("nav#nav")
    page.click("nav#nav >> text=Overview")
    assert page.inner_text("h1") == "Overview"


def test_an_answer_that_is_no_longer_wanted_is_no_fault(site, page):
    """The fixture fails on anything in the console, which is where htmx writes what is broken."""
    site.add_nodes(3)
    page.go("/nodes")
    held = []
    page.page.route("**/nodes?*", lambda route: route.continue_() if held else held.append(route))
    with page.page.expect_event("requestfailed"):
        with page.page.expect_request("**/nodes?*"):
            page.fill("#filter input[type=search]", "n0001")
        page.fill("#filter input[type=search]", "n0002")
    page.wait_for_selector("#list:has-text('n0002'):not(:has-text('n0001'))")


def test_a_server_that_is_gone_is_told(site, page):
    site.add_nodes(3)
    page.go("/nodes")
    page.page.route("**/nodes?*", lambda route: route.abort())
    page.fill("#filter input[type=search]", "n0001")
    page.wait_for_selector("#toasts p")
    assert [fault for fault in page.faults if "htmx:sendError" in fault]
    page.faults.clear()
