"""What a cluster file must not ask for: each refusal with its line, and what to do."""

from __future__ import annotations

import pytest

from pxeserver.config.faults import ConfigErrors
from pxeserver.postinstall import specfile

BASE = """\
name = "lab"
[members]
nodes = ["n1", "n2", "n3"]
managers = 3
[[switch]]
name = "switch-1"
uplink = true
[[switch]]
name = "switch-2"
[[vnet]]
name = "web"
switch = "switch-1"
vlan = 10
subnet = "10.10.0.0/24"
gateway = "10.10.0.1"
nat = true
[storage]
replicas = 3
[[address]]
name = "front"
address = "10.10.0.50/24"
vnet = "web"
"""
"""Lines count from 1: vlan stands in 13."""

FILES = {"a.yml": "services: {a: {image: b}}\n"}


def _faults(text: str, files: dict[str, str] | None = None) -> list[str]:
    try:
        specfile.read(text, files or FILES, "c.toml")
    except ConfigErrors as errors:
        return [str(f) for f in errors.faults]
    return []


def test_the_base_is_sound() -> None:
    assert _faults(BASE) == []


def _more(extra: str) -> str:
    return BASE + extra


CASES = {
    "no members": (
        BASE.replace('nodes = ["n1", "n2", "n3"]\n', ""),
        "c.toml:2: members: nothing says who the members are. Give one of nodes, select and next",
    ),
    "two rules for members": (
        BASE.replace("managers = 3", "managers = 3\nnext = 3"),
        "c.toml:2: members: nodes and next say it at once. Give one of nodes, select and next",
    ),
    "even managers": (
        BASE.replace("managers = 3", "managers = 2"),
        "c.toml:4: members.managers: 2 managers survive no more losses than 1. Write 1 or 3",
    ),
    "more managers than members": (
        BASE.replace("managers = 3", "managers = 5"),
        "c.toml:4: members.managers: 5 managers and 3 members. Add members, or write managers = 3",
    ),
    "a member twice": (
        BASE.replace('"n3"]', '"n3", "n1"]'),
        "c.toml:3: members.nodes[4]: node n1 is there twice. Give each once",
    ),
    "draining a stranger": (
        BASE.replace("managers = 3", 'managers = 3\ndrain = ["n4"]'),
        "c.toml:5: members.drain: n4 is no member. Did you mean n3?",
    ),
    "labels of a stranger": (
        BASE.replace("managers = 3", 'managers = 3\nlabels = { m9 = { a = "b" } }'),
        "c.toml:5: members.labels.m9: m9 is no member",
    ),
    "replacing one that stays": (
        BASE.replace("managers = 3", 'managers = 3\nreplaces = { n3 = "n2" }'),
        "c.toml:5: members.replaces.n3: n2, whose place n3 takes, is still a member. Take n2 out of nodes",
    ),
    "no uplink": (
        BASE.replace("uplink = true\n", ""),
        "c.toml:5: switch: no switch has the uplink",
    ),
    "two uplinks": (
        BASE.replace('"switch-2"\n', '"switch-2"\nuplink = true\n'),
        "c.toml:10: switch[2].uplink: is a second switch with the uplink",
    ),
    "a switch twice": (
        BASE.replace('"switch-2"', '"switch-1"'),
        "c.toml:9: switch[2].name: switch switch-1 is there twice",
    ),
    "a name of the kernel's": (
        BASE.replace('"web"', '"dev"'),
        "c.toml:11: vnet[1].name: dev is the name of something else on every machine",
    ),
    "a name like a container port": (
        BASE.replace('"web"', '"web-c"'),
        "c.toml:11: vnet[1].name: web-c ends like the parts of a vNet",
    ),
    "a name too long for an interface": (
        BASE.replace('"web"', '"averylongname"'),
        "c.toml:11: vnet[1].name: 'averylongname' is not a name of at most 12 characters",
    ),
    "a vNet called like a switch": (
        BASE.replace('"web"', '"switch-2"'),
        "c.toml:11: vnet[1].name: switch-2 is the name of a switch too",
    ),
    "overlapping VLANs": (
        _more('[[vnet]]\nname = "db"\nvlan = 10\n'),
        "c.toml:25: vnet[2].vlan: 10 is web's VLAN on switch-1 already. Give each vNet of a switch its own",
    ),
    "overlapping subnets": (
        _more('[[vnet]]\nname = "db"\nvlan = 11\nsubnet = "10.10.0.128/25"\n'),
        "c.toml:26: vnet[2].subnet: 10.10.0.128/25 overlaps 10.10.0.0/24 of vNet web. Give each its own",
    ),
    "an overlay over a vNet": (
        _more('[[overlay]]\nname = "back"\nsubnet = "10.0.0.0/8"\n'),
        "c.toml:25: overlay[1].subnet: 10.0.0.0/8 overlaps 10.10.0.0/24 of vNet web",
    ),
    "Docker's pool over a vNet": (
        _more('[docker]\npool = "10.10.0.0/16"\n'),
        "c.toml:24: docker.pool: 10.10.0.0/16 overlaps 10.10.0.0/24 of vNet web",
    ),
    "an unknown switch": (
        BASE.replace('switch = "switch-1"', 'switch = "switch-3"'),
        "c.toml:12: vnet[1].switch: there is no switch switch-3. Did you mean switch-2?",
    ),
    "a gateway outside": (
        BASE.replace('gateway = "10.10.0.1"', 'gateway = "10.10.1.1"'),
        "c.toml:15: vnet[1].gateway: 10.10.1.1 is no host address of 10.10.0.0/24. Use one such as 10.10.0.1",
    ),
    "a gateway that is the broadcast address": (
        BASE.replace('gateway = "10.10.0.1"', 'gateway = "10.10.0.255"'),
        "c.toml:15: vnet[1].gateway: 10.10.0.255 is no host address",
    ),
    "NAT without a gateway": (
        BASE.replace('gateway = "10.10.0.1"\n', ""),
        "c.toml:15: vnet[1].nat: there is no router to translate. Give the vNet a gateway",
    ),
    "NAT on an internal switch": (
        BASE.replace('switch = "switch-1"', 'switch = "switch-2"'),
        "c.toml:16: vnet[1].nat: switch-2 is internal: nothing of it reaches the outside",
    ),
    "a subnet without room": (
        BASE.replace("10.10.0.0/24", "10.10.0.0/30").replace("10.10.0.50/24", "10.10.0.2/30"),
        "c.toml:14: vnet[1].subnet: 10.10.0.0/30 is too small to share. A /29 is the smallest",
    ),
    "a subnet for two": (
        BASE.replace("10.10.0.0/24", "10.10.0.0/29").replace("10.10.0.50/24", "10.10.0.3/29"),
        "c.toml:14: vnet[1].subnet: 10.10.0.0/29 has no addresses for 3 members",
    ),
    "a host address as subnet": (
        BASE.replace("10.10.0.0/24", "10.10.0.9/24"),
        "c.toml:14: vnet[1].subnet: 10.10.0.9/24 is an address inside a network; the network is 10.10.0.0/24",
    ),
    "reaching nobody": (
        BASE.replace("nat = true", 'nat = true\nreach = ["db"]'),
        "c.toml:17: vnet[1].reach[1]: there is no vNet db",
    ),
    "more replicas than members": (
        BASE.replace("replicas = 3", "replicas = 4"),
        "c.toml:18: storage.replicas: 4 bricks and 3 members. Add members, or write replicas = 3",
    ),
    "an arbiter of two": (
        BASE.replace("replicas = 3", "replicas = 2\narbiter = 1"),
        "c.toml:19: storage.arbiter: an arbiter goes with 3 bricks, not with 2",
    ),
    "NFS without a server": (
        BASE.replace("replicas = 3", 'driver = "nfs"\nexport = "/x"'),
        "c.toml:17: storage.server: is missing. The driver nfs mounts an export of a server",
    ),
    "an address outside its subnet": (
        BASE.replace("10.10.0.50/24", "10.10.9.50/24"),
        "c.toml:21: address[1].address: 10.10.9.50 is no host address of web's 10.10.0.0/24. "
        "Choose one of 10.10.0.1-10.10.0.127",
    ),
    "an address of another length": (
        BASE.replace("10.10.0.50/24", "10.10.0.50/16"),
        "c.toml:21: address[1].address: /16 is not the length of 10.10.0.0/24. Write 10.10.0.50/24",
    ),
    "the gateway's address": (
        BASE.replace("10.10.0.50/24", "10.10.0.1/24"),
        "c.toml:21: address[1].address: 10.10.0.1 is web's gateway",
    ),
    "a container's address": (
        BASE.replace("10.10.0.50/24", "10.10.0.200/24"),
        "c.toml:21: address[1].address: 10.10.0.200 is in 10.10.0.128/25, which containers",
    ),
    "an address twice": (
        _more('[[address]]\nname = "two"\naddress = "10.10.0.50/24"\nvnet = "web"\n'),
        "c.toml:25: address[2].address: address 10.10.0.50 is there twice",
    ),
    "an address on an unknown vNet": (
        BASE.replace('vnet = "web"', 'vnet = "wep"'),
        "c.toml:22: address[1].vnet: there is no vNet wep. Did you mean web?",
    ),
    "an address without a length": (
        BASE.replace("10.10.0.50/24", "10.10.0.50"),
        "c.toml:21: address[1].address: '10.10.0.50' is not an address with its prefix length",
    ),
    "a VRRP group twice": (
        BASE.replace("nat = true", "nat = true\nvrid = 7") + "vrid = 7\n",
        "c.toml:24: address[1].vrid: VRRP group 7 is that of vnet[1] already",
    ),
    "a project on a stranger": (
        _more('[[compose]]\nname = "mon"\nnode = "n7"\nfile = "a.yml"\n'),
        "c.toml:25: compose[1].node: n7 is no member. Did you mean n3?",
    ),
    "a missing file": (
        _more('[[stack]]\nname = "shop"\nfile = "b.yml"\n'),
        "c.toml:25: stack[1].file: there is no file b.yml. Paths are taken from the cluster file's directory",
    ),
    "a project twice": (
        _more('[[compose]]\nname = "mon"\nnode = "n1"\nfile = "a.yml"\n' * 2),
        "c.toml:28: compose[2].name: project n1 mon is there twice",
    ),
    "an overlay with a vNet's name": (
        _more('[[overlay]]\nname = "web"\nsubnet = "10.20.0.0/24"\n'),
        "c.toml:24: overlay[1].name: web is taken",
    ),
    "an unknown key": (
        BASE.replace("replicas = 3", "replica = 3"),
        "c.toml:18: storage.replica: is no setting. Did you mean replicas?",
    ),
    "a check that is none": (
        _more('check = "ping"\n'),
        "c.toml:23: address[1].check: 'ping' is not one of none, tcp:80, http:80/path",
    ),
    "a check of no port": (
        _more('check = "tcp:65536"\n'),
        "c.toml:23: address[1].check: 'tcp:65536' is not one of none, tcp:80, http:80/path",
    ),
    "a check that keepalived would not read": (
        _more('check = "http:80/a{b}"\n'),
        "c.toml:23: address[1].check: 'http:80/a{b}' is not one of none, tcp:80, http:80/path",
    ),
    "no TOML": (BASE.replace("nat = true", "nat = yes"), "c.toml:16: is not valid TOML"),
}


