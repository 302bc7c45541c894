"""Live boots and the overview in a browser: what happens shows without a reload, also with 1,000 machines."""

import pytest

from pxeserver.boot.model import EventKind

PATHS = ("/", "/boots", "/boots?wall=1")


def width_of(page, attempt):
    return int(page.get_attribute(f"[data-id={attempt}] .fill", "width"))


def test_a_machine_appears_moves_stops_and_arrives_without_a_reload(site, page):
    site.add_nodes(2)
    page.go("/boots")
    page.wait_for_selector("#standing.ok")
    assert page.is_visible("#nothing")
    page.evaluate("window.same = true")
    who = site.boot(steps=3, number=1)
    line = f"[data-id={who[0]}]"
    page.wait_for_selector(f"#others {line} .label:text('Loader')")
    assert not page.is_visible("#nothing")
    assert page.inner_text(f"{line} .who") == "n0001"
    before = width_of(page, who[0])
    site.tell(EventKind.SCRIPT_SENT, *who, action="kernel")
    site.tell(EventKind.FILE_STARTED, *who, file="initrd.img", total=1000)
    site.tell(EventKind.FILE_PROGRESS, *who, file="initrd.img", bytes=250, total=1000)
    page.wait_for_selector(f"{line} .amount:has-text('25 %')")
    assert width_of(page, who[0]) > before
    site.tell(EventKind.INSTALL_FAILED, *who, reason="no space left on the disk")
    page.wait_for_selector(f"#stuck {line} .why:has-text('no space left on the disk')")
    assert "pxeserver node install" in page.inner_text(f"#stuck {line} .step")
    site.tell(EventKind.BOOTED, *who)
    page.wait_for_selector(f"#others {line}.ok")
    assert not page.is_visible("#stuck-part")
    assert page.evaluate("window.same")


def test_the_stream_is_taken_up_again_where_it_broke_off(site, page):
    page.go("/boots")
    page.wait_for_selector("#standing.ok")
    site.boot(steps=2)
    page.wait_for_selector("#others .boot")
    with page.expect_request("**/boots/stream*") as again:
        site.cut()
        site.boot(steps=4)
    page.wait_for_selector("#others .boot >> nth=1")
    page.wait_for_selector("#standing.ok")
    assert again.value.all_headers()["last-event-id"].isdigit()


def test_a_thousand_machines_are_drawn_smoothly(site, page):
    site.add_nodes(10)
    machines = [site.boot(steps=1 + number % 5, number=number) for number in range(1, 1001)]
    page.go("/boots")
    page.wait_for_selector("#more:has-text('760')")
    assert page.locator(".boots .boot").count() == 240
    page.evaluate("performance.clearMeasures()")
    for part in (1, 2, 3):
        for who in machines:
            site.tell(EventKind.FILE_PROGRESS, *who, file="initrd.img", bytes=part * 100, total=1000)
        page.wait_for_selector(f".boots .boot .amount:has-text('{part}0 %') >> nth=239")
    spent = page.evaluate("performance.getEntriesByName('boots').map((e) => e.duration)")
    assert spent, "nothing was drawn anew"
    # Scripts of one frame; a busy machine stretches them, so this is far above the usual few milliseconds.
    assert sorted(spent)[len(spent) // 2] < 100
    assert page.locator(".boots .boot").count() == 240


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    ("dark", "width", "locale"), [(False, 1440, "en"), (True, 1440, "de"), (True, 360, "en")]
)
def test_live_pages_are_accessible_and_fit(site, open_page, path, dark, width, locale):
    site.add_nodes(30)
    for number in range(1, 20):
        who = site.boot(steps=number, number=number)
        if number % 6 == 0:
            site.tell(EventKind.INSTALL_FAILED, *who, reason="no space left on the disk")
    page = open_page(width=width, dark=dark, locale=locale)
    page.go(path)
    page.wait_for_selector(".boots .boot, .charts canvas")
    page.accessible()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    name = path.strip("/").replace("?", "-") or "overview"
    page.picture(f"{name}-{width}-{'dark' if dark else 'light'}")


@pytest.mark.parametrize("path", PATHS)
def test_live_pages_can_be_read_without_scripts(site, open_page, path):
    site.add_nodes(8)
    who = site.boot(steps=9, number=3)
    site.tell(EventKind.INSTALL_FAILED, *who, reason="no space left on the disk")
    page = open_page(scripts=False)
    page.go(path)
    assert "no space left on the disk" in page.inner_text("main")


def test_the_overview_follows_what_happens(site, page):
    site.add_nodes(8)
    page.go("/")
    page.wait_for_selector(".charts canvas")
    assert page.locator(".charts canvas").count() == 4
    who = site.boot(steps=9, number=3)
    site.tell(EventKind.INSTALL_FAILED, *who, reason="no space left on the disk")
    page.wait_for_selector(".alarms li:has-text('n0003 is stuck')")
    page.click("[data-theme-switch] button")
    page.wait_for_selector(".charts canvas")


def test_a_diagnosis_is_told_in_the_pages_language(site, open_page):
    german = open_page(locale="de")
    german.go("/boots")
    german.wait_for_selector("#standing.ok")
    who = site.boot(steps=8)
    site.tell(EventKind.FILE_FAILED, *who, file="vmlinuz", trigger="not-loaded", reason="reset {file}")
    german.wait_for_selector("#stuck .why:has-text('Der Bootlader konnte vmlinuz nicht laden')")
    assert "reset {file}. Wahrscheinlich" in german.inner_text("#stuck .why")
    german.go("/boots")
    assert "Der Bootlader konnte vmlinuz nicht laden" in german.inner_text("#stuck .why")
    german.go("/")
    assert "Wahrscheinlich" in german.inner_text(".alarms")
