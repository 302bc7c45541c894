"""Acts on a running cluster: members added, drained, replaced, taken out; mended, stopped, taken down.

Each is a plan first; what cannot be planned is done at once (stop, look for drift) or confirmed (forget).
"""

from __future__ import annotations

from typing import Any

from aiohttp import web

from pxeserver.api.access.who import operate
from pxeserver.api.problems import Problem, ProblemView, as_problems
from pxeserver.api.routes import cluster_files, clusters
from pxeserver.api.schemas.clusters import CheckOrder, ClusterChange, ClusterDetail, PlanView
from webadmin import cluster_form as form
from webadmin.cluster_plan import grouped
from webadmin.fields import Fields
from webadmin.render import language_of, redirect, render
from webadmin.routing import Page, call, checked

ACTS = ("add", "drain", "undrain", "replace", "remove", "mend", "resume", "destroy", "forget")
ASKING = {
    "add": ("new",),
    "drain": ("node",),
    "undrain": ("node",),
    "remove": ("node",),
    "replace": ("node", "new"),
}
"""What has to be told beside the act: members, a node that is none yet."""
_AT_ONCE = ("stop", "check")


async def act(request: web.Request) -> web.Response:
    """One act: what it lacks is asked for, its plan is shown, then it is carried out."""
    posted = await request.post()
    fields = {name: str(value) for name, value in posted.items() if name != "csrf"}
    fields["node"] = " ".join(str(name) for name in posted.getall("node", []) if name)
    wanted = fields.get("act", "")
    shown = await clusters.show(call(request))
    if wanted in _AT_ONCE:
        return await _at_once(request, wanted, shown)
    if wanted not in ACTS:
        raise Problem(422, "no act is chosen", "the form names none", "Choose one", fields={"act": "unknown"})
    if any(not form.names(fields.get(name, "")) for name in ASKING.get(wanted, ())):
        return await _asking(request, shown, fields)
    if wanted == "forget":
        return await _forget(request, shown, fields)
    try:
        body = checked(ClusterChange, {**change_of(wanted, fields), "seen": fields.get("seen") or None})
        with as_problems():
            if fields.get("go"):
                return await _carry_out(request, shown, body)
            plan = await clusters.plan_change(call(request, body=body))
    except Problem as problem:
        if problem.status not in (409, 422):
            raise
        fields.pop("seen", None)
        return await _asking(request, shown, fields, problem.view)
    return await _asking(request, shown, fields, plan=plan)


def change_of(wanted: str, fields: dict[str, str]) -> dict[str, Any]:
    """The act as the API takes it."""
    members, lost = form.names(fields.get("node", "")), bool(fields.get("lost"))
    match wanted:
        case "replace":
            return {"replace": {members[0]: fields["new"].strip()}, "lost": lost}
        case "add":
            return {"add": form.names(fields["new"])}
        case "drain" | "undrain":
            return {wanted: members}
        case "remove":
            return {"remove": members, "lost": lost}
        case "destroy" | "mend":
            return {wanted: True}
    return {}


async def _carry_out(request: web.Request, shown: ClusterDetail, body: ClusterChange) -> web.Response:
    applied = await clusters.change(call(request, body=body))
    did = applied.changed or applied.retried or applied.mended
    said = "{name}: at work" if did else "{name}: nothing was to be changed"
    return redirect(f"/clusters/{shown.name}", language_of(request).text(said, name=shown.name))


async def _at_once(request: web.Request, wanted: str, shown: ClusterDetail) -> web.Response:
    speech = language_of(request)
    if wanted == "stop":
        await clusters.stop(call(request))
        said = speech.text("{name}: stopped; nothing more is begun until you let it go on", name=shown.name)
    else:
        found = await clusters.check(call(request, body=CheckOrder()))
        said = speech.text("{name}: {n} steps are looked at", name=shown.name, n=found.steps)
    return redirect(f"/clusters/{shown.name}", said)


async def _forget(request: web.Request, shown: ClusterDetail, fields: dict[str, str]) -> web.Response:
    if not fields.get("go"):
        return await _asking(request, shown, fields)
    await clusters.forget(call(request))
    return redirect("/clusters", language_of(request).text("{name}: forgotten", name=shown.name))


async def _asking(
    request: web.Request,
    shown: ClusterDetail,
    fields: dict[str, str],
    problem: ProblemView | None = None,
    plan: PlanView | None = None,
) -> web.Response:
    free = [one for one in await cluster_files.candidates(call(request)) if not one.cluster]
    drained, drifts = shown.adjusted.get("drain", ()), []
    if fields.get("act") == "mend":
        drifts = [(n.name, line) for n in (await clusters.status(call(request))).nodes for line in n.drift]
    return render(
        request,
        "cluster/act.html",
        status=problem.status if problem else 200,
        cluster=shown,
        act=fields.get("act", ""),
        fields=Fields(fields),
        marked=form.names(fields.get("node", "")),
        members=[m for m in shown.members if (m in drained) == (fields.get("act") == "undrain")]
        if fields.get("act") in ("drain", "undrain")
        else shown.members,
        free=free,
        drifts=drifts,
        asking=ASKING.get(fields.get("act", ""), ()),
        problem=problem,
        faults=form.faults(problem.fields) if problem else [],
        plan=plan,
        groups=grouped(plan) if plan else [],
    )


_NEED = operate("cluster", within_labels=True)
PAGES = (Page("POST", "/clusters/{name}/act", act, _NEED),)
