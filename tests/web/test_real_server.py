"""A real server in a namespace, with its own login: a machine boots before the eyes of whoever looks."""

import pytest

from pxeserver.lab.netns import need_root

pytestmark = pytest.mark.net


def test_a_machine_boots_and_is_seen_without_a_reload(server, server_page):
    need_root()
    page = server_page
    page.go("/boots")
    page.wait_for_selector("#standing.ok")
    page.evaluate("window.same = true")
    machine = server.machine()
    machine.offered()
    page.wait_for_selector(f"#others .boot:has-text('{machine.mac}')")
    assert "menu" in machine.script()
    page.wait_for_selector(".boot:has-text('Menu on its screen')")
    assert page.evaluate("window.same")
    page.go("/")
    page.wait_for_selector(".alarms :text('A machine is not known yet')")
    page.wait_for_selector(".alarms :text('well-known')")
    page.accessible()
