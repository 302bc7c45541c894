"""Health and figures: what they say, to whom, and in which form."""

import json
import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from pxeserver.api.exposition import Exposition
from pxeserver.boot.model import Event, EventKind, FileRef, Loader
from pxeserver.live.totals import MOST_VALUES, OTHER, Counts, Histogram
from pxeserver.resources import folder

sys.path.insert(0, str(Path(__file__).parents[1] / "access"))

import admin_plane

LINE = re.compile(r'^(\w+)(?:\{((?:\w+="[^"\n]*",?)+)\})? (-?[\d.e+-]+)$')
LABELS = {
    "stage",
    "result",
    "reason",
    "code",
    "until",
    "kind",
    "state",
    "standing",
    "process",
    "le",
    "version",
}


async def read(server, path):
    async with server.session.get(f"http://pxeserver{path}") as answer:
        return answer.status, await answer.text()


def samples(text):
    """{name and labels: value}; every line must be a comment or a sample."""
    found = {}
    for line in text.splitlines():
        if not line.startswith("#"):
            match = LINE.match(line)
            assert match, line
            found[line.rpartition(" ")[0]] = float(match[3])
    return found


async def boot(server, *, mac="52:54:00:00:00:01", attempt="abcdefghij"):
    for at, (kind, detail) in enumerate(
        (
            (EventKind.DISCOVERED, {}),
            (EventKind.OFFERED, {"address": "10.77.0.50"}),
            (EventKind.LOADER_STARTED, {"file": "ipxe.efi", "total": 1000}),
            (EventKind.LOADER_SENT, {"file": "ipxe.efi", "bytes": 1000, "total": 1000}),
            (EventKind.SCRIPT_SENT, {"action": "kernel"}),
            (EventKind.BOOTED, {}),
        )
    ):
        server.hall.ingest_event(Event(1000.0 + at, kind, attempt, mac, None, detail))


async def test_figures_of_a_boot(server):
    await boot(server)
    status, text = await read(server, "/metrics")
    found = samples(text)
    assert status == 200
    assert found["pxeserver_boots_started_total"] == 1
    assert found['pxeserver_boots_ended_total{result="booted"}'] == 1
    assert found["pxeserver_boot_bytes_total"] == 1000
    assert found['pxeserver_stage_seconds_sum{stage="loader"}'] == 2
    assert found['pxeserver_boot_seconds_bucket{until="script",le="2.5"}'] == 0
    assert found['pxeserver_boot_seconds_bucket{until="script",le="5"}'] == 1
    assert found['pxeserver_boot_seconds_count{until="end"}'] == 1
    assert found['pxeserver_events_total{kind="offered"}'] == 1


async def test_figures_of_the_boot_worker(server):
    counters = {"tftp_sent": 3, "tftp_bytes": 4096, "http_bytes": 10**12, "cpu_seconds": 1.5}
    silent = {"no-loader": 4} | {f"invented {n}": 1 for n in range(500)}
    server.worker.told = replace(server.worker.told, ignored=silent, counters=counters)
    found = samples((await read(server, "/metrics"))[1])
    assert found['pxeserver_tftp_transfers_total{result="sent"}'] == 3
    assert found["pxeserver_tftp_bytes_total"] == 4096
    assert found["pxeserver_http_bytes_total"] == 10**12
    assert found['pxeserver_cpu_seconds_total{process="worker"}'] == 1.5
    assert found['pxeserver_ignored_total{reason="no-loader"}'] == 4
    reasons = [name for name in found if name.startswith("pxeserver_ignored_total")]
    assert len(reasons) <= MOST_VALUES + 1
    assert sum(found[name] for name in reasons) == 504


async def test_no_label_names_a_machine(server):
    await server.ok("POST", "/nodes", {"nodes": [{"name": "secretnode", "macs": ["52:54:00:00:00:01"]}]})
    for number in range(3):
        await boot(server, mac=f"52:54:00:00:00:{number:02x}", attempt=f"abcdefghi{number}")
    text = (await read(server, "/metrics"))[1]
    labels = {name for found in re.findall(r"\{(.*?)\}", text) for name in re.findall(r'(\w+)="', found)}
    assert labels <= LABELS
    assert "secretnode" not in text and "52:54" not in text and "10.77" not in text
    assert len(samples(text)) < 600


async def test_ready_when_machines_can_boot(server):
    assert await read(server, "/healthz") == (200, "ok\n")
    assert await read(server, "/readyz") == (503, "loaders\n")
    async with server.hall.edit("test") as edit:
        await edit.put_loader(Loader(7, FileRef("ipxe.efi", "a" * 64, 1, "loader")), standard=True)
    assert await read(server, "/readyz") == (200, "ok\n")
    server.worker.told = replace(server.worker.told, connected=False)
    assert await read(server, "/readyz") == (503, "boot-worker\n")


