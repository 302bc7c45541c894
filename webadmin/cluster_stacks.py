"""What runs on a cluster: stacks and Compose projects with their state, versions and logs; deploying more."""

from __future__ import annotations

import asyncio
from typing import Any

from aiohttp import web

from pxeserver.api.access.who import look, operate
from pxeserver.api.problems import Problem, ProblemView, as_problems
from pxeserver.api.routes import cluster_files, cluster_logs, cluster_stacks, clusters
from pxeserver.api.schemas.cluster_files import Deploy
from pxeserver.api.schemas.cluster_outline import ProjectView
from pxeserver.api.schemas.clusters import ClusterChange, ClusterDetail, PlanView, StatusView, StepView
from webadmin import cluster_form as form
from webadmin.cluster_plan import grouped
from webadmin.clusters import TONES, took
from webadmin.fields import Fields
from webadmin.render import language_of, redirect, render
from webadmin.routing import Page, call, checked, wants_fragment

EXAMPLE = """\
version: "3.8"
services:
  web:
    image: nginx
    ports: ["80:80"]
"""


async def page(request: web.Request) -> web.Response:
    """All of them; for htmx only the list."""
    asked = call(request)
    shown, status = await clusters.show(asked), await clusters.status(asked)
    versions = {stack.name: stack for stack in shown.stacks}
    rows = [(p, step_of(p, status), versions.get(p.name)) for p in shown.outline.projects]
    template = "cluster/stacks-list.html" if wants_fragment(request) else "cluster/stacks.html"
    return render(request, template, cluster=shown, rows=rows, tones=TONES, took=took)


def step_of(project: ProjectView, status: StatusView) -> StepView | None:
    """The step that deploys it: the leader's for stacks, the member's own for Compose projects."""
    wanted = "stacks" if project.kind == "stack" else "compose"
    place = status.leader if project.kind == "stack" else project.node
    steps = [s for node in status.nodes for s in node.steps if s.step == wanted and s.verb != "undo"]
    return next(
        (s for s in steps if s.node == place), steps[0] if steps and project.kind == "stack" else None
    )


async def stack(request: web.Request) -> web.Response:
    """One stack in all its versions."""
    asked = call(request)
    shown, status = await clusters.show(asked), await clusters.status(asked)
    versions = await cluster_stacks.versions(asked)
    project = next(
        (p for p in shown.outline.projects if p.kind == "stack" and p.name == asked.part("stack")), None
    )
    step = step_of(project, status) if project is not None else None
    log = await cluster_logs.log_of(asked, step.node, step.step) if step is not None else None
    return render(
        request,
        "cluster/stack.html",
        cluster=shown,
        name=asked.part("stack"),
        project=project,
        versions=versions,
        services=await cluster_stacks.services(asked),
        now_there=next((v for v in versions if v.current), None),
        step=log,
        tones=TONES,
        took=took,
    )


async def roll_back(request: web.Request) -> web.Response:
    """Go back to an earlier version: its plan first."""
    fields = {name: str(value) for name, value in (await request.post()).items() if name != "csrf"}
    asked = call(request)
    name, shown = asked.part("stack"), await clusters.show(asked)
    given = {"stacks": {name: fields.get("version", "")}, "seen": fields.get("seen") or None}
    body = checked(ClusterChange, given)
    if fields.get("go"):
        await clusters.change(call(request, body=body))
        said = language_of(request).text("{name}: goes back to version {n}", name=name, n=body.stacks[name])
        return redirect(f"/clusters/{shown.name}/stacks/{name}", said)
    plan = await clusters.plan_change(call(request, body=body))
    return _planned(request, shown, plan, fields, f"/clusters/{shown.name}/stacks/{name}/rollback")


# ---------------------------------------------------------------------------------------------- deploying


