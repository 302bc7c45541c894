"""A thousand nodes in ten clusters: the coordinator stays below one core and 500 MB.

The goals are the real ones; the nodes are simulated on a virtual clock, so that what is measured is the
server's part alone: polls, results, goals worked out anew, changes gathered.
"""

from __future__ import annotations

import heapq
import random
import resource
import time
from typing import Any

import msgspec
import pytest

from pxeserver.postinstall.layingout import lay_out
from pxeserver.postinstall.layout import Candidate
from pxeserver.postinstall.polls import Progress, Report
from pxeserver.postinstall.running import RunningCluster, spec_json
from pxeserver.postinstall.specfile import read
from pxeserver.postinstall.work import Result, Work
from pxeserver.storage.clusters import ClusterRecord
from pxeserver.storage.records import Stamp

CLUSTERS, NODES = 10, 100
MINUTES = 12
TEXT = """\
name = "{name}"
[members]
next = 100
managers = 5
[[switch]]
name = "switch-1"
uplink = true
[[switch]]
name = "switch-2"
[[vnet]]
name = "web"
switch = "switch-1"
vlan = 10
subnet = "10.{net}.0.0/16"
gateway = "10.{net}.0.1"
nat = true
[[vnet]]
name = "store"
switch = "switch-2"
vlan = 20
subnet = "10.{other}.0.0/16"
[storage]
replicas = 3
"""


def facts_of(node: str, work: Work) -> tuple[dict[str, Any], dict[str, Any]]:
    match work.step:
        case "brick":
            return {"uuid": node, "path": f"/srv/brick/{node}"}, {}
        case "pool":
            return {"volume_id": "v"}, {}
        case "swarm-init":
            return {"swarm_id": "s", "node_id": f"id-{node}"}, {"worker_token": "t"}
        case "swarm-join":
            return {"node_id": f"id-{node}"}, {}
        case "swarm-members":
            names = [m["name"] for m in work.want["members"] if m["role"] == "manager"]
            return {"managers": names}, {"worker_token": f"t{work.want['rotate']}"}
        case "gate":
            return {"passed": True}, {}
    return {}, {}


class Nodes:
    """All nodes of all clusters; each poll is one event, held polls end when their node is woken."""

    def __init__(self, clusters: list[RunningCluster], seed: int) -> None:
        self.random = random.Random(seed)
        self.clusters = clusters
        self.now = 0.0
        self.events: list[tuple[float, int, str]] = []
        self.doing: dict[str, tuple[Work, float]] = {}
        self.woken: set[str] = set()
        self.polls = self.works = self.written = 0
        for number, cluster in enumerate(clusters):
            for node in cluster.layout.places:
                self.later(self.random.uniform(0, 5), number, node)

    def later(self, seconds: float, cluster: int, node: str) -> None:
        heapq.heappush(self.events, (self.now + seconds, cluster, node))

    def run(self, seconds: float) -> None:
        until = self.now + seconds
        tick = self.now
        while self.events and self.events[0][0] < until:
            self.now, number, node = heapq.heappop(self.events)
            if self.now >= tick + 1:
                tick = self.now
                for cluster in self.clusters:
                    cluster.tick(self.now)
                    cluster.aim(self.now)
                    self.write(cluster)
            self.poll(number, node)
        self.now = until

    def poll(self, number: int, node: str) -> None:
        cluster = self.clusters[number]
        self.polls += 1
        done: tuple[Result, ...] = ()
        progress = None
        if node in self.doing:
            work, ends = self.doing[node]
            if self.now >= ends:
                facts, hidden = facts_of(node, work)
                log = tuple(f"line {n} of what {work.step} said" for n in range(20))
                done = (Result(work.id, True, True, facts, hidden, log=log),)
                del self.doing[node]
            else:
                progress = Progress(work.id)
        handed = cluster.poll(node, Report("i", "b", done, progress), self.now)
        if cluster.aim(self.now) and handed.work is None:
            handed = cluster.poll(node, Report("i", "b", (), progress), self.now)
        self.write(cluster)
        if handed.work is not None:
            self.works += 1
            self.doing[node] = (handed.work, self.now + self.random.uniform(2, 20))
        # A long poll is held for 20 s; a wake-up in between is simulated by asking every 5 s.
        self.later(5.0, number, node)

    def write(self, cluster: RunningCluster) -> None:
        if cluster.dirty:
            self.written += len(msgspec.json.encode([s.params for s in cluster.take().steps.steps.values()]))


def cluster(number: int) -> RunningCluster:
    spec = read(TEXT.format(name=f"c{number}", net=2 * number + 10, other=2 * number + 11))
    seen = [
        Candidate(f"c{number}n{n}", f"172.{16 + number}.0.{n}/16", f"52:54:00:{number:02x}:00:{n:02x}")
        for n in range(1, NODES + 1)
    ]
    layout = msgspec.to_builtins(lay_out(spec, seen))
    record = ClusterRecord(spec.name, "", spec_json(spec), layout, Stamp("t", "t", 0, 0), id=number)
    return RunningCluster(record, {}, (), 0.0, chance=random.Random(number).random)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_thousand_nodes_in_ten_clusters_need_less_than_a_core_and_500_mb() -> None:
    clusters = [cluster(number) for number in range(1, CLUSTERS + 1)]
    nodes = Nodes(clusters, seed=1)
    assert len(nodes.events) == CLUSTERS * NODES
    spent = []
    for _ in range(MINUTES):
        begun = time.process_time()
        nodes.run(60)
        spent.append(time.process_time() - begun)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    done = sum(c.coordinator.ledger.settled(k) for c in clusters for k in c.coordinator.goal)
    wanted = sum(len(c.coordinator.goal) for c in clusters)
    print(
        f"nodes={CLUSTERS * NODES} steps={done}/{wanted} polls={nodes.polls} works={nodes.works}"
        f" cpu_s_per_minute={[f'{s:.1f}' for s in spent]} peak_mb={memory:.0f}"
        f" written_mb={nodes.written / 1e6:.0f}"
    )
    assert done == wanted
    assert all(c.condition(nodes.now) == "ready" for c in clusters)
    assert max(spent) < 60
    assert memory < 500
