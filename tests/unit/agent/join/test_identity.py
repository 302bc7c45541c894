"""Step identity, on a tree of files."""

import pytest

from pxeserver.agent.join.step import StepFailed
from pxeserver.agent.join.steps.identity import BEGIN, END, Identity

UUID = "11111111-2222-3333-4444-555555555555"
ID = "0123456789abcdef0123456789abcdef"


@pytest.fixture
def root(tmp_path):
    (tmp_path / "etc").mkdir()
    (tmp_path / "proc").mkdir()
    (tmp_path / "etc/hosts").write_text("127.0.0.1 localhost\n127.0.1.1 n1 n1.example\n10.9.9.9 printer\n")
    (tmp_path / "etc/os-release").write_text('ID=debian\nVERSION_CODENAME="trixie"\n')
    (tmp_path / "proc/mounts").write_text("/dev/vda1 / ext4 rw 0 0\n")
    return tmp_path


def want(**more):
    return {
        "hostname": "n1",
        "machine_id": None,
        "hosts": {"n1": "10.0.0.1", "n2": "10.0.0.2"},
        "gluster_uuid": UUID,
    } | more


def test_it_is_brought_about_once(root):
    step = Identity(root)
    assert {d.what for d in step.check(want())} == {"host name", "/etc/hosts", "machine-id", "Gluster UUID"}
    facts = step.apply(want(), print)
    assert step.check(want()) == []
    assert step.apply(want(), print) == facts
    assert len(facts["machine_id"]) == 32
    hosts = (root / "etc/hosts").read_text()
    assert hosts.count(BEGIN) == hosts.count(END) == 1
    assert "10.0.0.2 n2" in hosts
    assert "10.9.9.9 printer" in hosts
    assert "127.0.1.1" not in hosts, "its own name has to mean its address"
    info = (root / "var/lib/glusterd/glusterd.info").read_text()
    assert info == f"UUID={UUID}\noperating-version=110000\n"


def test_the_wanted_keys_log_in_and_those_of_people_stay(root):
    own, ours = root / "root/.ssh/authorized_keys", root / "root/.ssh/authorized_keys2"
    own.parent.mkdir(parents=True)
    own.write_text("ssh-ed25519 PERSON\n")
    step, two = Identity(root), want(ssh_keys=["ssh-ed25519 BBBB b", "ssh-ed25519 AAAA a"])
    step.apply(want(), print)
    assert not ours.exists()
    assert [drift.what for drift in step.check(two)] == ["SSH keys of root"]
    step.apply(two, print)
    assert ours.read_text().splitlines()[1:] == ["ssh-ed25519 AAAA a", "ssh-ed25519 BBBB b"]
    assert ours.stat().st_mode & 0o777 == 0o600
    assert step.check(two) == []
    ours.write_text(ours.read_text() + "ssh-ed25519 INTRUDER\n")
    assert step.check(two)
    step.apply(want(), print)
    assert not ours.exists()
    step.apply(two, print)
    step.undo(two, print)
    assert not ours.exists()
    assert own.read_text() == "ssh-ed25519 PERSON\n"


def test_a_member_that_leaves_the_list_leaves_the_file(root):
    step = Identity(root)
    step.apply(want(), print)
    fewer = want(hosts={"n1": "10.0.0.1"})
    assert step.check(fewer)
    step.apply(fewer, print)
    assert "n2" not in (root / "etc/hosts").read_text()


@pytest.mark.parametrize(
    ("have", "given", "kind", "then"),
    [
        ("", None, "ext4", None),
        ("uninitialized", None, "ext4", None),
        ("0" * 32, None, "ext4", None),
        ("f" * 32, None, "ext4", "f" * 32),
        ("f" * 32, ID, "ext4", "f" * 32),
        ("f" * 32, ID, "overlay", ID),
        ("", ID, "ext4", ID),
    ],
)
def test_a_good_machine_id_stays_unless_the_system_is_gone_after_a_restart(root, have, given, kind, then):
    (root / "proc/mounts").write_text(f"x / {kind} rw 0 0\n")
    (root / "etc/machine-id").write_text(have + "\n")
    step = Identity(root)
    step.apply(want(machine_id=given), print)
    now = (root / "etc/machine-id").read_text().strip()
    assert now == then if then else (len(now) == 32 and now not in ("0" * 32, have))
    assert step.check(want(machine_id=given)) == []


def test_two_nodes_get_two_machine_ids(root, tmp_path):
    first = Identity(root).apply(want(), print)["machine_id"]
    (root / "etc/machine-id").unlink()
    assert Identity(root).apply(want(), print)["machine_id"] != first


def test_a_node_of_another_gluster_pool_is_left_alone(root):
    home = root / "var/lib/glusterd"
    (home / "peers").mkdir(parents=True)
    (home / "glusterd.info").write_text("UUID=other\noperating-version=100000\n")
    Identity(root).apply(want(), print)  # it has no peers: nothing depends on the old one
    (home / "glusterd.info").write_text("UUID=other\noperating-version=100000\n")
    (home / "peers" / "x").write_text("")
    with pytest.raises(StepFailed, match="belongs to a pool") as refused:
        Identity(root).apply(want(), print)
    assert not refused.value.retry
    assert "other" in (home / "glusterd.info").read_text()


@pytest.mark.parametrize("name", ["", "N1", "a b", "-a", "a" * 64, "a.b", "$(id)"])
def test_what_is_no_host_name_is_refused(root, name):
    with pytest.raises(StepFailed, match="no host name"):
        Identity(root).check(want(hostname=name))


def test_undo_takes_the_others_names_away(root):
    step = Identity(root)
    before = (root / "etc/hosts").read_text()
    step.apply(want(), print)
    step.undo(want(), print)
    after = (root / "etc/hosts").read_text()
    assert "n2" not in after
    assert "printer" in after
    assert BEGIN not in after
    assert not (root / "var/lib/glusterd/glusterd.info").exists()
    step.undo(want(), print)
    assert before
