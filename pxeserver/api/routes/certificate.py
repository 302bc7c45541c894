"""What this server is known by: the certificate of the admin plane, and of the authority that signed it."""

from __future__ import annotations

from aiohttp import web

from pxeserver.api.access.who import PUBLIC, look
from pxeserver.api.problems import Problem
from pxeserver.api.rooms import Certificate
from pxeserver.api.routing import Call, Route
from pxeserver.api.schemas.access import CertificateView

_PEM = "application/x-pem-file"


def certificate(call: Call) -> Certificate:
    """The certificate of now; 503 where there is none."""
    found = call.rooms.certificate()
    if found is None:
        step = "Set admin.enabled = true and start the server again"
        raise Problem(503, "there is no certificate", "nothing listens for browsers here", step)
    return found


async def show(call: Call) -> CertificateView:
    """The certificate that browsers are shown."""
    found = certificate(call)
    return CertificateView(
        sha256=found.sha256,
        names=found.names,
        not_after=found.not_after,
        issuer=found.issuer,
        own=bool(found.authority),
        authority_sha256=found.authority_sha256,
        problem=found.problem,
    )


async def authority(call: Call) -> web.Response:
    """The certificate of the server's own authority, for the browser's or the system's list of trusted
    ones."""
    found = certificate(call)
    if not found.authority:
        why = "this server's certificate is by another authority"
        raise Problem(404, "there is no such file", why, "Ask whoever made the certificate")
    return web.Response(
        text=found.authority,
        content_type=_PEM,
        headers={"Content-Disposition": 'attachment; filename="pxeserver-ca.pem"'},
    )


ROUTES = (
    Route(
        "GET",
        "/certificate",
        show,
        "Show the certificate",
        "server",
        CertificateView,
        need=look("server"),
    ),
    Route("GET", "/ca.pem", authority, "Fetch the own authority", "server", media=_PEM, need=PUBLIC),
)
