"""Clusters in a browser: one is made and watched until it stands; drift, acts, stacks; narrow screens."""

import pytest

PATHS = (
    "/clusters",
    "/clusters/new",
    "/clusters/lab",
    "/clusters/lab/file",
    "/clusters/lab/steps/n1/network",
    "/clusters/lab/stacks",
    "/clusters/lab/stacks/shop",
    "/clusters/lab/deploy",
)
SHOP = "services:\n  web:\n    image: shop:1\n"
TEXT = """\
name = "lab"

[members]
nodes = ["n1", "n2", "n3"]
managers = 3

[[switch]]
name = "switch-1"
uplink = true

[[vnet]]
name = "web"
vlan = 10
subnet = "10.10.0.0/24"
gateway = "10.10.0.1"

[storage]
replicas = 3

[[address]]
name = "front"
address = "10.77.0.100/16"

[[stack]]
name = "shop"
file = "shop.yml"
"""
PATIENCE = 60_000


def apply(site, text=TEXT, ready=True):
    """A cluster of n1 to n3 that stands."""
    site.join("n1", "n2", "n3", "n4")

    async def do():
        orders = site.fleet.orders
        await orders.apply(await orders.plan_file(text, {"shop.yml": SHOP}), "test")
        if ready:
            await site.fleet.until(site.fleet.ready, 50)

    site.do(do)


@pytest.mark.parametrize(("dark", "width"), [(False, 1440), (True, 360)])
def test_pages_of_clusters_are_accessible_and_fit(site, open_page, dark, width):
    page = open_page(width=width, dark=dark)
    page.go("/clusters")
    assert "No cluster yet" in page.inner_text("main")
    page.accessible()
    apply(site)
    for path in PATHS:
        page.go(path)
        page.accessible()
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path
    page.go("/clusters/lab")
    for act in ("drain", "destroy"):
        page.click(f"button[value={act}]")
        page.accessible()
        assert page.evaluate("document.documentElement.scrollWidth") <= width, act
        page.go_back()


@pytest.mark.parametrize("scripts", [True, False])
def test_a_cluster_is_made_in_the_browser_and_watched_until_it_stands(site, open_page, scripts):
    site.join("n1", "n2", "n3", pause=0.15, work=False)
    page = open_page(scripts=scripts)
    page.go("/clusters")
    page.click("main a.primary")
    page.fill("[name='vnet.0.vlan']", "5000")
    page.click("#describe .primary")
    assert "more than 4093" in page.inner_text(".field:has([name='vnet.0.vlan']) .error")
    page.fill("[name='vnet.0.vlan']", "12")
    page.click("#describe .primary")
    page.wait_for_selector("h1:has-text('Plan for lab')")
    assert "a new Swarm at" in page.inner_text("main")
    page.click("main .bulk .primary")
    page.wait_for_url("**/clusters/lab")
    assert page.get_attribute("[data-step='n1/identity']", "data-status") in ("waiting", "running")

    async def go():
        site.fleet.work()

    page.evaluate("window.here = true") if scripts else None
    site.do(go)
    if scripts:
        page.wait_for_selector("[data-step='n2/network'][data-status='done']", timeout=PATIENCE)
        page.wait_for_selector("#standing:has-text('ready')", timeout=PATIENCE)
        assert page.evaluate("window.here"), "the page was loaded anew"
        assert any(url.endswith("/clusters/lab/stream") for url in page.requests)
    else:
        site.do(lambda: site.fleet.until(site.fleet.ready, 50))
        page.go("/clusters/lab")
    assert page.locator("[data-status='done']").count() == page.locator("[data-status]").count() > 20


def test_the_drawing_follows_the_form(site, page):
    site.join("n1", "n2", "n3", work=False)
    page.go("/clusters/new")
    assert page.locator("#preview svg text:has-text('web · VLAN 10')").count() == 1
    page.fill("[name='vnet.0.name']", "office")
    page.wait_for_selector("#preview svg text:has-text('office · VLAN 10')", timeout=PATIENCE)
    page.click("button[value=vnet]")
    page.fill("[name='vnet.1.name']", "data")
    page.fill("[name='vnet.1.vlan']", "10")
    page.wait_for_selector("#preview .faults:has-text('VLAN on switch-1 already')", timeout=PATIENCE)


def test_drift_is_mended_and_a_member_drained(site, page):
    from pxeserver.postinstall.polls import Drifted

    apply(site)
    page.go("/clusters/lab")
    site.fleet.agents["n2"].drift = (Drifted("docker", "daemon.json", "{}", "<i>"),)
    page.wait_for_selector("#standing:has-text('drifted')", timeout=PATIENCE)
    page.wait_for_selector(".drifts:has-text('<i>')")
    page.click("button[value=mend]")
    page.click("main .bulk .primary")
    page.wait_for_selector("#standing:has-text('ready')", timeout=PATIENCE)
    page.click("button[value=drain]")
    page.check("input[value=n3]")
    page.click("main form .primary")
    page.click("main .bulk .primary")
    page.wait_for_selector(".member:has-text('n3') .badge:has-text('drained')", timeout=PATIENCE)


def test_a_stack_is_deployed_changed_and_rolled_back(site, page):
    apply(site)
    page.go("/clusters/lab/stacks")
    page.click(".button:has-text('Change')")
    page.fill("[name=file]", SHOP.replace("shop:1", "shop:2"))
    page.click("main form .primary")
    page.click("main .bulk .primary")
    page.wait_for_url("**/clusters/lab/stacks")
    page.click("th a:has-text('shop')")
    assert "shop:2" in page.inner_text("section:has-text('What is deployed') pre >> nth=-1")
    assert "web\t3" in page.inner_text("section:has-text('Tasks that run') tbody")
    page.click("button[name=version][value='1']")
    page.click("main .bulk .primary")
    page.wait_for_url("**/clusters/lab/stacks/shop")
    assert page.inner_text("tbody tr.current th").startswith("3")
