"""Many nodes at once: one act on them, files of them; and the script that one of them would get."""

from __future__ import annotations

from typing import Annotated, Literal

from aiohttp import web
from pydantic import Field

from pxeserver.api.access.who import look, operate
from pxeserver.api.node_acts import NodesAct, NodesActed, act_on_nodes
from pxeserver.api.node_boot import PreviewQuery, ScriptPreview, preview
from pxeserver.api.node_files import write_csv, write_json
from pxeserver.api.node_import import NodesFile, NodesTaken, import_nodes
from pxeserver.api.node_list import NodesAsked, select
from pxeserver.api.routing import Call, Route


class ExportQuery(NodesAsked):
    """Which nodes, and as what; the page is left aside."""

    format: Annotated[Literal["csv", "json"], Field()] = "json"


async def export_nodes(call: Call) -> web.Response:
    """The nodes as a file, which can be taken again."""
    query: ExportQuery = call.query
    nodes = [row.node for row in await select(call, query)]
    as_csv = query.format == "csv"
    return web.Response(
        text=write_csv(nodes) if as_csv else write_json(nodes),
        content_type="text/csv" if as_csv else "application/json",
        charset="utf-8",
        headers={"Content-Disposition": f'attachment; filename="nodes.{query.format}"'},
    )


ROUTES = (
    Route(
        "POST",
        "/node-acts",
        act_on_nodes,
        "One act on many nodes",
        "node",
        NodesActed,
        body=NodesAct,
        need=operate("node", within_labels=True),
    ),
    Route(
        "GET",
        "/node-files",
        export_nodes,
        "Nodes as a file",
        "node",
        query=ExportQuery,
        need=look("node"),
    ),
    Route(
        "POST",
        "/node-files",
        import_nodes,
        "Take a file of nodes",
        "node",
        NodesTaken,
        body=NodesFile,
        need=operate("node", within_labels=True),
    ),
    Route(
        "GET",
        "/nodes/{name}/script",
        preview,
        "The script that a node would get",
        "node",
        ScriptPreview,
        query=PreviewQuery,
        need=look("node"),
    ),
)
