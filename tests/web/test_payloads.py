"""What came from a network is harmless on pages, in the API, on terminals and in the log: 64 texts that some
reader would obey, by ten ways in, through a real server, before a real browser.

1 DHCP host name; 2 vendor class; 3 user class; 4 vendor, product and serial number in iPXE's query; 5 the
inventory's fields; 6 a report's reason; 7 TFTP file names and the text of a client's ERROR; 8 HTTP paths and
User-Agent; 9 names and labels of nodes in an import; 10 names of images and files, and what people type into
searches and addresses.
"""

import json
import re
import time
from urllib.parse import quote

import pytest
from hostile import boots, says_everything
from payloads import MARK, OBEYED, PAYLOADS
from server_under_test import eventually

pytestmark = pytest.mark.net

MADE = """() => {
  const led = /^(href|src|action|formaction|data|hx-(get|post|put|patch|delete|push-url))$/i;
  const elsewhere = (value) => {
    try { return new URL(value, location).origin !== location.origin && !value.startsWith('data:image/'); }
    catch { return true; }
  };
  const made = (e) => [...e.attributes].some((a) => /^on/i.test(a.name) || /^hx-on/i.test(a.name)
      || (led.test(a.name) && elsewhere(a.value)))
    || (e.tagName === 'SCRIPT' && !e.src) || (e.tagName === 'STYLE')
    || /evil/.test(e.getAttribute('style'))
    || ['IFRAME', 'OBJECT', 'EMBED', 'BASE', 'MATH'].includes(e.tagName.toUpperCase());
  return {
    elements: [...document.querySelectorAll('*')].filter(made).map((e) => e.outerHTML.slice(0, 200)),
    text: document.documentElement.innerText,
    polluted: ({}).x !== undefined,
  };
}"""


def marks(text):
    """The numbers of the texts that are to be seen in this one."""
    return {int(number) for number in re.findall(rf"{MARK}(\d\d)", text)}


def look(page, path):
    """Open a page; nothing on it was made by a text. Returns what is to be read there."""
    page.go(path)
    return seen(page, path)


def seen(page, where):
    found = page.evaluate(MADE)
    assert found["elements"] == [], (where, found["elements"])
    assert not found["polluted"], where
    assert not OBEYED & set(found["text"]), (where, sorted(map(ascii, OBEYED & set(found["text"]))))
    return found["text"]


@pytest.fixture
def said(server):
    """64 machines that say one text each, and one that says all of them; the attempts."""
    attempts = [boots(server, server.machine(0x20 + number), text) for number, text in enumerate(PAYLOADS)]
    loud = server.machine(0x10)
    attempts.append(boots(server, loud, PAYLOADS[0]))
    answers = says_everything(server, loud, attempts[-1])
    assert set(answers) <= {200, 204, 400, 404, 405, 413, 414}, set(answers)
    return attempts


@pytest.mark.timeout(240)
def test_hostile_texts_are_only_texts(server, server_page, said):
    page = server_page
    machines = eventually(lambda: all_machines(server), 20, "not all machines are known")
    loud = next(m for m in machines if m["mac"].endswith(":10"))
    server.cli("node", "approve", loud["code"], "loud")

    # 1-4, 6-8: what machines said
    assert len(marks(look(page, "/nodes?unknown=1"))) >= 60, "vendor, product and serial number"
    look(page, "/")
    look(page, "/boots")
    page.wait_for_selector("#standing.ok")
    seen(page, "the board, after its stream has begun")
    timeline = look(page, f"/boots/{said[-1]}")
    assert len(marks(timeline)) >= 60, "reasons and file names of one boot"
    for number in (0, 22, 56, 57):
        look(page, f"/boots/{said[number]}")
    # 5: the inventory
    assert len(marks(look(page, "/nodes/loud"))) >= 40, "disks and cards"
    look(page, "/nodes/loud/script")
    look(page, "/nodes/loud/edit")
    look(page, "/events")
    typed(page, server)
    look(page, "/audit")
    look(page, "/nodes")
    assert not page.faults, page.faults

    spoken = terminal(server, said)
    assert not OBEYED & set(spoken), sorted(map(ascii, OBEYED & set(spoken)))
    lines = [*spoken.splitlines(), *server.log.splitlines()]
    assert not any(line.startswith(("fake:", "2026-01-01 ERROR")) for line in lines)
    assert not (OBEYED | set(map(chr, (*range(10), *range(11, 32))))) & set(server.log)
    assert len(marks(server.log)) > 32, "the log has them, escaped"
    assert "Traceback" not in server.log + spoken


def all_machines(server):
    found = json.loads(server.cli("node", "list", "--unknown", "-o", "json").stdout)
    assert len(found) == 65
    return found


def typed(page, server):
    """9 and 10: what people, and files that they were given, say. In one page as many as go."""
    rows = "\n".join(f'"{text.replace(chr(34), chr(34) * 2)}",{mac(at)}' for at, text in enumerate(PAYLOADS))
    page.go("/nodes/-/import")
    page.set_input_files(
        "main input[type=file]",
        {"name": f"{PAYLOADS[2]}.csv", "mimeType": "text/csv", "buffer": f"name,mac\n{rows}\n".encode()},
    )
    page.click("main form button.primary, main form button:not([type=button])")
    page.wait_for_load_state()
    seen(page, "an import with hostile names")
    told = page.evaluate(TYPED, list(PAYLOADS))
    assert {status for status, _ in told} <= {200, 303, 400, 404, 409, 422}, told
    for text in (PAYLOADS[2], PAYLOADS[24], PAYLOADS[41]):
        look(page, f"/nodes?q={quote(text)}")
        look(page, f"/nodes/{quote(text, safe='')}")
        look(page, f"/search?q={quote(text)}")
        look(page, f"/events?q={quote(text)}")
        look(page, f"/{quote(text, safe='')}")


TYPED = """async (texts) => {
  const token = JSON.parse(document.body.getAttribute('hx-headers'))['X-CSRF-Token'];
  const told = [];
  const send = async (method, path, body) => {
    const answer = await fetch(`/api/v1${path}`, {
      method, headers: {'X-CSRF-Token': token, 'Content-Type': 'application/json'},
      body: JSON.stringify(body)});
    const text = await answer.text();
    told.push([answer.status, text.length]);
  };
  for (const [at, text] of texts.entries()) {
    await send('POST', '/images', {name: text, files: []});
    await send('POST', '/images', {name: `i${at}`, description: text, files: []});
    if (at % 4 === 0) await send('POST', '/nodes/loud/hold', {reason: text});
  }
  return told;
}"""


def mac(number):
    return f"52:54:00:77:00:{number:02x}"


def terminal(server, attempts):
    """What commands print of it, errors too."""
    lines = [
        ("node", "list", "--unknown"),
        ("node", "list"),
        ("node", "show", "loud"),
        ("node", "show", "loud", "-o", "yaml"),
        ("boot", "list"),
        ("boot", "show", attempts[-1]),
        ("boot", "show", attempts[56]),
        ("audit", "list"),
        ("status",),
    ]
    began = time.monotonic()
    found = "".join(
        done.stdout + done.stderr for words in lines for done in (server.cli(*words, check=False),)
    )
    assert len(marks(found)) >= 60, time.monotonic() - began
    return found
