"""Events of API keys and of revocations."""

from __future__ import annotations

from typing import ClassVar, Final

from domain.base import UtcTime
from domain.event_data.base import EventData
from domain.ids import ApiKeyId, RevocationId
from domain.names import EventType, Topic
from domain.revocations import RevocationKind


class OfApiKey(EventData):
    """An event on an API key; its subject is the key's id."""

    topic: ClassVar[Topic] = Topic.IDENTITY_EVENTS

    key_id: ApiKeyId
    client_id: str
    subject: str

    @property
    def about(self) -> str:
        return self.key_id


class ApiKeyCreated(OfApiKey):
    """An API key was made."""

    event_type: ClassVar[EventType] = EventType.API_KEY_CREATED

    scopes: tuple[str, ...]
    expires_at: UtcTime | None = None


class ApiKeyRevoked(OfApiKey):
    """An API key opens nothing any more."""

    event_type: ClassVar[EventType] = EventType.API_KEY_REVOKED


class RevocationCreated(EventData):
    """Tokens are refused from now on: those that `kind` and `value` name and that were issued at `before` or earlier."""

    event_type: ClassVar[EventType] = EventType.REVOCATION_CREATED
    topic: ClassVar[Topic] = Topic.IDENTITY_EVENTS

    revocation_id: RevocationId
    kind: RevocationKind
    value: str | None
    before: UtcTime
    subject: str

    @property
    def about(self) -> str:
        return self.revocation_id


EVENTS: Final = (
    ApiKeyCreated,
    ApiKeyRevoked,
    RevocationCreated,
)
