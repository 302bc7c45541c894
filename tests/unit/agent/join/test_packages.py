"""Step packages, with apt-get and dpkg played."""

import subprocess
import sys
import time

import pytest

from pxeserver.agent.join import command
from pxeserver.agent.join.command import Done
from pxeserver.agent.join.step import StepFailed
from pxeserver.agent.join.steps import packages
from pxeserver.agent.join.steps.packages import ADDED, PINS, POLICY, Packages


class Apt:
    """An archive with two packages, of which one depends on a third."""

    def __init__(self, root):
        self.root, self.have = root, {"base": "1"}
        self.archive = {"docker.io": ("20.10", ["runc"]), "keepalived": ("2.2", []), "runc": ("1.1", [])}
        self.calls, self.policy, self.fails, self.essential = [], [], "", set()

    def needs(self):
        return [(name, [f"{d} (>= 1)" for d in self.archive.get(name, ("", []))[1]]) for name in self.have]

    def run(self, *words, timeout=60.0, input=None, env=None):  # noqa: A002
        self.calls.append(words)
        if words[0] == "dpkg-query":
            if "Essential" in words[3]:
                rows = (
                    f"{n}\tinstalled\t{'yes' if n in self.essential else 'no'}\t{', '.join(d)}"
                    for n, d in self.needs()
                )
                return Done(0, "".join(f"{row}\n" for row in rows), "", words)
            names = [w for w in words[4:] if w in self.have] if words[4:] else self.have
            return Done(0, "".join(f"{n}\tinstalled\t{self.have[n]}\n" for n in names), "", words)
        if words[0] == "apt-get" and "install" in words:
            self.policy.append((self.root / POLICY).exists())
            if self.fails:
                return Done(100, "", self.fails, words)
            for word in words[words.index("--allow-downgrades") + 1 :]:
                name, _, version = word.partition("=")
                self.have[name] = version or self.archive[name][0]
                self.have |= {d: self.archive[d][0] for d in self.archive[name][1]}
        if words[0] == "apt-get" and "remove" in words:
            for name in words[words.index("remove") + 1 :]:
                self.have.pop(name, None)
        return Done(0, "", "", words)

    def need(self, *words, **more):
        done = self.run(*words, **more)
        if not done.ok:
            raise StepFailed(done.err)
        return done.out


@pytest.fixture
def root(tmp_path):
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/os-release").write_text("ID=debian\nVERSION_CODENAME=bookworm\n")
    return tmp_path


@pytest.fixture
def apt(root, monkeypatch):
    apt = Apt(root)
    monkeypatch.setattr(packages, "run", apt.run)
    monkeypatch.setattr(packages, "need", apt.need)
    assert command.run is not apt.run
    return apt


WANT = {"release": "bookworm", "packages": {"docker.io": None, "keepalived": None}}


def test_missing_packages_are_installed_pinned_and_their_services_held_back(root, apt):
    step = Packages(root)
    assert [d.what for d in step.check(WANT)] == ["package docker.io", "package keepalived"]
    assert step.apply(WANT, print) == {"versions": {"docker.io": "20.10", "keepalived": "2.2"}}
    assert step.check(WANT) == []
    assert apt.policy == [True]
    assert not (root / POLICY).exists()
    assert "Package: docker.io\nPin: version 20.10\nPin-Priority: 1001" in (root / PINS).read_text()
    calls = len([c for c in apt.calls if "install" in c])
    step.apply(WANT, print)
    assert len([c for c in apt.calls if "install" in c]) == calls


def test_a_wanted_version_is_installed_and_a_drifted_one_is_told(root, apt):
    step = Packages(root)
    step.apply(WANT, print)
    apt.have["docker.io"] = "99"
    assert step.check(WANT)[0].what == "pinned versions"
    newer = {**WANT, "packages": {"docker.io": "24.0", "keepalived": None}}
    assert step.check(newer)[0].want == "24.0"
    step.apply(newer, print)
    assert apt.have["docker.io"] == "24.0"
    assert step.check(newer) == []