async def deploy_form(request: web.Request) -> web.Response:
    """A new stack or project; with ?name= one that is there, to be changed."""
    asked = call(request)
    shown, name = await clusters.show(asked), request.query.get("name", "")
    kind = "compose" if request.query.get("kind") == "compose" else "stack"
    fields = {"kind": kind, "name": name[:63], "node": request.query.get("node", "")[:63], "file": EXAMPLE}
    project = next(
        (p for p in shown.outline.projects if (p.kind, p.name, p.node) == (kind, name, fields["node"])), None
    )
    if project is not None:
        files = (await cluster_files.show_file(asked)).files
        fields |= {"file": files.get(project.file, ""), "env": _lines(project.env), "there": "1"}
    return _form(request, shown, fields)


async def deploy(request: web.Request) -> web.Response:
    """Plan it, then carry it out."""
    posted = await request.post()
    fields = {name: str(v) for name, v in posted.items() if isinstance(v, str) and name != "csrf"}
    chosen = posted.get("upload")
    if isinstance(chosen, web.FileField) and chosen.filename:
        fields["file"] = (await asyncio.to_thread(chosen.file.read)).decode("utf-8", "replace")
    shown = await clusters.show(call(request))
    if fields.get("go") == "back":
        return _form(request, shown, fields)
    try:
        body = checked(Deploy, _told(fields))
        with as_problems():
            if fields.get("go"):
                await cluster_files.deploy(call(request, body=body))
                said = "{name}: is taken away" if body.remove else "{name}: is deployed"
                return redirect(
                    f"/clusters/{shown.name}/stacks", language_of(request).text(said, name=body.name)
                )
            plan = await cluster_files.plan_deploy(call(request, body=body))
    except Problem as problem:
        if problem.status not in (404, 409, 422):
            raise
        return _form(request, shown, fields, problem.view)
    return _planned(request, shown, plan, fields, f"/clusters/{shown.name}/deploy")


def _told(fields: dict[str, str]) -> dict[str, Any]:
    env: dict[str, str] = {}
    for line in fields.get("env", "").splitlines():
        key, equals, value = line.strip().partition("=")
        if line.strip() and not (key and equals):
            why = f"{line.strip()[:80]} is not NAME=value"
            raise Problem(422, "the variables are refused", why, "Correct it", fields={"env": why})
        if key:
            env[key] = value
    kind = fields.get("kind", "stack")
    return {
        "kind": kind,
        "name": fields.get("name", "").strip(),
        "node": fields.get("node", "").strip() if kind == "compose" else "",
        "file": fields.get("file", "").replace("\r\n", "\n"),
        "env": env,
        "remove": bool(fields.get("remove")),
        "seen": fields.get("seen") or None,
    }


def _lines(env: dict[str, str]) -> str:
    return "\n".join(f"{key}={value}" for key, value in env.items())


def _form(
    request: web.Request, shown: ClusterDetail, fields: dict[str, str], problem: ProblemView | None = None
) -> web.Response:
    found = form.faults(problem.fields) if problem else []
    beside = {fault.key.rpartition(".")[2]: fault.text for fault in found if fault.key}
    return render(
        request,
        "cluster/deploy.html",
        status=problem.status if problem else 200,
        cluster=shown,
        fields=Fields(fields),
        members=[("", "–"), *((name, name) for name in shown.members)],
        problem=problem,
        faults=Fields(beside | (problem.fields if problem else {})),
        listed=[fault for fault in found if fault.key],
    )


def _planned(
    request: web.Request, shown: ClusterDetail, plan: PlanView, fields: dict[str, str], action: str
) -> web.Response:
    return render(
        request,
        "cluster/planned.html",
        cluster=shown,
        plan=plan,
        groups=grouped(plan),
        fields={k: v for k, v in fields.items() if k not in ("seen", "go")},
        action=action,
    )


_ONE = "/clusters/{name}"
_NEED = operate("cluster", within_labels=True)
PAGES = (
    Page("GET", _ONE + "/stacks", page, look("cluster")),
    Page("GET", _ONE + "/stacks/{stack}", stack, look("cluster")),
    Page("POST", _ONE + "/stacks/{stack}/rollback", roll_back, _NEED),
    Page("GET", _ONE + "/deploy", deploy_form, _NEED),
    Page("POST", _ONE + "/deploy", deploy, _NEED),
)
