"""What needs somebody's attention now, each with the next step: the top of the overview."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from pxeserver.api.access.who import Who
from pxeserver.api.schemas.boots import StatusView
from pxeserver.api.schemas.clusters import ClusterView
from pxeserver.api.schemas.live import LiveBoots
from webadmin import diagnoses
from webadmin.catalogues import Language

_CLUSTERS = {
    "failed": (
        "fail",
        "A step of cluster {name} failed",
        "Look at its members: each step has its log and its reason.",
    ),
    "away": ("wait", "Members of cluster {name} are away", "Look whether they run and reach this server."),
    "drifted": (
        "wait",
        "Cluster {name} is no longer as it was planned",
        "Look at the drift, then apply it again.",
    ),
}
_MANY = 5
"""Kinds of trouble of boots that are told one by one."""


@dataclass(frozen=True, slots=True)
class Alarm:
    """One thing that needs attention."""

    tone: str
    """fail or wait."""
    what: str
    step: str
    """The next step."""
    url: str = ""
    """Where that is done."""
    why: str = ""
    """The likely causes."""


def alarms(
    who: Who | None,
    server: StatusView,
    boots: LiveBoots,
    clusters: Iterable[ClusterView],
    speech: Language,
) -> list[Alarm]:
    """All of them, the gravest first."""
    found = [*_server(server, speech), *_boots(boots, speech)]
    for cluster in clusters:
        if cluster.state in _CLUSTERS:
            tone, what, step = _CLUSTERS[cluster.state]
            url = f"/clusters/{cluster.name}"
            found.append(Alarm(tone, speech.text(what, name=cluster.name), speech.text(step), url))
    if who is not None and who.kind == "demo":
        what = speech.text("The password of {name} is still the well-known one", name=who.name)
        step = speech.text("Set another: until then the server can only be changed from its own host.")
        found.append(Alarm("wait", what, step, "/settings"))
    return sorted(found, key=lambda alarm: alarm.tone != "fail")


def _server(server: StatusView, speech: Language) -> Iterable[Alarm]:
    for problem in server.problems:
        what, _, step = problem.partition("; ")
        if not step:
            what, _, step = problem.partition(": ")
        yield Alarm("fail", what, step)
    if server.dry_run:
        what = speech.text("The server runs dry: no machine is answered")
        step = speech.text(
            "It says in the log what it would do; start it without --dry-run, or switch that off."
        )
        yield Alarm("wait", what, step, "/settings")
    if server.counts.unknown_machines:
        text = speech.count(
            "A machine is not known yet", "{n} machines are not known yet", server.counts.unknown_machines
        )
        step = speech.text("Approve those that are yours; compare the code on their screens.")
        yield Alarm("wait", text, step, "/nodes?unknown=1")


def _boots(boots: LiveBoots, speech: Language) -> Iterable[Alarm]:
    stuck = [boot for boot in boots.rows if boot.standing == "stuck"]
    kinds = Counter(boot.diagnosis for boot in stuck)
    for code, count in kinds.most_common(_MANY):
        one = next(boot for boot in stuck if boot.diagnosis == code)
        seen, likely = diagnoses.causes(speech, code, one.text)
        if count == 1:
            what = speech.text("{name} is stuck: {text}", name=one.node or one.mac, text=seen)
        else:
            what = speech.text("{n} machines are stuck alike: {text}", n=count, text=seen)
        why = speech.text("Likely: {causes}", causes=likely) if likely else ""
        step = diagnoses.told(speech, code, one.next_step)
        yield Alarm("fail", what, step, f"/boots/{one.id}" if count == 1 else "/boots", why)
    rest = sum(count for _, count in kinds.most_common()[_MANY:])
    if rest:
        step = speech.text("Look at each.")
        yield Alarm(
            "fail",
            speech.count("One more machine is stuck", "{n} more machines are stuck", rest),
            step,
            "/boots",
        )
