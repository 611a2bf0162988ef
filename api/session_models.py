"""Bodies of the session routes."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from api.edge_types import NO_OTHER_KEYS, MetadataKey, MetadataValue, Name, Prompt
from domain.base import Contract
from domain.decisions import Decision
from domain.ids import DocumentId, SessionId, TurnId
from domain.sessions import DEFAULT_ROLE, SessionStatus, SessionView, TurnStatus, TurnView

Role = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")]


class StartBody(Contract):
    """What a session starts with; everything may be left out."""

    prompt: Prompt | None = Field(default=None, examples=["Which port does the gateway listen on?"])
    documents: tuple[DocumentId, ...] = Field(default=(), max_length=50)
    persona: Name | None = Field(default=None, examples=["librarian"])
    model_role: Role = DEFAULT_ROLE
    metadata: dict[MetadataKey, MetadataValue] = Field(default_factory=dict, max_length=32, json_schema_extra=dict(NO_OTHER_KEYS))


class CapabilityToken(Contract):
    """An access token for this session alone."""

    access_token: str
    token_type: str = Field(default="Bearer")
    expires_in: int = Field(description="Seconds.")
    scope: str


class SessionStarted(Contract):
    """A started session. `turn` is there when it was started with a prompt; `reply` once that turn is answered."""

    session_id: SessionId
    workflow_id: str
    run_id: str
    status: SessionStatus
    decision: Decision
    capability: CapabilityToken | None = Field(default=None, description="Null while an approver is waited for.")
    turn_id: TurnId | None = None
    turn_url: str | None = None
    turn_status: TurnStatus | None = None
    reply: str | None = None
    model: str | None = None
    temporal_url: str | None = Field(default=None, description="The run in Temporal's web UI, where one is configured.")


class MessageBody(Contract):
    """One message."""

    content: Prompt = Field(examples=["And which port are its metrics on?"])


class TurnAccepted(Contract):
    """A turn that will be answered, or one that is."""

    turn: TurnView
    turn_url: str


class SessionPage(Contract):
    """Sessions, newest first."""

    sessions: tuple[SessionView, ...]
    next: str | None = Field(description="Cursor of the next page; null on the last.")


class Transcript(Contract):
    """A session and a page of its turns, in order."""

    session: SessionView
    turns: tuple[TurnView, ...]
    next: int | None = Field(description="`after` of the next page; null on the last.")


class TurnStopped(Contract):
    """The turn that was stopped; null when none ran."""

    turn: TurnView | None
