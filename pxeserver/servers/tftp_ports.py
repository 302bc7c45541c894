"""Ports of their own for transfers, out of a range (RFC 1350 section 4)."""

from __future__ import annotations

import errno
import logging
import random

from pxeserver.servers import tftp_socket
from pxeserver.servers.tftp_socket import TftpSocket

log = logging.getLogger(__name__)

_TRIES = 50


def bind_within(ports: tuple[int, int], local: str, client: str) -> TftpSocket | None:
    """A new socket on our address `local` with a random free port of the range, both ends included; None with
    no port or descriptor free."""
    first, last = ports
    choice = range(first, last + 1)
    for port in random.sample(choice, min(len(choice), _TRIES)):
        try:
            return tftp_socket.bind(local, port, shared=False)
        except OSError as fault:
            if fault.errno in (errno.EMFILE, errno.ENFILE):
                log.error("tftp no socket for a transfer address=%s error=%s", client, fault)
                return None
    return None
