"""A way to package mirrors for a namespace without any route: an HTTP proxy on its loopback.

The listening socket is made inside the namespace, and served by this process, which is outside: nothing
but what is asked of the proxy leaves the namespace, no packet of the server in it among that.
"""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from types import TracebackType
from urllib.parse import urlsplit

from pxeserver.lab.netns import Namespace

PORT = 3128


class WayOut:
    """The proxy; `asked` are the hosts that were asked for. Use it as a context manager."""

    def __init__(self, space: Namespace) -> None:
        self.asked: list[str] = []
        self.environ = {f"{name}_proxy": f"http://127.0.0.1:{PORT}" for name in ("http", "https")}
        self._socket = space.call(lambda: socket.create_server(("127.0.0.1", PORT)))
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._client, args=(client,), daemon=True).start()

    def _client(self, client: socket.socket) -> None:
        """One request of each connection: what comes after it goes to the same host, which apt relies on."""
        with client, suppress(OSError, ValueError):
            client.settimeout(60)
            head = b""
            while b"\r\n\r\n" not in head and len(head) < 1 << 16:
                head += client.recv(4096) or b"\r\n\r\n"
            method, target, _ = head.split(b"\r\n", 1)[0].decode().split(" ")
            parts = urlsplit(f"//{target}" if method == "CONNECT" else target)
            self.asked.append(str(parts.hostname))
            with socket.create_connection((str(parts.hostname), parts.port or 80), 30) as host:
                if method == "CONNECT":
                    client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
                else:
                    # A host takes an absolute address in the request line as well (RFC 9112 section 3.2.2).
                    host.sendall(head)
                back = threading.Thread(target=_copy, args=(host, client), daemon=True)
                back.start()
                _copy(client, host)
                back.join()

    def __enter__(self) -> WayOut:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join(5)


def _copy(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(1 << 16):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)
