"""A cluster is created in the browser on three real members, and watched until it stands."""

import sys
from contextlib import closing
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "cluster"))

from living import NAME, SERVICE, Living

from pxeserver.lab.container import missing
from pxeserver.lab.doorway import Doorway

pytestmark = [pytest.mark.net, pytest.mark.timeout(600)]

STANDS = 240_000
"""Milliseconds on a busy machine; 30,000 on a quiet one."""


@pytest.fixture
def life(tmp_path):
    """Three machines that have joined, and belong to no cluster."""
    if lacks := missing():
        pytest.skip(f"no containers on this machine: it lacks {', '.join(lacks)}")
    with Living(tmp_path) as living:
        living.power_on()
        living.join(*living.nodes)
        yield living


@pytest.fixture
def doorway(life):
    """The way to its pages; open for longer than any of them."""
    with closing(Doorway(life.boot, "/clusters")) as made:
        yield made


def test_a_cluster_is_created_in_the_browser_and_stands(life, doorway, page_of):
    page = page_of(f"http://localhost:{doorway.port}")
    page.go(doorway.link.removeprefix(page.home))
    page.click("main a.primary")
    assert page.locator("input[name=member]:checked").count() == 3
    page.fill("[name='storage.size']", "1")
    page.click("button[value=address]")
    page.fill("[name='address.0.name']", "front")
    page.fill("[name='address.0.address']", f"{SERVICE}/24")
    page.click("#describe .primary")
    page.wait_for_selector(f"h1:has-text('Plan for {NAME}')")
    page.click("main .bulk .primary")
    page.wait_for_url(f"**/clusters/{NAME}")
    page.evaluate("window.here = true")
    page.wait_for_selector("[data-status='running']", timeout=STANDS)
    page.wait_for_selector("#standing:has-text('ready')", timeout=STANDS)
    page.picture("cluster-stands")
    assert page.evaluate("window.here"), "the page was loaded anew"
    steps = page.locator("[data-status]")
    assert page.locator("[data-status='done']").count() == steps.count() > 30
    rows = life["n1"].run("docker", "node", "ls", "--format", "{{.Hostname}} {{.Status}}").splitlines()
    assert sorted(rows) == ["n1 Ready", "n2 Ready", "n3 Ready"]
    life["n2"].run("sh", "-c", "echo seen > /srv/shared/from-n2", timeout=20)
    assert life["n3"].run("cat", "/srv/shared/from-n2", timeout=20).strip() == "seen"
    owners = [name for name in life.nodes if f"{SERVICE}/" in life[name].run("ip", "-br", "-4", "address")]
    assert len(owners) == 1, owners
