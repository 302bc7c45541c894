"""The database's tables of the cluster stage: clusters, their members and steps, agents and their claims.

Steps are kept under the node's name, not its number: what was done on a node outlives the record of it until
it is undone. A member's name cannot be changed while it is one.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import ForeignKey, Index, LargeBinary
from sqlalchemy.orm import Mapped, mapped_column

from pxeserver.storage.tables import Base, Edited


class ClusterRow(Edited, Base):
    """A cluster as it was applied last."""

    __tablename__ = "clusters"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    text: Mapped[str]
    """The TOML as it was given."""
    spec: Mapped[dict[str, Any]]
    layout: Mapped[dict[str, Any]]
    state: Mapped[str] = mapped_column(default="applied")
    """applied, stopped, or destroying."""
    context: Mapped[dict[str, Any]]
    """What else the goal was made from: who leads, how often tokens were rotated."""


class ClusterMemberRow(Base):
    """A node of a cluster, or the place of one that is being taken out of it."""

    __tablename__ = "cluster_members"

    cluster_id: Mapped[int] = mapped_column(ForeignKey("clusters.id", ondelete="CASCADE"), primary_key=True)
    node: Mapped[str] = mapped_column(primary_key=True, unique=True)
    node_id: Mapped[int | None] = mapped_column(
        ForeignKey("nodes.id", ondelete="SET NULL"), unique=True, index=True
    )
    state: Mapped[str] = mapped_column(default="active")
    """active, drained, leaving, or lost: it leaves and can undo nothing itself."""
    boot: Mapped[str] = mapped_column(default="")
    """The kernel's boot id under which the steps were done."""
    facts: Mapped[dict[str, Any]]
    drift: Mapped[list[Any]]
    drift_at: Mapped[float | None]


class ClusterStepRow(Base):
    """Where one step of one node stands."""

    __tablename__ = "cluster_steps"

    cluster_id: Mapped[int] = mapped_column(ForeignKey("clusters.id", ondelete="CASCADE"), primary_key=True)
    node: Mapped[str] = mapped_column(primary_key=True)
    step: Mapped[str] = mapped_column(primary_key=True)
    status: Mapped[str]
    verb: Mapped[str]
    digest: Mapped[str]
    work_id: Mapped[str] = mapped_column(index=True)
    tries: Mapped[int]
    not_before: Mapped[float]
    started: Mapped[float]
    finished: Mapped[float]
    reason: Mapped[str]
    facts: Mapped[dict[str, Any]]
    secrets: Mapped[bytes] = mapped_column(LargeBinary)
    """Encrypted JSON; empty where there are none."""
    changed: Mapped[bool]
    log: Mapped[list[Any]]
    applied: Mapped[str]
    params: Mapped[dict[str, Any]]


class StackVersionRow(Base):
    """One version of a stack's file, so that any manager can deploy it again."""

    __tablename__ = "stack_versions"

    cluster_id: Mapped[int] = mapped_column(ForeignKey("clusters.id", ondelete="CASCADE"), primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True)
    file: Mapped[str]
    sha256: Mapped[str]
    created_by: Mapped[str]
    created_at: Mapped[float]


class AgentRow(Base):
    """The agent that speaks for a node."""

    __tablename__ = "agents"

    node_id: Mapped[int] = mapped_column(ForeignKey("nodes.id", ondelete="CASCADE"), primary_key=True)
    key: Mapped[str]
    """Its X25519 public key, base64."""
    token_sha256: Mapped[str] = mapped_column(unique=True)
    """Of the bearer token that it speaks with."""
    instance: Mapped[str] = mapped_column(default="")
    claimed_at: Mapped[float]
    seen: Mapped[float | None]
    address: Mapped[str] = mapped_column(default="")
    rung: Mapped[int] = mapped_column(default=1)
    """How sure its claim was."""
    frozen: Mapped[bool] = mapped_column(default=False)
    why: Mapped[str] = mapped_column(default="")
    """Why it is frozen."""
    facts: Mapped[dict[str, Any]]


class ClaimRow(Base):
    """A claim that a node may make, or has made: armed by a person or the policy, used once."""

    __tablename__ = "claims"

    id: Mapped[int] = mapped_column(primary_key=True)
    node_id: Mapped[int | None] = mapped_column(ForeignKey("nodes.id", ondelete="CASCADE"), index=True)
    kind: Mapped[str]
    """attempt or token."""
    attempt: Mapped[str] = mapped_column(default="", index=True)
    token_sha256: Mapped[str] = mapped_column(default="", index=True)
    armed_by: Mapped[str]
    armed_at: Mapped[float]
    expires: Mapped[float]
    used_at: Mapped[float | None]
    key: Mapped[str] = mapped_column(default="")
    address: Mapped[str] = mapped_column(default="")
    state: Mapped[str]
    why: Mapped[str] = mapped_column(default="")
    facts: Mapped[dict[str, Any]]
    """What the claimant told of its machine."""

    __table_args__ = (Index("ix_claims_waiting", "state", "expires"),)