@pytest.mark.parametrize("case", CASES)
def test_refused_with_line_and_remedy(case: str) -> None:
    text, expected = CASES[case]
    found = _faults(text)
    assert [f for f in found if f.startswith(expected)], found
    assert len(found) == 1, "one mistake, one fault"


def test_all_faults_at_once_in_the_order_of_the_file() -> None:
    text = BASE.replace("managers = 3", "managers = 4").replace("vlan = 10", 'vlan = 10\nreach = ["x"]')
    text += '[[stack]]\nname = "shop"\nfile = "b.yml"\n[[overlay]]\nname = "web"\nsubnet = "10.10.0.0/25"\n'
    found = _faults(text)
    assert [f.split(": ")[1] for f in found] == [
        "members.managers",
        "members.managers",
        "vnet[1].reach[1]",
        "stack[1].file",
        "overlay[1].name",
        "overlay[1].subnet",
    ]
    assert all(f.startswith("c.toml:") for f in found)


def test_files_are_looked_into() -> None:
    text = _more('[[stack]]\nname = "shop"\nfile = "a.yml"\n')
    assert "a.yml, line 1, is not valid YAML" in _faults(text, {"a.yml": "services: [\n"})[0] or (
        "is not valid YAML" in _faults(text, {"a.yml": "services: [\n"})[0]
    )
    assert "a.yml names no services" in _faults(text, {"a.yml": "version: '3'\n"})[0]
    assert "a.yml is empty" in _faults(text, {"a.yml": "\n"})[0]
    assert "is larger than 1 MiB" in _faults(text, {"a.yml": "#" * (1 << 20) + "##"})[0]


