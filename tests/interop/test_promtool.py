"""Prometheus' own tool reads what is written for it: the figures, alert rules, the dashboard's queries."""

import json
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from pxeserver.api.exposition import Exposition
from pxeserver.live.totals import Histogram
from pxeserver.resources import folder

pytestmark = pytest.mark.interop

UNPACKED = Path(__file__).parents[2] / ".cache/prometheus/usr/bin/promtool"
ALERTS = folder("monitoring") / "pxeserver-alerts.yml"
SITUATIONS = """
rule_files: [{rules}]
evaluation_interval: 1m
tests:
  - interval: 1m
    input_series:
      - {{series: 'pxeserver_worker_up{{instance="a"}}', values: "1 1 1 0 0 0 0"}}
      - series: 'pxeserver_ignored_total{{instance="a", reason="journal-failed"}}'
        values: "0 0 0 0 0 1 1"
      - series: 'pxeserver_ignored_total{{instance="a", reason="not-pxe"}}'
        values: "0 9 99 999 9999 9999 9999"
    alert_rule_test:
      - {{eval_time: 2m, alertname: PxeserverWorkerDown}}
      - {{eval_time: 2m, alertname: PxeserverCannotKeep}}
      - eval_time: 5m
        alertname: PxeserverWorkerDown
        exp_alerts:
          - exp_labels: {{severity: critical, instance: a}}
            exp_annotations: {{summary: "No machine can boot from a", description: "{away}"}}
      - eval_time: 6m
        alertname: PxeserverCannotKeep
        exp_alerts:
          - exp_labels: {{severity: critical, instance: a}}
            exp_annotations: {{summary: "The disk of a fails boots", description: "{disk}"}}
"""


@pytest.fixture(scope="module")
def promtool():
    found = shutil.which("promtool") or (str(UNPACKED) if UNPACKED.exists() else None)
    if found is None:
        pytest.skip("needs promtool: `make test` unpacks Debian's")
    return lambda *words, given=None: subprocess.run(
        [found, *map(str, words)], input=given, capture_output=True, text=True, check=False
    )


def test_the_alert_rules_load(promtool):
    done = promtool("check", "rules", "--lint=all", ALERTS)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "rules found" in done.stdout


def test_alerts_fire_when_they_should(promtool, tmp_path):
    import yaml

    rules = {r["alert"]: r["annotations"] for r in yaml.safe_load(ALERTS.read_text())["groups"][0]["rules"]}
    away, disk = (rules[name]["description"] for name in ("PxeserverWorkerDown", "PxeserverCannotKeep"))
    path = tmp_path / "situations.yml"
    path.write_text(SITUATIONS.format(rules=ALERTS, away=away, disk=disk))
    done = promtool("test", "rules", path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_dashboards_queries_are_promql(promtool, tmp_path):
    board = json.loads((folder("monitoring") / "pxeserver-dashboard.json").read_text())
    queries = [target["expr"] for panel in board["panels"] for target in panel.get("targets", ())]
    rules = [
        {"record": f"query_{number}", "expr": query.replace("$__rate_interval", "5m")}
        for number, query in enumerate(queries)
    ]
    path = tmp_path / "queries.yml"
    path.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    done = promtool("check", "rules", path)
    assert len(rules) > 25
    assert done.returncode == 0, done.stdout + done.stderr


async def test_the_figures_are_what_prometheus_reads(promtool, tmp_path):
    from pxeserver.api.rooms import NoWorker
    from pxeserver.api.routes.operations import metrics
    from pxeserver.api.routing import Call, Rooms
    from pxeserver.config import Settings
    from pxeserver.live import Hall

    hall = Hall(tmp_path / "db.sqlite3")
    await hall.start()
    settings = Settings.load(None, {}, {"server.state_dir": str(tmp_path), "server.run_dir": str(tmp_path)})
    rooms = Rooms(hall, None, None, NoWorker(), settings, time.time())
    try:
        answer = await metrics(Call(None, rooms, "test"))
    finally:
        await hall.close()
    done = promtool("check", "metrics", given=answer.body.decode())
    assert done.returncode == 0, done.stdout + done.stderr


def test_promtool_would_say_what_is_wrong(promtool):
    page = Exposition("x")
    page.histograms("seconds", "", "a", {"b": Histogram((1.0,))})
    assert promtool("check", "metrics", given=page.text().replace("histogram", "histogramm")).returncode
