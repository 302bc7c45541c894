"""The control process's hall: edits, what the boot worker tells, and who watches.

Machines boot without it: the worker has its own snapshot and journal. What is here may therefore say "not
now".
"""

from pxeserver.live.edit import SERVER
from pxeserver.live.errors import Conflict, Missing, Refused, Unavailable
from pxeserver.live.hall import Hall
from pxeserver.live.health import Trouble
from pxeserver.live.link import WorkerLink
from pxeserver.live.loss import WorkerKnows

__all__ = [
    "SERVER",
    "Conflict",
    "Hall",
    "Missing",
    "Refused",
    "Trouble",
    "Unavailable",
    "WorkerKnows",
    "WorkerLink",
]
