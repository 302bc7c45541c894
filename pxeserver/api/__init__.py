"""The HTTP API under /api/v1: typed routes in one registry, served on a unix socket.

app = build(hall, store, loaders, settings, worker)
runner = await serve(app, sock)         # ...; await runner.cleanup()
"""

from pxeserver.api.application import build, serve
from pxeserver.api.rooms import Seen, Worker

__all__ = ["Seen", "Worker", "build", "serve"]