async def test_what_was_booted_before_a_restart_is_not_counted_again(server):
    lookout = server.hall.lookout
    lookout.totals.resting = True
    await boot(server)
    lookout.totals.resting = False
    found = samples((await read(server, "/metrics"))[1])
    assert found["pxeserver_boots_started_total"] == 0
    assert found['pxeserver_stage_seconds_count{stage="loader"}'] == 0


async def test_who_may_read_what(tmp_path, monkeypatch):
    from pxeserver import admin
    from pxeserver.api.access.passwords import Passwords

    monkeypatch.setattr(admin, "Passwords", lambda: Passwords(memory_kib=8, passes=1))
    async with admin_plane.running(tmp_path) as plane:
        scraper = plane.program(await plane.token(name="scrape", scopes=["server:read"], role="viewer"))
        other = plane.program(await plane.token(name="other", scopes=["node:write"]))
        nobody = plane.browser()
        told = {}
        for name, who in (("scraper", scraper), ("other", other), ("nobody", nobody)):
            for path in ("/healthz", "/readyz", "/metrics"):
                async with who.session.get(who.base + path, allow_redirects=False) as answer:
                    told[name, path] = answer.status
        assert told["scraper", "/metrics"] == 200
        assert told["other", "/metrics"] == 403
        assert told["nobody", "/metrics"] == 401
        assert told["nobody", "/healthz"] == 200
        assert told["nobody", "/readyz"] == 503


def test_a_label_has_only_so_many_values():
    counts = Counts(("known",))
    for number in range(1000):
        counts.add(f"v{number}")
    counts.add("known")
    found = dict(counts.items())
    assert len(found) == MOST_VALUES + 1
    assert found["known"] == 1
    assert found[OTHER] == 1001 - MOST_VALUES


def test_a_histogram_counts_up_to_its_bounds():
    histogram = Histogram((1.0, 2.0))
    for seconds in (0.5, 1.0, 1.5, 99.0, -3.0):
        histogram.observe(seconds)
    assert histogram.cumulative() == [3, 4, 5]
    assert histogram.sum == 102.0


def test_labels_are_escaped():
    page = Exposition("x")
    page.one("a", "gauge", "A.", 0.25, l='a"b\\c\nd')
    assert page.text().splitlines()[2] == 'x_a{l="a\\"b\\\\c\\nd"} 0.25'


# ------------------------------------------------------------------------------- dashboard and alert rules


async def existing(server):
    """The names that a scrape finds, with the labels of each."""
    text = (await read(server, "/metrics"))[1]
    kinds = dict(re.findall(r"^# TYPE (\w+) (\w+)$", text, re.M))
    names = {n for n, kind in kinds.items() if kind != "histogram"}
    return names | {
        f"{n}_{s}" for n, k in kinds.items() if k == "histogram" for s in ("bucket", "sum", "count")
    }


def expressions():
    """Every PromQL text of the files."""
    board = json.loads((folder("monitoring") / "pxeserver-dashboard.json").read_text())
    for panel in board["panels"]:
        for target in panel.get("targets", ()):
            yield target["expr"]
    yield from re.findall(r"label_values\((\w+),", json.dumps(board["templating"]))
    yield from re.findall(
        r"^ +expr: (.*)$", (folder("monitoring") / "pxeserver-alerts.yml").read_text(), re.M
    )


async def test_dashboard_and_alerts_name_only_what_exists(server):
    names = await existing(server)
    named = {name for text in expressions() for name in re.findall(r"\bpxeserver_\w+", text)}
    assert len(named) > 25
    assert named <= names


async def test_label_values_in_dashboard_and_alerts_exist(server):
    text = (await read(server, "/metrics"))[1]
    asked = {pair for one in expressions() for pair in re.findall(r'(\w+)=~?"([\w|-]+)"', one)}
    for label, values in asked - {("job", "pxeserver")}:
        for value in values.split("|"):
            assert f'{label}="{value}"' in text, (label, value)


def test_the_dashboard_is_one_that_grafana_takes():
    board = json.loads((folder("monitoring") / "pxeserver-dashboard.json").read_text())
    panels = board["panels"]
    assert board["uid"] and board["title"] and board["schemaVersion"] >= 36
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken = set()
    for panel in panels:
        at = panel["gridPos"]
        places = {
            (x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])
        }
        assert at["x"] + at["w"] <= 24 and not places & taken, panel["title"]
        taken |= places
        if panel["type"] != "row":
            assert panel["targets"] and panel["title"]
            assert panel["datasource"]["uid"] == "${datasource}"


@pytest.mark.parametrize("name", ["PxeserverDown", "PxeserverWorkerDown", "PxeserverBootsStuck"])
def test_alerts_say_what_to_do(name):
    import yaml

    rules = yaml.safe_load((folder("monitoring") / "pxeserver-alerts.yml").read_text())["groups"][0]["rules"]
    found = {rule["alert"]: rule for rule in rules}
    assert len(found) == len(rules)
    assert found[name]["annotations"]["summary"] and found[name]["annotations"]["description"]
    assert {rule["labels"]["severity"] for rule in rules} == {"critical", "warning", "info"}