def test_undo_purges_what_it_brought_and_no_more(root, apt):
    apt.have["keepalived"] = "2.2"
    step = Packages(root)
    step.apply(WANT, print)
    assert (root / ADDED).exists()
    step.undo(WANT, print)
    assert apt.have == {"base": "1", "keepalived": "2.2"}
    step.undo(WANT, print)


def test_another_s_policy_stays_and_a_forgotten_one_of_ours_goes(root, apt):
    step = Packages(root)
    (root / POLICY).parent.mkdir(parents=True)
    (root / POLICY).write_text("#!/bin/sh\nexit 0\n")
    step.apply(WANT, print)
    assert (root / POLICY).read_text() == "#!/bin/sh\nexit 0\n"
    (root / POLICY).write_text(f"#!/bin/sh\n{packages.files.MARK}\nexit 101\n")
    assert step.check(WANT)[0].what == "services"
    step.apply(WANT, print)
    assert not (root / POLICY).exists()


def test_a_failed_install_says_why_and_leaves_no_policy(root, apt):
    apt.fails = "E: Unable to fetch some archives"
    with pytest.raises(StepFailed, match="Unable to fetch"):
        Packages(root).apply(WANT, print)
    assert not (root / POLICY).exists()
    assert any("update" in call for call in apt.calls)


@pytest.mark.parametrize(
    "text",
    [
        "ID=ubuntu\nVERSION_CODENAME=jammy\nPRETTY_NAME='Ubuntu 22.04'\n",
        "ID=debian\nVERSION_CODENAME=buster\n",
        "",
    ],
)
def test_other_systems_are_refused_for_good(root, apt, text):
    (root / "etc/os-release").write_text(text)
    with pytest.raises(StepFailed, match="bookworm and trixie") as refused:
        Packages(root).check(WANT)
    assert not refused.value.retry
    assert apt.calls == []


def test_a_release_that_the_cluster_does_not_want_is_refused(root, apt):
    with pytest.raises(StepFailed, match="trixie"):
        Packages(root).check({**WANT, "release": "trixie"})


def test_geo_replication_is_diverted(root, apt):
    path = root / "usr/libexec/glusterfs/gsyncd"
    path.parent.mkdir(parents=True)
    path.write_text("")
    step = Packages(root)
    assert "gsyncd" in {d.what for d in step.check(WANT)}
    step.apply(WANT, print)
    assert any(call[0] == "dpkg-divert" and "/usr/libexec/glusterfs/gsyncd" in call for call in apt.calls)


def test_undo_leaves_what_has_become_a_part_of_the_system(root, apt):
    step = Packages(root)
    step.apply(WANT, print)
    apt.essential = {"docker.io"}
    step.undo(WANT, print)
    assert apt.have == {"base": "1", "docker.io": "20.10", "runc": "1.1"}


def test_what_an_installation_that_was_cut_off_has_brought_is_ours_too(root, apt):
    step = Packages(root)
    apt.fails = "killed"
    with pytest.raises(StepFailed):
        step.apply(WANT, print)
    (root / packages.BEFORE).write_text('["base"]')
    apt.fails, apt.have["runc"] = "", "1.1"
    step.apply(WANT, print)
    step.undo(WANT, print)
    assert apt.have == {"base": "1"}


def test_an_installation_that_goes_on_is_waited_for(root, apt):
    lock = root / packages.LOCK
    lock.parent.mkdir(parents=True)
    lock.write_text("")
    code = (
        "import fcntl, sys, time; f = open(sys.argv[1], 'r+'); fcntl.lockf(f, fcntl.LOCK_EX);"
        "print('held', flush=True); time.sleep(1.5)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(lock)], stdout=subprocess.PIPE) as holder:
        assert holder.stdout.readline()
        told = []
        begun = time.monotonic()
        Packages(root).apply(WANT, told.append)
        assert time.monotonic() - begun > 0.8
        assert "waiting for another installation" in told[0]
