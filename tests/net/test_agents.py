"""Agents claim their nodes: the real server in one namespace, the real agent in another."""

from __future__ import annotations

import json
import ssl
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from agent_under_test import FAKETIME, Agent, words_of
from server_under_test import ADDRESS, Server, eventually

pytestmark = pytest.mark.net

Start = Callable[..., Agent]


@pytest.fixture
def agent(server: Server, tmp_path: Path) -> Iterator[Start]:
    """Starts agents on the machines' side."""
    made: list[Agent] = []

    def start(words: dict[str, str], name: str = "a", **more: object) -> Agent:
        made.append(Agent(server.machines, tmp_path / name, words, **more))
        made[-1].start()
        return made[-1]

    yield start
    for one in made:
        one.close()


def joining(server: Server, name: str, *words: str) -> dict[str, str]:
    """The words of a new join command."""
    return words_of(server.cli("node", "join-command", name, *words, "-o", "json").stdout.replace('"', " "))


def seen(server: Server, name: str) -> dict[str, object]:
    """The node's agent, as the API tells it."""
    text = server.space.run(
        "curl", "-s", "--unix-socket", str(server.run_dir / "api.sock"), f"http://x/api/v1/nodes/{name}/agent"
    )
    return dict(json.loads(text))


def attempt_of(server: Server, name: str) -> str:
    """Boot the machine as the node `name` up to its script; its attempt."""
    machine = server.machine()
    server.cli("node", "add", name, "--mac", machine.mac)
    machine.offered()
    url = machine.offered(ipxe=True)
    machine.script()
    return url.rsplit("/a/", 1)[1].split("/")[0]


def authority(server: Server) -> str:
    """The pin, as it stands in a join command."""
    return joining(server, "other")["ca"]


def test_join_poll_second_claim_freezes_and_thaw(server: Server, agent: Start) -> None:
    server.start()
    words = joining(server, "n1")
    first = agent(words)
    first.says("this machine is node n1")
    first.says("in touch with")
    told = eventually(lambda: seen(server, "n1") if seen(server, "n1")["seen"] else None, 10, "no poll")
    assert told["joined"] and not told["frozen"] and told["address"] == "10.66.0.50"

    thief = agent(words, "thief")
    thief.says("used a second time")
    assert "is frozen" in server.cli("node", "show", "n1").stdout + server.cli("node", "show", "n1").stderr
    first.says("refused: node n1 is frozen", 40)
    assert server.cli("node", "arm", "n1", check=False).returncode == 1

    thief.close()
    server.cli("node", "thaw", "n1", "--yes")
    before = float(time.time())
    first.close()
    first.start()
    first.says("in touch with")
    assert not seen(server, "n1")["frozen"] and before
    token = words["token"]
    assert (
        token not in server.log + first.process.text()
        and token not in server.cli("node", "show", "n1").stdout
    )


def test_a_boot_claims_only_while_armed_and_only_once(server: Server, agent: Start) -> None:
    server.start()
    attempt = attempt_of(server, "n1")
    words = {"server": f"{ADDRESS}:8444", "ca": authority(server), "attempt": attempt}
    mine = agent(words)
    mine.says("not armed")
    assert not seen(server, "n1")["joined"]
    server.cli("node", "arm", "n1")
    mine.says("this machine is node n1", 30)
    assert seen(server, "n1")["rung"] == 1
    again = agent(words, "again")
    again.says("claimed twice")
    assert seen(server, "n1")["frozen"]
    # A boot that nobody saw is nobody's.
    nobody = agent(words | {"attempt": "aaaaaaaaaa"}, "nobody")
    nobody.says("this boot is not known")


def test_another_machine_s_boot_is_not_claimed(server: Server, agent: Start) -> None:
    server.start()
    attempt = attempt_of(server, "n1")
    server.cli("node", "arm", "n1")
    server.machines.ip("link", "set", "eth0", "down")
    server.machines.ip("link", "set", "eth0", "address", "52:54:00:66:00:99")
    server.machines.ip("link", "set", "eth0", "up")
    server.space.ip("neigh", "flush", "dev", "eth0")
    words = {"server": f"{ADDRESS}:8444", "ca": authority(server), "attempt": attempt}
    agent(words).says("52:54:00:66:00:99")
    assert seen(server, "n1")["frozen"] and not seen(server, "n1")["joined"]


def test_a_person_compares_the_code(server: Server, agent: Start) -> None:
    server.start()
    mine = agent(joining(server, "n1", "--ask"))
    mine.says("CODE is ")
    code = mine.process.text().split("CODE is ")[1][:14]
    wrong = server.cli("node", "admit", "n1", "0000-0000-0000", check=False)
    assert wrong.returncode == 1 and "another code" in wrong.stderr
    assert not seen(server, "n1")["joined"]
    server.cli("node", "admit", "n1", code.lower())
    mine.says("this machine is node n1")
    assert seen(server, "n1")["rung"] == 2


def test_another_authority_is_refused(server: Server, agent: Start) -> None:
    server.start()
    words = joining(server, "n1")
    wrong = agent(words | {"ca": "0" * 64})
    wrong.says("is not the server this node was told of")
    assert "this machine is node" not in wrong.process.text()
    claims = seen(server, "n1")["claims"]
    assert claims[0]["state"] == "armed"  # type: ignore[index]


@pytest.mark.skipif(not FAKETIME.exists(), reason="libfaketime is not here")
@pytest.mark.parametrize("year", [2001, 2055])
def test_a_wrong_clock_is_set_before_the_first_trust(server: Server, agent: Start, year: int) -> None:
    server.start()
    off = float((year - 2026) * 365 * 86_400)
    mine = agent(joining(server, "n1"), clock_off=off)
    mine.says("this machine is node n1")
    assert "the clock was off by" in mine.process.text()
    left = float((mine.folder / "offset").read_text())
    assert abs(left) < 2.0
    # The proof can fail: with that clock, this certificate is not valid.
    pem = server.machines.run("curl", "-sk", f"https://{ADDRESS}:8444/v1/hello")
    certificate = json.loads(pem)["ca"]
    assert "CERTIFICATE" in certificate and ssl.PEM_cert_to_DER_cert(certificate.strip())


def test_agent_and_server_are_killed_and_go_on(server: Server, agent: Start) -> None:
    server.start()
    mine = agent(joining(server, "n1"))
    mine.says("in touch with")
    mine.process.kill()
    mine.start()
    mine.says("in touch with")
    assert "this machine is node" not in mine.process.text(), "it claimed again"
    server.kill("control")
    mine.says("no answer", 30)
    before = time.time()
    eventually(lambda: server.cli("status", check=False).returncode == 0, 20, "no server")
    eventually(
        lambda: mine.process.text().rindex("in touch with") > mine.process.text().rindex("no answer"),
        40,
        "not in touch again",
    )
    assert time.time() - before < 40 and not seen(server, "n1")["frozen"]
