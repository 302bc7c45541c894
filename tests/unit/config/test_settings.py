"""Settings: defaults without a file, all faults at once, origins, and the policy that travels."""

from dataclasses import replace

import pytest

from pxeserver.boot.diagnosis import DEFAULT_WINDOWS
from pxeserver.boot.model import DhcpMode
from pxeserver.config import ConfigErrors, Settings

FAULTY = """\
[server]
interfce = "eth0"
workers = "many"

[http]
port = 99999
[dhcp]
proxy_port = 67
[[subnet]]
network = "10.0.0.0/24"
dhcp = "full"
pools = [
  "10.0.0.10-10.0.0.20",
  "10.0.1.10-10.0.1.20",
]
mtu = 5
[[subnet]]
dhcp = "full"
[[subnet]]
network = "10.0.0.128/25"
router = "10.9.9.9"
"""


def load(tmp_path, text="", environ=None, flags=None):
    file = tmp_path / "config.toml"
    file.write_text(text)
    return Settings.load(file, environ or {}, flags)


def faults(tmp_path, text="", environ=None):
    with pytest.raises(ConfigErrors) as caught:
        load(tmp_path, text, environ)
    return [(f.where.removeprefix(f"{tmp_path}/"), f.key, f"{f.what}. {f.mend}") for f in caught.value.faults]


def test_no_file_is_needed(monkeypatch):
    settings = Settings.load(None, {})
    assert settings.dhcp.port == 67
    assert settings.origin("dhcp.port") == "default"
    assert str(settings.socket_path) == "/run/pxeserver/api.sock"


def test_a_file_that_is_named_must_exist(tmp_path):
    with pytest.raises(ConfigErrors, match="there is no such file"):
        Settings.load(tmp_path / "none.toml", {})
    with pytest.raises(ConfigErrors, match="there is no such file"):
        Settings.load(None, {"PXESERVER_CONFIG": str(tmp_path / "none.toml")})


def test_all_faults_are_told_at_once_each_with_its_place(tmp_path):
    found = faults(tmp_path, FAULTY, {"PXESERVER_TFTP__PRT": "1", "PXESERVER_TFTP__PORT": "abc"})
    assert [(where, key) for where, key, _ in found] == [
        ("config.toml:2", "server.interfce"),
        ("config.toml:3", "server.workers"),
        ("config.toml:6", "http.port"),
        ("config.toml:8", "dhcp.proxy_port"),
        ("config.toml:14", "subnet[1].pools[2]"),
        ("config.toml:16", "subnet[1].mtu"),
        ("config.toml:17", "subnet[2].network"),
        ("config.toml:20", "subnet[3].network"),
        ("config.toml:21", "subnet[3].router"),
        ("PXESERVER_TFTP__PORT", "tftp.port"),
        ("PXESERVER_TFTP__PRT", ""),
    ]
    told = {key: text for _, key, text in found}
    assert "Did you mean PXESERVER_TFTP__PORT?" in told[""]
    assert "Did you mean interface?" in told["server.interfce"]
    assert "is missing" in told["subnet[2].network"]
    assert "overlaps 10.0.0.0/24" in told["subnet[3].network"]
    assert "'many'" in told["server.workers"] and "(default: 1)" in told["server.workers"]


def test_paths_that_depend_on_the_working_directory_are_refused(tmp_path):
    text = '[server]\nstate_dir = "state"\n[api]\nsocket = "api.sock"\n[loaders]\ncache_dir = "x"\n'
    found = faults(tmp_path, text, {"PXESERVER_SERVER__RUN_DIR": "./run"})
    assert {key for _, key, _ in found} == {
        "server.state_dir", "api.socket", "loaders.cache_dir", "server.run_dir"
    }  # fmt: skip
    assert all("begin it with /" in text for *_, text in found)


def test_a_key_in_the_wrong_section_is_told_where_it_belongs(tmp_path):
    (_, _, text) = faults(tmp_path, "[server]\nmenu_timeout = 5\n")[0]
    assert "Did you mean policy.menu_timeout?" in text


def test_syntax_errors_have_a_line(tmp_path):
    assert faults(tmp_path, "[server]\nworkers = = 1\n")[0][0] == "config.toml:2"
    file = tmp_path / "config.toml"
    file.write_bytes(b'a = 1\nb = "\xff"\n')
    with pytest.raises(ConfigErrors) as caught:
        Settings.load(file, {})
    assert caught.value.faults[0].where.endswith(":2")