def test_the_files_that_a_cluster_file_names() -> None:
    text = _more(
        '[[stack]]\nname = "a"\nfile = "s.yml"\n[[compose]]\nname = "b"\nnode = "n1"\nfile = "c.yml"\n'
    )
    assert specfile.files_of(text) == ("c.yml", "s.yml")
    assert specfile.files_of("no toml") == ()
    assert specfile.files_of("stack = 3") == ()


def test_everything_that_can_be_said() -> None:
    text = """
name = "big"
ephemeral = true
[members]
select = "rack=r1"
managers = 5
[members.labels]
tier = "all"
n2 = { disk = "fast" }
[[switch]]
name = "switch-1"
uplink = true
[[vnet]]
name = "web"
vlan = 10
subnet = "10.10.0.0/24"
gateway = "10.10.0.1"
reach = ["db"]
mtu = 1400
vrid = 9
[[vnet]]
name = "db"
vlan = 11
subnet = "10.11.0.0/24"
gateway = "10.11.0.1"
[storage]
arbiter = 1
disk = "serial:A,B"
options = { "performance.cache-size" = "64MB" }
[[address]]
name = "front"
address = "10.77.0.100/24"
vnet = "uplink"
check = "tcp:443"
[[compose]]
name = "mon"
node = "n1"
file = "a.yml"
env = { A = "1" }
[[image]]
name = "shop-web"
[packages]
"docker.io" = "20.10.24+dfsg1-1+b3"
[docker]
insecure_registries = ["10.77.0.100:5000"]
"""
    spec = specfile.read(text, FILES)
    assert spec.members.select == "rack=r1"
    assert spec.labels_of("n2") == {"disk": "fast", "tier": "all"}
    assert spec.storage
    assert spec.storage.disk.serials == ("A", "B")
    assert spec.addresses[0].vnet == ""
    assert (spec.addresses[0].check.kind, spec.addresses[0].check.port) == ("tcp", 443)
    assert spec.compose[0].text == FILES["a.yml"]
    assert spec.packages == {"docker.io": "20.10.24+dfsg1-1+b3"}
    assert spec.source.where(("vnet", 1, "vlan")) == "cluster.toml:23"
