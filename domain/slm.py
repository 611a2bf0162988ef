"""A model request of its own: what callers queue, what becomes of it, and how it reads. References and ids only in a history."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

from pydantic import Field

from domain.actors import Actor
from domain.base import Contract, Count, Sha256, TenantId, UtcTime
from domain.blobs import BlobRef
from domain.budgets import BudgetKey
from domain.decisions import Decision, GateRequest
from domain.ids import DecisionId, SlmRequestId
from domain.models import Candidate, ChatMessage, JsonSchemaFormat, ModelSettings, SlmAnswer, ToolDefinition, Usage
from domain.names import Lane
from domain.routing import Route
from domain.sessions import TurnError

PARTS = "\x1e"
"""Joins the texts of a request into the one text the gate looks at. No text that comes in may hold it, so that a transformed
text is taken apart again where it was joined."""


class SlmKind(StrEnum):
    """What a request asks for."""

    COMPLETE = "complete"
    EMBED = "embed"


class SlmStatus(StrEnum):
    """A request's way. `awaiting_budget`: paused until a budget has room. `unknown`: it ended without anybody knowing how."""

    PENDING = "pending"
    AWAITING_APPROVAL = "awaiting_approval"
    RUNNING = "running"
    AWAITING_BUDGET = "awaiting_budget"
    COMPLETED = "completed"
    DENIED = "denied"
    FAILED = "failed"
    CANCELLED = "cancelled"
    UNKNOWN = "unknown"


FINAL_SLM_STATUSES = frozenset({SlmStatus.COMPLETED, SlmStatus.DENIED, SlmStatus.FAILED, SlmStatus.CANCELLED, SlmStatus.UNKNOWN})


class ChatInput(Contract):
    """The input blob of a completion."""

    messages: tuple[ChatMessage, ...] = Field(min_length=1)
    settings: ModelSettings = ModelSettings()
    tools: tuple[ToolDefinition, ...] = ()
    tool_choice: str = "auto"
    parallel_tool_calls: bool = True
    format: JsonSchemaFormat | None = None
    max_output_tokens: Count = 1024

    def texts(self) -> tuple[str, ...]:
        """Every text a caller wrote, in order: contents, and the arguments of tool calls."""
        return tuple(text for message in self.messages for text in _texts(message))

    def with_texts(self, texts: tuple[str, ...]) -> ChatInput:
        """The same with these texts in their places. Raises ValueError when there are more or fewer."""
        given = iter(texts)
        messages = tuple(_filled(message, [next(given) for _ in _texts(message)]) for message in self.messages)
        return self.model_copy(update={"messages": messages})


class EmbeddingInput(Contract):
    """The input blob of an embedding."""

    texts: tuple[str, ...] = Field(min_length=1, max_length=2048)
    dimensions: int | None = Field(default=None, ge=1, le=8192)


class EmbeddingOutput(Contract):
    """The reply blob of an embedding."""

    vectors: tuple[tuple[float, ...], ...]


class SlmRequestInput(Contract):
    """Argument of the workflow `slm.request`. `model` pins a model; without it the role's profile decides."""

    request_id: SlmRequestId
    actor: Actor
    kind: SlmKind = SlmKind.COMPLETE
    role: str
    model: Candidate | None = None
    input: BlobRef
    text: BlobRef
    """The texts of the input joined by `PARTS`, which is what the gate looks at."""
    messages: Count = 1
    images: Count = 0
    needs: tuple[str, ...] = ()
    """Capabilities the request needs."""
    max_output_tokens: Count = 1024
    lane: Lane = Lane.INTERACTIVE
    keys: tuple[BudgetKey, ...] = ()
    deadline_seconds: int = Field(default=900, ge=1, le=86_400)
    on_exhausted: Literal["stop", "ask"] = "stop"
    stream: bool = False
    region: str
    approval_seconds: int = Field(default=86_400, ge=1)


class OpenSlmCall(Contract):
    """Argument of `slm.open`."""

    input: SlmRequestInput
    request: GateRequest
    decision_id: DecisionId


class OpenedSlm(Contract):
    """Result of `slm.open`: the decision and, where it allows, the way to go."""

    decision: Decision
    route: Route | None = None
    error: TurnError | None = None


class PlanCall(Contract):
    """Argument of `slm.plan`: for which role, input and needs a route is wanted."""

    actor: Actor
    role: str
    model: Candidate | None = None
    input_bytes: Count = 0
    messages: Count = 1
    images: Count = 0
    needs: tuple[str, ...] = ()
    max_output_tokens: Count = 1024
    lane: Lane = Lane.INTERACTIVE
    region: str


class SlmMove(Contract):
    """Argument of `slm.move`: a request waits or runs."""

    tenant_id: TenantId
    request_id: SlmRequestId
    status: SlmStatus


class CloseSlmCall(Contract):
    """Argument of `slm.close`: how a request ended. `review` is what output moderation is asked about the reply, if anything."""

    tenant_id: TenantId
    request_id: SlmRequestId
    status: SlmStatus
    answer: SlmAnswer | None = None
    error: TurnError | None = None
    review: GateRequest | None = None
    decision_id: DecisionId | None = None


class SlmView(Contract):
    """A request as it reads. `text` and `message` once it is completed; of an embedding `vectors`."""

    request_id: SlmRequestId
    workflow_id: str
    status: SlmStatus
    kind: SlmKind
    role: str
    lane: str
    subject: str
    decision: Decision | None = None
    provider: str | None = None
    model: str | None = None
    fallback: bool = False
    finish_reason: str | None = None
    usage: Usage = Usage()
    cost_micros: Count | None = None
    currency: str | None = None
    price_snapshot: str | None = None
    attempt: Count = 0
    forecast_tokens: Count = 0
    budgets: tuple[str, ...] = ()
    error: TurnError | None = None
    text: str | None = None
    message: ChatMessage | None = None
    vectors: tuple[tuple[float, ...], ...] | None = None
    reply_sha256: Sha256 | None = None
    created_at: UtcTime
    started_at: UtcTime | None = None
    completed_at: UtcTime | None = None


def _texts(message: ChatMessage) -> list[str]:
    return [message.content, *(call.arguments for call in message.tool_calls)]


def _filled(message: ChatMessage, texts: list[str]) -> ChatMessage:
    calls = tuple(call.model_copy(update={"arguments": text}) for call, text in zip(message.tool_calls, texts[1:], strict=True))
    return message.model_copy(update={"content": texts[0], "tool_calls": calls})