@pytest.mark.parametrize(
    ("subnet", "key", "text"),
    [
        ('network="10.0.0.1/24"', "network", "the network is 10.0.0.0/24"),
        ('network="10.0.0.0/24"\ndhcp="full"', "dhcp", "no addresses to give"),
        ('network="10.0.0.0/24"\npools=["10.0.0.5-10.0.0.9"]', "pools", "do nothing"),
        ('network="10.0.0.0/24"\nrouter="10.0.0.255"', "router", "not a host address"),
        ('network="10.0.0.0/24"\nroutes=["10.9.0.0/16 via 10.1.0.1"]', "routes[1]", "not in 10.0.0.0/24"),
        ('network="10.0.0.0/24"\nroutes=["nonsense"]', "routes[1]", "not a route"),
        (
            'network="10.0.0.0/24"\ndhcp="full"\npools=["10.0.0.9-10.0.0.5"]',
            "pools[1]",
            "ends before it begins",
        ),
        ('network="10.0.0.0/24"\ndhcp="full"\npools=["10.0.0.0-10.0.0.5"]', "pools[1]", "broadcast address"),
        ('network="10.0.0.0/24"\ndomain="lab..example"', "domain", "not a domain name"),
        (f'network="10.0.0.0/24"\ndomain="{"a" * 64}.example"', "domain", "not a domain name"),
        (
            'network="10.0.0.0/24"\ndhcp="full"\nrouter="10.0.0.5"\npools=["10.0.0.2-10.0.0.9"]',
            "pools[1]",
            "router's address 10.0.0.5",
        ),
        (
            'network="10.0.0.0/24"\ndhcp="full"\npools=["10.0.0.2-10.0.0.9","10.0.0.9-10.0.0.12"]',
            "pools[2]",
            "overlaps 10.0.0.2-10.0.0.9",
        ),
        ('network="10.0.0.0/24"\nlease_seconds=5', "lease_seconds", "less than 120"),
        ('network="10.0.0.0/24"\ndhcp="ful"', "dhcp", "not one of"),
    ],
)
def test_subnets_are_checked_against_themselves(tmp_path, subnet, key, text):
    found = faults(tmp_path, f"[[subnet]]\n{subnet}\n")
    assert [(f"subnet[1].{key}", True)] == [(k, text in t) for _, k, t in found], found


def test_a_good_file_with_subnets_becomes_the_policy(tmp_path):
    settings = load(
        tmp_path,
        """
[policy]
unknown = "profile:rescue"
values = { console = "ttyS0" }
[dhcp]
relays = "10.9.0.1"
[[subnet]]
network = "10.0.0.0/24"
dhcp = "full"
pools = ["10.0.0.100 - 10.0.0.199"]
router = "10.0.0.1"
routes = ["10.9.0.0/16 via 10.0.0.2"]
""",
    )
    policy = settings.policy_model()
    assert policy.unknown == "profile:rescue"
    assert policy.relays == ("10.9.0.1",)
    assert policy.values == {"console": "ttyS0"}
    (subnet,) = policy.subnets
    assert subnet.mode is DhcpMode.FULL
    assert subnet.pools == (("10.0.0.100", "10.0.0.199"),)
    assert subnet.routes == (("10.9.0.0/16", "10.0.0.2"),)


def test_giving_addresses_beside_another_server_is_said_once_or_for_each_subnet(tmp_path):
    settings = load(
        tmp_path,
        """
[dhcp]
force = true
[[subnet]]
network = "10.0.0.0/24"
[[subnet]]
network = "10.1.0.0/24"
force = false
""",
    )
    assert [subnet.force for subnet in settings.policy_model().subnets] == [True, False]


def test_later_sources_win_and_every_value_knows_its_origin(tmp_path):
    text = "[server]\nlog_level = 'debug'\n[http]\nport = 8000\n[tftp]\nport = 6900\n"
    environ = {
        "PXESERVER_HTTP__PORT": "8001",
        "PXESERVER_TFTP__PORT": "6901",
        "PXESERVER__FDS": "x",
        "HOME": "/",
    }
    settings = load(tmp_path, text, environ, {"tftp.port": 6902})
    assert (settings.server.log_level, settings.http.port, settings.tftp.port) == ("debug", 8001, 6902)
    assert settings.origin("server.log_level") == f"{tmp_path}/config.toml:2"
    assert settings.origin("http.port") == "PXESERVER_HTTP__PORT"
    assert settings.origin("tftp.port") == "--tftp-port"
    assert settings.origin("dhcp.port") == "default"


def test_lists_and_tables_from_the_environment(tmp_path):
    environ = {
        "PXESERVER_SERVER__INTERFACE": "eth0, eth1",
        "PXESERVER_TFTP__PORT_RANGE": "[3000, 3999]",
        "PXESERVER_SUBNET": '[{network="10.0.0.0/8"}]',
        "PXESERVER_POLICY__DRY_RUN": "true",
        "PXESERVER_SERVER__ADDRESS": "",
    }
    settings = load(tmp_path, "", environ)
    assert settings.server.interface == ("eth0", "eth1")
    assert settings.tftp.port_range == (3000, 3999)
    assert settings.subnet[0].network == "10.0.0.0/8"
    assert settings.policy.dry_run is True
    assert settings.server.address is None


def test_a_value_the_boot_decision_does_not_know_is_a_fault(tmp_path):
    ((where, key, text),) = faults(tmp_path, "[policy.values]\nconsole = 'ttyS0'\nlocal_boot = 'sideways'\n")
    assert (where, key) == ("config.toml:3", "policy.values.local_boot")
    assert "sanboot" in text


def test_how_long_a_boot_may_be_silent_reaches_the_diagnosis(tmp_path):
    assert load(tmp_path).boots.windows() == DEFAULT_WINDOWS
    settings = load(tmp_path, "[boots]\nafter_files = 1800\n")
    assert settings.boots.windows() == replace(DEFAULT_WINDOWS, after_files=1800.0)
    assert "boots.after_offer" in str(faults(tmp_path, "[boots]\nafter_offer = 0\n"))
