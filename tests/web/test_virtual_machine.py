"""A virtual machine boots before the eyes of whoever looks: its bar and its timeline move by themselves, and
it is approved. The long test sees `make demo` as a person does.
"""

import os
import re
import shutil
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from pxeserver.lab.doorway import Doorway
from pxeserver.lab.firmware import Firmware
from pxeserver.lab.playground import Playground

pytestmark = [pytest.mark.firmware, pytest.mark.timeout(600)]

READY = Path(__file__).parents[2] / ".cache" / "firmware" / "loaders"
"""Loaders and the discovery system, as the tests with firmware have made them."""
ONLINE = 300_000
"""Milliseconds from power-on to the inventory on a busy machine; 25,000 on a quiet one."""
WATCH = """() => {
  window.same = true;
  window.seen = [];
  const note = () => {
    const line = document.querySelector('#others .boot, #stuck .boot');
    if (!line) return;
    const width = Number(line.querySelector('.fill').getAttribute('width'));
    const now = [line.querySelector('.label').textContent, width];
    const last = window.seen.at(-1);
    if (!last || last[0] !== now[0] || last[1] !== now[1]) window.seen.push(now);
  };
  new MutationObserver(note).observe(document.querySelector('main'),
    {subtree: true, childList: true, attributes: true, characterData: true});
}"""


@pytest.fixture
def ground(tmp_path):
    """A private network with a server that has everything already, where unknown machines are discovered."""
    state = tmp_path / "state"
    if READY.exists():
        shutil.copytree(READY, state / "loaders")
    with Playground(state=state, say=lambda _: None) as made:
        made.wait_ready(120)
        yield made


def test_a_virtual_machine_boots_and_is_approved(ground, page_of):
    machine = ground.add(Firmware.BIOS_VIRTIO)
    with closing(Doorway(ground.lab.boot)) as doorway:
        page = page_of(f"http://localhost:{doorway.port}")
        page.go(doorway.link.removeprefix(page.home))
        page.wait_for_selector("#standing.ok")
        page.evaluate(WATCH)
        machine.power_on()
        page.wait_for_selector(f"#others .boot.ok:has-text('{machine.spec.mac}')", timeout=ONLINE)
        seen = page.evaluate("window.seen")
        labels, widths = [label for label, _ in seen], [width for _, width in seen]
        assert len(dict.fromkeys(labels)) >= 4, labels
        assert widths == sorted(widths) and widths[-1] > widths[0] + 400, widths
        assert page.evaluate("window.same"), "without a reload"

        page.go("/nodes?unknown=1")
        row = page.locator(f"table.machines tbody tr:has-text('{machine.spec.mac}')")
        assert "Lab" in row.inner_text()
        row.locator("input[name=name]").fill("first")
        page.keyboard.press("Enter")
        page.wait_for_url("**/nodes/first")
        assert "approved" in page.inner_text(".flash")
        page.evaluate("window.same = true")
        history = page.locator("#live table").last.locator("tbody tr").count()
        machine.command("system_reset")
        page.wait_for_function(
            "(boots) => [...document.querySelectorAll('#live table')].at(-1).tBodies[0].rows.length > boots"
            " && document.querySelectorAll('#live .lanes .lane').length >= 3",
            arg=history,
            timeout=ONLINE,
        )
        assert page.evaluate("window.same"), "without a reload"


@pytest.mark.long
def test_the_demo_opens_the_web_admin_logged_in(page_of):
    words = [sys.executable, "-m", "pxeserver.lab", "demo", "--seconds", "500"]
    environment = {**os.environ, "COLUMNS": "160", "NO_COLOR": "1", "PYTHONUNBUFFERED": "1"}
    pipe = subprocess.PIPE
    with subprocess.Popen(words, stdin=pipe, stdout=pipe, text=True, env=environment) as process:
        try:
            link, end = "", time.monotonic() + 200
            while not link and time.monotonic() < end and (line := process.stdout.readline()):
                link = "".join(re.findall(r"http://localhost:\d+/demo/\S+", line))
            assert link, "the demo printed no link"
            home = link.partition("/demo/")[0]
            page = page_of(home)
            page.go(link.removeprefix(home))
            assert page.url == f"{home}/boots"
            assert "demo" in page.inner_text("header")
            for number in (1, 2, 3):
                page.wait_for_selector(f".boot:has-text('52:54:00:77:00:0{number}')", timeout=ONLINE)
            page.wait_for_selector(".boot.ok", timeout=ONLINE)
            out = process.communicate(timeout=500)[0]
            assert "All are up in the discovery system" in out
        finally:
            process.terminate()
            process.wait(30)
