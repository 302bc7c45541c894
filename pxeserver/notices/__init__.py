"""Alarms told to people where they are: webhooks, mail, chats.

Nothing here is waited for: whoever cannot be reached is tried again for a while, and what waits is bounded.
"""

from pxeserver.notices.alarms import KINDS, Alarm
from pxeserver.notices.post import Post
from pxeserver.notices.result import Result
from pxeserver.notices.targets import Target, Targets

__all__ = ["KINDS", "Alarm", "Post", "Result", "Target", "Targets"]
