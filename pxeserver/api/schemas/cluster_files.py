"""What cluster files are made with: candidates, the file as it stands, stacks and projects to deploy."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from pxeserver.api.schemas.clusters import FileText, StackName
from pxeserver.api.schemas.fields import Body, View
from pxeserver.postinstall.layout import Candidate


class CandidateView(View):
    """A node that is or may become a member."""

    name: str
    joined: bool
    """Its agent has claimed: it can be worked on at once."""
    address: str
    """With prefix length; empty while it has not told it."""
    cluster: str
    """The cluster that it belongs to; empty where it is free."""
    diskless: bool
    """It keeps no state over a restart."""
    empty_disks: int
    """Disks without anything on them."""
    labels: dict[str, str]


class ClusterFileView(View):
    """A cluster file, and the files that it names."""

    text: str
    """TOML."""
    files: dict[str, str]
    """The content of Compose and stack files, by the names that the cluster file uses."""


class Deploy(Body):
    """A stack or a Compose project, put into the cluster file or taken out of it."""

    kind: Literal["stack", "compose"] = "stack"
    name: StackName
    node: Annotated[str, Field(max_length=63)] = ""
    """The member of a Compose project."""
    file: FileText = ""
    """The content of the stack or Compose file."""
    env: Annotated[dict[str, str], Field(max_length=256)] | None = None
    """Variables for the file; None: as they were."""
    remove: bool = False
    """Take it away."""
    seen: str | None = None
    """The plan's token: refused where it would do something else."""


def candidate_view(one: Candidate, *, joined: bool) -> CandidateView:
    """A candidate as the API shows it."""
    return CandidateView(
        name=one.name,
        joined=joined,
        address=one.address,
        cluster=one.cluster,
        diskless=one.diskless,
        empty_disks=sum(not disk.signatures for disk in one.disks or ()),
        labels=dict(one.labels),
    )
