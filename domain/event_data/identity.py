"""Events of roles, clients and tenants."""

from __future__ import annotations

from typing import ClassVar, Final

from domain.base import Count, TenantId, UtcTime
from domain.event_data.base import EventData
from domain.ids import ClientId, RoleId
from domain.names import EventType, Topic


class OfIdentity(EventData):
    """An event on who may do what. `subject` is who did it."""

    topic: ClassVar[Topic] = Topic.IDENTITY_EVENTS

    subject: str


class OfRole(OfIdentity):
    """An event on a role of the tenant's; its subject is the role's id."""

    role_id: RoleId
    name: str

    @property
    def about(self) -> str:
        return self.role_id


class RoleCreated(OfRole):
    """A role was made."""

    event_type: ClassVar[EventType] = EventType.ROLE_CREATED

    capabilities: tuple[str, ...]


class RoleReplaced(OfRole):
    """A role opens these from now on, for everybody who has it."""

    event_type: ClassVar[EventType] = EventType.ROLE_REPLACED

    capabilities: tuple[str, ...]
    version: Count


class RoleDeleted(OfRole):
    """A role that nobody had is gone."""

    event_type: ClassVar[EventType] = EventType.ROLE_DELETED


class OfClient(OfIdentity):
    """An event on a client; its subject is the client's id."""

    client_id: ClientId

    @property
    def about(self) -> str:
        return self.client_id


class ClientCreated(OfClient):
    """A client was made."""

    event_type: ClassVar[EventType] = EventType.CLIENT_CREATED

    scopes: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()


class ClientChanged(OfClient):
    """A client has another name, or may do these from now on."""

    event_type: ClassVar[EventType] = EventType.CLIENT_CHANGED

    scopes: tuple[str, ...]
    roles: tuple[str, ...]
    version: Count


class ClientRotated(OfClient):
    """A client has a new secret. The former one opens until then; null: no longer."""

    event_type: ClassVar[EventType] = EventType.CLIENT_ROTATED

    former_until: UtcTime | None = None
    version: Count


class ClientDisabled(OfClient):
    """A client ended, with its tokens and API keys."""

    event_type: ClassVar[EventType] = EventType.CLIENT_DISABLED


class OfTenant(OfIdentity):
    """An event on the tenant itself, which is its subject; the platform did it."""

    tenant_id: TenantId

    @property
    def about(self) -> str:
        return self.tenant_id


class TenantCreated(OfTenant):
    """A tenant was made, with its first client."""

    event_type: ClassVar[EventType] = EventType.TENANT_CREATED

    plan: str
    client_id: ClientId


class TenantChanged(OfTenant):
    """A tenant has another name, plan, limit or residency."""

    event_type: ClassVar[EventType] = EventType.TENANT_CHANGED

    plan: str
    requests_per_minute: Count | None = None
    residency: tuple[str, ...] = ()
    version: Count


class TenantDeleted(OfTenant):
    """A tenant ended: its tokens, keys and runs are refused."""

    event_type: ClassVar[EventType] = EventType.TENANT_DELETED


EVENTS: Final = (
    RoleCreated,
    RoleReplaced,
    RoleDeleted,
    ClientCreated,
    ClientChanged,
    ClientRotated,
    ClientDisabled,
    TenantCreated,
    TenantChanged,
    TenantDeleted,
)
