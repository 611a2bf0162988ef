"""Tenants: who shares nothing with anybody else. The platform makes them, bounds them and ends them."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from pydantic import Field, StringConstraints

from domain.actors import Actor
from domain.base import Contract, Count, Sha256, TenantId, UtcTime
from domain.blobs import BlobRef
from domain.ids import ClientId

Plan = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,31}$")]
"""What the tenant has agreed to, by name; nothing here depends on it."""

Region = Annotated[str, StringConstraints(pattern=r"^[a-z0-9-]{1,32}$")]
"""As the processes of a region are told in REGION."""


class TenantLimits(Contract):
    """What a tenant may use. Null: no limit of its own."""

    requests_per_minute: int | None = Field(default=None, ge=1, le=10_000_000)


class TenantView(Contract):
    """A tenant as it reads. It is served in its `residency`, or anywhere when that is empty."""

    tenant_id: TenantId
    name: str
    plan: Plan
    limits: TenantLimits
    residency: tuple[Region, ...]
    version: Count
    created_at: UtcTime
    updated_at: UtcTime
    deleted_at: UtcTime | None


class TenantTerms(Contract):
    """What the edge holds a tenant to."""

    requests_per_minute: int | None = None
    residency: tuple[str, ...] = ()


class TenantInput(Contract):
    """Argument of `tenant.create`: the tenant and its first client, which is an admin. The actor is the platform's."""

    tenant_id: TenantId
    actor: Actor
    name: BlobRef
    plan: Plan
    limits: TenantLimits
    residency: tuple[Region, ...]
    client_id: ClientId
    digest: Sha256


class TenantOutcome(Contract):
    """Result of `tenant.create`: the digest of the first client's secret as it stands, which is the first attempt's."""

    digest: Sha256


class TenantChangeInput(Contract):
    """Argument of `tenant.change`: what is None stays. `expected` are the versions it may be made of; None: any."""

    change_id: UUID
    tenant_id: TenantId
    actor: Actor
    name: BlobRef | None = None
    plan: Plan | None = None
    limits: TenantLimits | None = None
    residency: tuple[Region, ...] | None = None
    expected: tuple[int, ...] | None = None


class TenantDeletionInput(Contract):
    """Argument of `tenant.delete`."""

    tenant_id: TenantId
    actor: Actor
